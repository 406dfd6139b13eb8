"""Validation: every so often the policy meets patients that it is not trained on.

The sessions are the same each time, the first before any update: dev patients in turn, seeds of their own. Every
process plays its share, and all of them judge the same gathered sessions: they stop together. Sampling leaves no trace
in the run: with validation and without, it learns the same.

Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models" (distinct-1 and -2).
"""

import math
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.agents.figures import save
from therapysim.agents.probes.detectors import words_of
from therapysim.agents.probes.talk_counts import distinct
from therapysim.agents.sessions.mood_profile import draw_profile
from therapysim.agents.sessions.session_file import SessionRecord, TurnRecord
from therapysim.agents.statistics.intervals import mean_interval
from therapysim.envs.batch import Session
from therapysim.envs.latent import begin
from therapysim.errors import ConfigError
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.rewards.reading.words import overlap, word_set
from therapysim.rewards.risk import RiskThresholds
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.grpo.trajectory import Trajectory, summary
from therapysim.train.runs.best import Standing, held_return, keep_best, mend, seen_updates
from therapysim.train.runs.policy_card import practised, write_card
from therapysim.train.runs.rows import append, read_rows
from therapysim.train.runs.run_folder import announce, figure_file, session_row
from therapysim.train.runs.safe_trainer import save_adapter
from therapysim.train.runs.starts import dev_starts

__all__ = ["Validation", "scores"]

# So much of two turns' words alike (Jaccard) makes the second a repetition; as in the reward.
_SAME = 0.7


class Validation(TrainerCallback):
    """Plays, scores, draws and writes down; keeps the best policy, and stops when it no longer gets better.

    Args:
        settings: the run's.
        rollout: plays the sessions.

    Raises:
        ConfigError: the run that is resumed has stopped early already.
    """

    def __init__(self, settings: GRPOSettings, rollout: Rollout) -> None:
        self.settings, self.rollout, self.folder = settings, rollout, Path(settings.out)
        self.starts = dev_starts(settings)
        self.trainer: Any = None  # set once there is one
        self.draws = find_spec("matplotlib") is not None
        self.standing = self._read_back()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not self.settings.validate_every:
            return
        self.standing = self._read_back()  # a run that went back has forgotten what came after
        if state.is_world_process_zero:
            mend(self.folder / "best")
            self._tell_limits()
        if state.global_step == 0:
            self.trainer.log(self._validate(state, control))

    def _tell_limits(self) -> None:
        if not self.draws:
            announce("validation: no mood profile is drawn, since matplotlib is missing; install therapysim[report]")
        if known := len(practised(self.settings)):
            verb = "is" if known == 1 else "are"
            announce(
                f"validation: {known} of the dev patients {verb} practised on too, so that the best policy may be one "
                "that knows them; leave them out of personas, or practise with split train"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        every = self.settings.validate_every
        if every and state.global_step % every == 0:
            for name, value in self._validate(state, control).items():  # joins the row that is logged next
                self.trainer._metrics["train"][name].append(value)

    def _read_back(self) -> Standing:
        """How the run stands, told to all processes by the one that has its files."""
        told = [Standing()]
        if PartialState().is_main_process:
            told = [Standing.of(read_rows(self.folder / "validation.jsonl"), len(self.starts))]
        broadcast_object_list(told)
        patience = self.settings.patience
        self.stopped_early = bool(patience) and told[0].since >= patience
        if self.stopped_early and seen_updates(self.folder / "policy") is not None:  # else killed before it was written
            raise ConfigError(
                f"run {self.folder} stopped early: {told[0].since} validations in a row without a better return than "
                f"{told[0].best:.3f} after {told[0].step} updates; to go on, raise patience above {told[0].since}, or "
                "set it to 0"
            )
        return told[0]

    def _validate(self, state: TrainerState, control: TrainerControl) -> dict[str, float]:
        """One validation, as it joins the metrics."""
        episodes, main = self._play(), state.is_world_process_zero
        if main:
            rows = [session_row(e, state.global_step, "validation") for e in episodes]
            append(self.folder / "completions.jsonl", rows)
        sound = [e for e in episodes if not e.failed]
        found = {"failed": 1 - len(sound) / len(episodes)}
        if sound:
            found |= scores(episodes, self.rollout.batch.sensor)
            found |= self._judge(state, control, found)
        elif main:
            warnings.warn(
                f"validation after {state.global_step} updates: the patient failed in all {len(episodes)} sessions, "
                "so there is no score; see whether the patient's model or server answers",
                stacklevel=2,
            )
        named = {f"validation/{name}": value for name, value in found.items()}
        if main:
            head = {"step": state.global_step, "asked": len(episodes), "sessions": len(sound)}
            append(self.folder / "validation.jsonl", [head | named])
            self._draw(sound, state.global_step)
        return named

    def _play(self) -> list[Trajectory]:
        """The sessions in the order of their starts. All processes play equally many, some of them twice."""
        accelerator, n = self.trainer.accelerator, len(self.starts)
        processes = accelerator.num_processes
        each = -(-n // processes)
        mine = [self.starts[(accelerator.process_index + processes * k) % n] for k in range(each)]
        everyone = gather_object(self.rollout.play(self.trainer, mine))
        return [everyone[(i % processes) * each + i // processes] for i in range(n)]

    def _judge(self, state: TrainerState, control: TrainerControl, found: dict[str, float]) -> dict[str, float]:
        """Keeps the policy if it is the best so far, and ends the run if none has been for too long."""
        step, patience = state.global_step, self.settings.patience
        self.standing = self.standing.after(step, found["return"])
        stops = bool(patience) and self.standing.since >= patience
        if state.is_world_process_zero:
            kept = self._keep(step, found) if self.standing.since == 0 else None
            announce(_line(step, found, self.standing) + _kept(self.folder / "best", kept))
            if stops:
                announce(
                    f"update {step}: stopped early, {patience} validations in a row without a better return "
                    f"(patience); the best policy is in {self.folder / 'best'}, the last in {self.folder / 'policy'}"
                )
        if stops:
            control.should_training_stop = True
            # The stop is to be known after a resume; a checkpoint inside a generation would change the curve.
            control.should_save |= step % self.settings.updates_per_generation == 0
        return {"best": self.standing.best, "since_best": float(self.standing.since), "stopped": float(stops)}

    def _keep(self, step: int, found: dict[str, float]) -> bool:
        """Saves the policy, unless a better one is there from updates that a crash undid."""
        folder, asked = self.folder / "best", len(self.starts)
        held = held_return(folder, asked)
        if held is not None and held > found["return"]:
            return False
        ends = {name: found.get(f"return_{name}") for name in ("low", "high")}
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        about = {"step": step, "return": found["return"], **ends, "asked": asked}
        told = {"step": step, **{f"validation/{name}": value for name, value in found.items()}}

        def keep(place: Path) -> None:
            save_adapter(model, self.rollout.tokenizer, place)
            write_card(place, self.settings, [*read_rows(self.folder / "metrics.jsonl"), told], step)

        keep_best(folder, about, keep)
        return True

    def _draw(self, sound: Sequence[Trajectory], step: int) -> None:
        if self.draws and sound:
            records = [_record(e, e.session, f"the policy after {step} updates") for e in sound if e.session]
            save(draw_profile(records), figure_file(self.folder, step))


def scores(episodes: Sequence[Trajectory], sensor: Sensor) -> dict[str, float]:
    """What became of the sessions whose patient did not fail, at least one.

    return                            mean of the rewards' sum over sessions
    return_low, return_high           its 95 % interval for patients like these; left out where one patient is all
    polarity, polarity_gain           of the patient's last words by the matrix, in [-1, 1]; less that of the first
    introspection ... sensitivity     the four dimensions of e_t at the end, in [-1, 1]
    alliance, alliance_gain           at the end, in [0, 1]; less that at the start
    unsafe                            share of sessions with a violation
    therapist_polarity                of the policy's turns, in [-1, 1]
    distinct_1, distinct_2            different words, and word pairs, over all of the policy's
    repetition                        share of its turns that say almost the same as one before, to whomever
    words, cut, charged               words a turn; share of turns that reached the token limit; taken a turn for length
    turns, term/..., violation/..., screen/..., guard/..., ending/...    as in training
    """
    sound = [e for e in episodes if not e.failed]
    shared = {name.removeprefix("session/"): value for name, value in summary(sound).items()}
    shared |= {name: shared.pop(f"turns/{name}") for name in ("cut", "charged")}
    return {**_returns(sound), **shared, **_moods(sound), **_wording(sound, sensor)}


def _returns(episodes: Sequence[Trajectory]) -> dict[str, float]:
    earned = [(sum(e.turn_rewards), e.session.persona.id) for e in episodes if e.session]
    own = mean_interval(*zip(*earned, strict=True))
    ends = {"return_low": own.low, "return_high": own.high} if math.isfinite(own.low) else {}
    return {"return": own.mean, **ends}


def _moods(episodes: Sequence[Trajectory]) -> dict[str, float]:
    sessions = [e.session for e in episodes if e.session]
    ends, alliances = np.array([s.state.affect for s in sessions]), [s.latent.alliance for s in sessions]
    starts = [begin(s.persona).alliance for s in sessions]
    return {
        "polarity_gain": float(np.mean([s.state.history[-1] - s.states[0].history[-1] for s in sessions])),
        "alliance": float(np.mean(alliances)),
        "alliance_gain": float(np.mean(np.subtract(alliances, starts))),
        "unsafe": float(np.mean([bool(e.violations) for e in episodes])),
        **{name: float(value) for name, value in zip(DIMENSIONS, ends.mean(axis=0), strict=True)},
    }


def _wording(episodes: Sequence[Trajectory], sensor: Sensor) -> dict[str, float]:
    turns = [text for e in episodes if e.session for text in e.session.transcript.said_by("therapist")]
    words = [words_of(text) for text in turns]
    return {
        "therapist_polarity": float(np.mean([reading.polarity for reading in sensor.read(turns)])),
        "distinct_1": distinct(words, 1),
        "distinct_2": distinct(words, 2),
        "repetition": _repeated(turns),
        "words": float(np.mean([len(turn) for turn in words])),
    }


def _repeated(turns: Sequence[str]) -> float:
    """Share of turns that say almost the same as an earlier one; two without any word do."""
    sets = [word_set(turn) for turn in turns]
    again = [any(_same(words, earlier) for earlier in sets[:i]) for i, words in enumerate(sets)]
    return sum(again) / len(again)


def _same(words: frozenset[str], earlier: frozenset[str]) -> bool:
    return overlap(words, earlier) > _SAME if words or earlier else True


def _record(episode: Trajectory, session: Session, policy: str) -> SessionRecord:
    """As the mood profile wants it; what an Trajectory does not keep of a turn, its acts and the move, is empty."""
    return SessionRecord(
        persona=session.persona.id,
        seed=session.seed,
        policy=policy,
        alliance=begin(session.persona).alliance,
        messages=session.transcript.messages,
        states=session.states,
        turns=tuple(
            TurnRecord(reward, terms, (), (), (), "", "", 0.0, (), source, ())
            for reward, terms, source in zip(episode.turn_rewards, episode.terms, episode.sources, strict=True)
        ),
        thresholds=RiskThresholds(),
        ending=session.ending,
        done=session.done,
        failed=False,
    )


def _line(step: int, found: dict[str, float], standing: Standing) -> str:
    ends = f"[{found['return_low']:.2f}, {found['return_high']:.2f}]" if "return_low" in found else "(one patient)"
    rank = "the best so far" if standing.since == 0 else f"the best was {standing.best:.2f} at update {standing.step}"
    return (
        f"update {step}: validation return {found['return']:.2f} {ends}, polarity {found['polarity']:+.2f}, "
        f"alliance {found['alliance']:.2f}, repetition {found['repetition']:.2f}; {rank}"
    )


def _kept(folder: Path, kept: bool | None) -> str:
    """What became of a policy that is the best so far; None of another."""
    if kept is None:
        return ""
    return f"; kept in {folder}" if kept else f"; {folder} holds a better one, of updates that a crash undid"

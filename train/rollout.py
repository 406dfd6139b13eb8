"""Sessions as GRPO sees them: tokens, who spoke each, and what each turn earned.

The only file that knows TRL's experimental ``rollout_func``. TRL calls ``Rollout`` with the prompts of one generation;
it plays that many sessions in lock-step, one batched ``generate`` and one batched environment step a turn, and returns

    prompt_ids       the system prompt and the patient's first words
    completion_ids   everything after that: therapist, patient, therapist, ...
    env_mask         1 at therapist tokens, 0 at the patient's and the template's; only 1s are learned from
    logprobs         the sampler's own at therapist tokens, 0.0 elsewhere; None where the sampler gives none
    episode          the whole Episode, handed on to the reward function and to the advantages
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import gather_object

from therapysim.agents.therapist import SYSTEM_PROMPT, conversation, user_message
from therapysim.chat import ChatMessage
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.errors import ConfigError
from therapysim.train.config import GRPOSettings
from therapysim.train.template import TurnTemplate

__all__ = ["Episode", "Rollout", "session_return", "summary"]


@dataclass(repr=False)
class Episode:
    """One session in the making, token by token.

    Attributes:
        prompt_ids: what the policy read before its first turn.
        session: None where the patient could not even begin.
        completion_ids, env_mask, turn_ids, logprobs: one entry a token; ``turn_ids`` is -1 where the patient speaks.
        turn_rewards, terms, sources: one entry a turn; ``sources`` says how the patient's line came about.
        flags, violations: what screen and safety gate found, over all turns.
        pending: the patient's answer in tokens; joins the completion only if another turn fits after it.
        cut: no further turn fitted into the budget.
    """

    prompt_ids: list[int]
    session: Session | None
    completion_ids: list[int] = field(default_factory=list)
    env_mask: list[int] = field(default_factory=list)
    turn_ids: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    turn_rewards: list[float] = field(default_factory=list)
    terms: list[dict[str, float]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    pending: list[int] = field(default_factory=list)
    cut: bool = False

    def __repr__(self) -> str:
        who = f"{self.session.persona.id}, seed {self.session.seed}" if self.session else "not begun"
        return f"Episode({who}, {len(self.turn_rewards)} turns, {self.ending})"

    @property
    def failed(self) -> bool:
        """The patient gave no answer: the episode is neither scored nor learned from."""
        return self.session is None or self.session.failed

    @property
    def ending(self) -> Literal["failed", "goal", "rupture", "crisis", "budget", "turns"]:
        """Why it stopped."""
        if self.session is None or self.session.failed:
            return "failed"
        return self.session.ending or ("budget" if self.cut else "turns")

    def hear(self) -> None:
        """Takes in the patient's last answer."""
        self._extend(self.pending, [0.0] * len(self.pending), mask=0, turn=-1)
        self.pending = []

    def say(self, ids: list[int], logprobs: Sequence[float | None]) -> None:
        """Takes in a therapist turn as it was sampled."""
        self._extend(ids, logprobs, mask=1, turn=len(self.turn_rewards))

    def note(self, turn: Turn) -> None:
        """Keeps what the environment made of the turn; a failed one masks the whole episode."""
        if turn.line is None:
            self.env_mask = [0] * len(self.env_mask)
            self.turn_ids = [-1] * len(self.turn_ids)
            return
        self.turn_rewards.append(turn.reward)
        self.terms.append(turn.terms)
        self.sources.append(turn.line.source)
        self.flags.update(turn.screen.flags)
        self.violations.update(turn.violations)

    def _extend(self, ids: list[int], logprobs: Sequence[float | None], *, mask: int, turn: int) -> None:
        self.completion_ids += ids
        self.logprobs += logprobs
        self.env_mask += [mask] * len(ids)
        self.turn_ids += [turn] * len(ids)


class Rollout:
    """Plays the policy that is being trained against a batch of patients.

    Args:
        settings: the run's.
        batch: the environment; its turn limit should be the settings'.
        tokenizer: the policy's.

    Raises:
        ModelError: the tokenizer's chat template does not suit sessions of many turns.
    """

    def __init__(self, settings: GRPOSettings, batch: SessionBatch, tokenizer: Any) -> None:
        self.settings = settings
        self.batch = batch
        self.tokenizer = tokenizer
        self.template = TurnTemplate(tokenizer)
        self.seconds = {"generation": 0.0, "environment": 0.0}

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """TRL's ``rollout_func``: one session for each row that the trainer kept; the prompts are placeholders."""
        episodes = self.play(trainer, [Start(row["seed"], row["persona"]) for row in trainer.rows])
        for name, value in self.seconds.items():
            trainer._log_metric(f"seconds/{name}", value)
        known = trainer.use_vllm  # Hugging Face's generate gives no log-probabilities
        return {
            "prompt_ids": [e.prompt_ids for e in episodes],
            "completion_ids": [e.completion_ids for e in episodes],
            "logprobs": [e.logprobs for e in episodes] if known else None,
            "env_mask": [e.env_mask for e in episodes],
            "episode": episodes,
        }

    def play(self, trainer: Any, starts: Sequence[Start]) -> list[Episode]:
        """Sessions from begin to end, one a start, in order.

        Sampling in this process is a function of the settings' seed and the starts alone, and leaves the global
        generator as it was: a resumed run samples what the uninterrupted one would have. A vLLM server has a seed of
        its own.
        """
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        episodes = self._begin(starts)
        with torch.random.fork_rng():
            self._seed(starts, trainer.accelerator.process_index)
            while _anywhere(trainer, live := [e for e in episodes if self._goes_on(e)]):
                self._speak(trainer, live, idle=episodes[0])
                self._answer(trainer, live)
        for episode in episodes:
            if episode.session is None:  # TRL takes no empty completion
                episode.pending = [self.tokenizer.eos_token_id]
                episode.hear()
        return episodes

    def _begin(self, starts: Sequence[Start]) -> list[Episode]:
        """Each different start is opened once: members of a group begin from the very same session."""
        began, different = time.perf_counter(), list(dict.fromkeys(starts))
        opened = dict(zip(different, self.batch.reset(different), strict=True))
        self.seconds["environment"] += time.perf_counter() - began
        sessions = [None if opened[start].failed else opened[start] for start in starts]
        return [Episode(self._prompt(session), session) for session in sessions]

    def _prompt(self, session: Session | None) -> list[int]:
        silent: list[ChatMessage] = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": ""}]
        messages = conversation(session, show_state=self.settings.show_state) if session else silent
        ids, budget = self.template.opening(messages), self.settings.max_prompt_tokens
        if len(ids) > budget:
            raise ConfigError(
                f"max_prompt_tokens is {budget}, but the prompt for persona "
                f"'{session.persona.id if session else '?'}' has {len(ids)} tokens; raise it"
            )
        return ids

    def _goes_on(self, episode: Episode) -> bool:
        """Whether another turn follows; notes where the budget forbids it."""
        if episode.session is None or episode.session.done or episode.cut:
            return False
        used = len(episode.completion_ids) + len(episode.pending) + self.settings.max_turn_tokens
        episode.cut = used > self.settings.max_completion_tokens
        return not episode.cut

    def _speak(self, trainer: Any, live: list[Episode], *, idle: Episode) -> None:
        """One turn of every live session, sampled together.

        A process whose sessions are all over goes through the motions, since sampling may be a collective operation.
        """
        for episode in live:
            episode.hear()
        asked = [e.prompt_ids + e.completion_ids for e in live] or [idle.prompt_ids]
        began = time.perf_counter()
        sampled, logprobs = trainer._generate_single_turn(asked, None, {}, 1)
        self.seconds["generation"] += time.perf_counter() - began
        for k, episode in enumerate(live):
            ids = [int(i) for i in sampled[k]]
            episode.say(ids, logprobs[k] if logprobs is not None else [None] * len(ids))

    def _answer(self, trainer: Any, live: list[Episode]) -> None:
        """The patients' answers, and their tokens for the next turn."""
        began = time.perf_counter()
        self.batch.restore([e.session for e in live if e.session])
        turns = self.batch.step([self._last_words(e) for e in live]) if live else []
        for episode, turn, session in zip(live, turns, self.batch.sessions, strict=True):
            said, episode.session = episode.completion_ids, session
            if turn is not None:
                episode.note(turn)
            if not session.done:
                heard = user_message(
                    session.state, session.transcript.last("patient"), show_state=self.settings.show_state
                )
                episode.pending = self.template.between(heard, said, trainer.eos_token_ids)
        self.seconds["environment"] += time.perf_counter() - began

    def _last_words(self, episode: Episode) -> str:
        """The newest therapist turn as text."""
        turn = len(episode.turn_rewards)
        spoken = [i for i, t in zip(episode.completion_ids, episode.turn_ids, strict=True) if t == turn]
        return str(self.tokenizer.decode(spoken, skip_special_tokens=True)).strip()

    def _seed(self, starts: Sequence[Start], process: int) -> None:
        entropy = [self.settings.seed, process, len(starts), *(s.seed for s in dict.fromkeys(starts))]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _anywhere(trainer: Any, live: list[Episode]) -> bool:
    """Whether any process still has a session going on."""
    return bool(live) if trainer.accelerator.num_processes == 1 else any(gather_object([bool(live)]))


def session_return(episode: list[Episode], log_metric: Callable[[str, float], None], **_: Any) -> list[float | None]:
    """TRL's reward function: the sum of a session's turns, None where the patient failed; logs what happened."""
    for name, value in summary(episode).items():
        log_metric(name, value)
    return [None if e.failed else float(sum(e.turn_rewards)) for e in episode]


def summary(episodes: Sequence[Episode]) -> dict[str, float]:
    """What happened in some sessions, as numbers: terms a turn, shares of guarded lines and flags, turns, endings."""
    sound = [e for e in episodes if not e.failed]
    turns = max(1, sum(len(e.turn_rewards) for e in sound))
    counts = {
        "guard": Counter(source for e in sound for source in e.sources),
        "screen": sum((e.flags for e in sound), Counter()),
        "violation": sum((e.violations for e in sound), Counter()),
    }
    rates = {f"{kind}/{name}": n / turns for kind, count in counts.items() for name, n in count.items()}
    endings = {f"ending/{name}": n / len(episodes) for name, n in Counter(e.ending for e in episodes).items()}
    values: defaultdict[str, list[float]] = defaultdict(list)
    for name, value in (item for e in sound for t in e.terms for item in t.items()):
        values[f"term/{name}"].append(value)
    for e in sound:
        values["session/turns"].append(len(e.turn_rewards))
        values["session/polarity"].append(e.session.state.history[-1] if e.session else math.nan)
    return {**rates, **endings, **{name: float(np.mean(found)) for name, found in values.items()}}

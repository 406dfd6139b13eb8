"""Sessions played by the policy in training; the only file that knows TRL's experimental ``rollout_func``.

TRL calls ``Rollout`` with the prompts of one generation. It plays that many sessions and returns

    prompt_ids       the system prompt and the patient's first words
    completion_ids   everything after that: therapist, patient, therapist, ...
    env_mask         1 at therapist tokens, 0 at the patient's and the template's; only 1s are learned from
    logprobs         the sampler's own at therapist tokens, 0.0 elsewhere; None where the sampler gives none
    episode          the whole Trajectory, handed on to the reward function and to the advantages

Hugging Face's ``generate`` takes all sessions on by one turn at a time. Beside a vLLM engine in this process, or behind
a server, each session goes on at its own pace, as soon as its own patient has answered: ``stream.py``.
"""

import time
from asyncio import CancelledError
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, conversation, user_message
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage, calls_at_once, interrupt
from therapysim.models.chat_template import TurnTemplate
from therapysim.train.grpo.answering import Answers
from therapysim.train.grpo.failsafe import Stopped
from therapysim.train.grpo.generation import play_generation
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.sampler import Engine
from therapysim.train.grpo.served import Server
from therapysim.train.grpo.stream import Stream
from therapysim.train.grpo.trajectory import Trajectory, overlong, session_return, summary
from therapysim.train.patient_pool import PatientPool
from therapysim.train.runs.ending import Terminated
from therapysim.train.runs.run_folder import Transcripts
from therapysim.train.runs.safe_trainer import TryAgain

__all__ = ["Rollout", "Trajectory", "session_return", "summary"]


class Rollout:
    """Plays the policy that is being trained against a batch of patients.

    Args:
        settings: the run's.
        batch: the environment; its turn limit should be the settings'.
        tokenizer: the policy's.
        transcripts: keeps some of the sessions word for word.

    Raises:
        ConfigError: the chat template has no variable that the settings name.
        ModelError: the tokenizer's chat template does not suit sessions of many turns.
    """

    def __init__(
        self, settings: GRPOSettings, batch: SessionBatch, tokenizer: Any, transcripts: Transcripts | None = None
    ) -> None:
        self.settings = settings
        self.batch = batch
        self.tokenizer = tokenizer
        self.template = TurnTemplate(tokenizer, settings.chat_template_kwargs)
        self.transcripts = transcripts
        self.engine: Engine | Server | None = None
        self.patients: PatientPool[Any] | None = None
        #: Given where a play may be broken off for it: where one process trains.
        self.terminated: Terminated | None = None
        self._breaks_off = False
        self.count_anew()

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """TRL's ``rollout_func``: one session for each row that the trainer kept; the prompts are placeholders."""
        self.count_anew()
        self._breaks_off = True
        try:
            episodes = play_generation(self, trainer)
        except CancelledError:  # what a patient was asked
            self.break_off()
            raise
        finally:
            self._breaks_off = False
        self._require_sound(episodes)
        if self.transcripts:
            self.transcripts.keep(trainer.state.global_step, episodes)
        for name, value in self.seconds.items():
            trainer._log_metric(f"seconds/{name}", value)
        trainer._log_metric("tokens/sampled", float(sum(gather_object([self.sampled]))))  # by all processes
        known = trainer.use_vllm  # Hugging Face's generate gives no log-probabilities
        return {
            "prompt_ids": [e.prompt_ids for e in episodes],
            "completion_ids": [e.completion_ids for e in episodes],
            "logprobs": [e.logprobs for e in episodes] if known else None,
            "env_mask": [e.env_mask for e in episodes],
            "episode": episodes,
        }

    def count_anew(self) -> None:
        """Sets back what is counted of the sessions from here on."""
        # Waiting for turns, waiting for patients, and what patients took in all, beside the turns of others too.
        self.seconds = {"generation": 0.0, "environment": 0.0, "environment_busy": 0.0}
        #: Tokens of the therapist, those of groups that were drawn anew too.
        self.sampled = 0

    def play(self, trainer: Any, starts: Sequence[Start], begun: Sequence[Trajectory | None] = ()) -> list[Trajectory]:
        """Sessions from begin to end, one a start, in order.

        Sampling in this process begins from a seed that hangs on the settings' and the starts alone, and leaves
        PyTorch's generators as they were: where Hugging Face samples, a resumed run samples what the uninterrupted one
        would have. A vLLM engine draws by what else is under way; a server has a seed of its own.

        Args:
            trainer: samples.
            starts: whom each meets.
            begun: sessions that go on from where they are, None for those that begin; by default all do.
        """
        known = begun or [None] * len(starts)
        fresh = iter(self._begin([start for start, own in zip(starts, known, strict=True) if own is None]))
        episodes = [own or next(fresh) for own in known]
        self._go_on(trainer, starts, episodes)
        for episode in episodes:
            if not episode.completion_ids:  # TRL takes no empty one: not begun, or its only turn came to nothing
                episode.pending = [self.template.closing or 0]
                episode.hear()
        return episodes

    def play_until(self, trainer: Any, starts: Sequence[Start], turns: Sequence[int]) -> list[Trajectory]:
        """Sessions of so many turns at most, which keep the newest state to branch from as ``fork``."""
        episodes = self._begin(starts)
        for episode, most in zip(episodes, turns, strict=True):
            episode.until = most
        self._go_on(trainer, starts, episodes, first=self.settings.generations)  # drawn as none of the group's own
        return episodes

    def _go_on(self, trainer: Any, starts: Sequence[Start], episodes: list[Trajectory], first: int = 0) -> None:
        with torch.random.fork_rng():
            self._seed(starts, trainer.accelerator.process_index, first)
            if self.engine is not None:
                trainer.sync_engine()
                Stream(self, self.engine, episodes).play()
            else:
                self._play_in_step(trainer, episodes)

    def _require_sound(self, episodes: list[Trajectory]) -> None:
        """Some group is to have two sessions that were answered, to compare; an update without any changes nothing."""
        failed, size = gather_object([e.failed for e in episodes]), self.settings.generations
        if not any(failed[k : k + size].count(False) > 1 for k in range(0, len(failed), size)):
            raise TryAgain(f"the patient failed in {sum(failed)} of {len(failed)} sessions", pause=True)

    def begin_again(self) -> None:
        """What was kept word for word of the sessions under way is to be kept again."""
        if self.transcripts:
            self.transcripts.kept = -1

    def stop_waiting(self) -> None:
        """Breaks off what a patient's model is asked, if the play may be; called by the handler of a signal."""
        if self._breaks_off:
            interrupt(self.batch.patient)

    def break_off(self) -> None:
        """Ends the play where it may be, once the process was told to end.

        Raises:
            Stopped: it was.
        """
        if self._breaks_off and self.terminated and self.terminated.asked:
            raise Stopped

    def close(self) -> None:
        """Ends the patients' processes, if there are any."""
        if self.patients:
            self.patients.close()

    def _play_in_step(self, trainer: Any, episodes: list[Trajectory]) -> None:
        """All sessions one turn on, and again: sampling may be a collective operation of all processes."""
        while True:
            self.break_off()
            live = [e for e in episodes if self.goes_on(e)]
            if not _any_goes_on(trainer, live):
                return
            self._speak(trainer, live)
            self._listen(live)

    def say(self, episode: Trajectory, ids: list[int], logprobs: Sequence[float | None], ends: Sequence[int]) -> None:
        """A turn that the limit or a control token cut off is closed by what comes between two, and not learned from.

        What the row keeps of a turn is what a benchmark shows of it later.
        """
        turn, settings = self.template.read(ids, ends), self.settings
        masked = 0 if settings.learn_reasoning else self.template.thought(turn.ids)
        if settings.mask_cut_turns and not turn.ended:
            masked = len(turn.ids)
        self.sampled += len(ids)
        episode.say(turn.ids, logprobs[: len(turn.ids)], words=turn.words, cut=not turn.ended, masked=masked)

    def _begin(self, starts: Sequence[Start]) -> list[Trajectory]:
        """Each different start is opened once: members of a group begin from the very same session."""
        began, different = time.perf_counter(), list(dict.fromkeys(starts))
        opened = dict(zip(different, self._own_batch().reset(different), strict=True))
        self.spent("environment_busy", began)
        self.spent("environment", began)
        sessions = [None if opened[start].failed else opened[start] for start in starts]
        return [Trajectory(self._prompt(session), session) for session in sessions]

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

    def goes_on(self, episode: Trajectory) -> bool:
        """Whether another turn follows; notes where the budget forbids it."""
        if episode.session is None or episode.session.done or episode.cut:
            return False
        used = len(episode.completion_ids) + len(episode.pending) + self.settings.max_turn_tokens
        episode.cut = used > self.settings.max_completion_tokens
        return not episode.cut and not episode.parts()

    def _speak(self, trainer: Any, live: list[Trajectory]) -> None:
        """One turn of every live session, sampled together.

        A process whose sessions are all over goes through the motions, since sampling may be a collective operation.
        """
        for episode in live:
            episode.hear()
        asked = [e.prompt_ids + e.completion_ids for e in live] or [self._prompt(None)]
        began = time.perf_counter()
        sampled, logprobs = trainer._generate_single_turn(asked, None, {}, 1)
        self.spent("generation", began)
        for k, episode in enumerate(live):
            ids = [int(i) for i in sampled[k]]
            drawn = logprobs[k] if logprobs is not None else [None] * len(ids)
            self.say(episode, ids, drawn, trainer.eos_token_ids)

    def _listen(self, live: list[Trajectory]) -> None:
        """The answer of every live session's patient."""
        sessions, turns, seconds = self.step([e.session for e in live if e.session], [e.words for e in live])
        self.seconds["environment_busy"] += seconds
        self.seconds["environment"] = self.seconds["environment_busy"]
        for episode, session, turn in zip(live, sessions, turns, strict=True):
            self.heed(episode, session, turn)

    def step(self, sessions: list[Session], texts: list[str]) -> Answers:
        """One turn of each session, as the patients' processes or the environment take it; from any thread."""
        began = time.perf_counter()
        if self.patients:
            return *self.patients.step(sessions, texts), time.perf_counter() - began
        batch = self._own_batch()
        batch.restore(sessions)
        turns = batch.step(texts) if texts else []
        return batch.sessions, turns, time.perf_counter() - began

    def _own_batch(self) -> SessionBatch:
        """The environment with sessions of its own, so that threads take turns in it side by side."""
        batch = copy(self.batch)
        batch.at_once = self.settings.patients_at_once or calls_at_once(batch.patient)
        return batch

    def heed(self, episode: Trajectory, session: Session, turn: Turn | None) -> None:
        """Takes an answer in, and makes the tokens that the next turn reads of it."""
        episode.session = session
        if turn is not None:
            episode.note(turn, self._charge(episode))
        if not session.done:
            heard = user_message(session.state, session.transcript.last("patient"), show_state=self.settings.show_state)
            episode.pending = self.template.between(heard, episode.said)

    def _charge(self, episode: Trajectory) -> float:
        """What the newest turn costs by its length."""
        settings = self.settings
        share = overlong(len(episode.said), settings.max_turn_tokens, settings.overlong_tokens)
        return settings.cut_penalty * (1.0 if episode.was_cut else share)

    def spent(self, what: str, began: float) -> None:
        """Counts the seconds since then."""
        self.seconds[what] += time.perf_counter() - began

    def _seed(self, starts: Sequence[Start], process: int, first: int) -> None:
        entropy = [self.settings.seed, process, len(starts), *(s.seed for s in dict.fromkeys(starts))]
        entropy += [first] * (first > 0)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _any_goes_on(trainer: Any, live: Sequence[Trajectory]) -> bool:
    """Whether a session goes on in any of the processes."""
    return bool(live) if trainer.accelerator.num_processes == 1 else any(gather_object([bool(live)]))

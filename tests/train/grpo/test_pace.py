"""Sessions at their own pace: who waits for whom is told by the order of events, never by the clock."""

import asyncio
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer

from tests.parts.patience import HANGS_S
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.errors import PatientError
from therapysim.models.chat import Sampling
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.load import find
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.open_sensor import shipped_sensor
from therapysim.train.grpo.failsafe import Stopped
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout, Trajectory
from therapysim.train.grpo.sampler import Said
from therapysim.train.runs.ending import Terminated

MakeBatch = Callable[..., SessionBatch]
WHO = [Start(3, "claire"), Start(4, "owen"), Start(5, "ingrid"), Start(6, "marta")]
TURNS = 3
SAID = ("What is that like for you?", "Tell me more.", "That sounds hard.", "How do you sleep?", "I see.")


class Speech:
    """In the place of vLLM's engine and of TRL's sampling alike: what is said hangs on what was read alone."""

    def __init__(self, tokenizer: Any, *, served: bool = True) -> None:
        self.tokenizer, self.use_vllm = tokenizer, served
        self.eos_token_ids = self.ends = [tokenizer.eos_token_id]
        self.accelerator, self.state = SimpleNamespace(num_processes=1, process_index=0), SimpleNamespace(global_step=0)
        self.rows = [{"seed": start.seed, "persona": start.persona} for start in WHO]
        self.under_way: dict[str, list[int]] = {}
        self.asked = 0

    def sync_engine(self) -> None:
        """It has no weights."""

    def ask(self, prompt: list[int]) -> str:
        self.asked += 1
        self.under_way[str(self.asked)] = prompt
        return str(self.asked)

    def take(self) -> list[Said]:
        """One turn a step, the one that was asked for last."""
        name, prompt = self.under_way.popitem()
        return [Said(name, *self._said(prompt))]

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], list[list[float]]]:
        said = [self._said(prompt) for prompt in prompts]
        return [ids for ids, _ in said], [logprobs for _, logprobs in said]

    def _said(self, prompt: list[int]) -> tuple[list[int], Any]:
        ids = self.tokenizer(SAID[zlib.crc32(repr(prompt).encode()) % len(SAID)])["input_ids"] + self.ends
        return ids, [-0.5] * len(ids)

    def _log_metric(self, name: str, value: float) -> None:
        pass


class Patient:
    """Answers with the number of the turn; tells ``meets`` of each cue beyond the opening before it answers."""

    def __init__(self, meets: Callable[[Cue, int], None] = lambda cue, turn: None) -> None:
        self.meets, self.calls, self.answered = meets, Counter[int](), Counter[str]()
        self.broken_off = threading.Event()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.calls[len(cues)] += 1
        for cue in cues:
            turn = len(cue.transcript.said_by("therapist"))
            if turn:
                self.meets(cue, turn)
            self.answered[cue.persona.id] += 1
        return [Line(f"That was number {len(cue.transcript)}.") for cue in cues]

    def interrupt(self) -> None:
        self.broken_off.set()


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def rollout_of(tokenizer: Any, make_batch: MakeBatch) -> Callable[..., tuple[Rollout, Speech]]:
    """A rollout with a patient of one's own, beside an engine unless told otherwise; and what samples."""

    def make(patient: Any, *, engine: bool = True, **changes: Any) -> tuple[Rollout, Speech]:
        settings = GRPOSettings(**{"max_turns": TURNS, "max_turn_tokens": 32, "generations": 4, **changes})
        rollout, speech = Rollout(settings, make_batch(TURNS, patient), tokenizer), Speech(tokenizer, served=engine)
        rollout.engine = speech if engine else None  # type: ignore[assignment]
        return rollout, speech

    return make


def turns(episodes: Sequence[Trajectory]) -> list[int]:
    return [len(e.turn_rewards) for e in episodes]


class Model:
    """A language model that says the same to everybody; ``meets`` is told of each chat first."""

    at_once = 64

    def __init__(self, meets: Callable[[str], None]) -> None:
        self.meets = meets

    def reply(self, chats: Sequence[Sequence[Any]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        for chat in chats:
            self.meets(repr(chat))
        return ["I do not know what to say to that." for _ in chats]


@pytest.mark.parametrize("kind", ["one's own", "language model"])
def test_a_slow_patient_delays_its_own_session_alone(
    rollout_of: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first answer comes once all others have been through all of theirs."""
    others_done, over = threading.Event(), Counter[str]()

    def meets(cue: Cue, turn: int) -> None:
        if cue.persona.id == "claire":
            assert others_done.wait(HANGS_S)

    def read(chat: str) -> None:
        if find("claire").name in chat and speech.asked:
            assert others_done.wait(HANGS_S)

    scripted = ScriptedPatient(shipped_sensor().affect)
    model = LLMPatient(Model(read), scripted, scripted.feel)
    rollout, speech = rollout_of(model if kind == "language model" else Patient(meets))
    whole = rollout.heed

    def heed(episode: Trajectory, session: Session, *turn: Any) -> None:
        whole(episode, session, *turn)
        over[session.persona.id] += session.done
        if over == {"owen": 1, "ingrid": 1, "marta": 1}:
            others_done.set()

    monkeypatch.setattr(rollout, "heed", heed)
    assert turns(rollout.play(speech, WHO)) == [TURNS] * 4 and over["claire"] == 1


def test_each_session_is_asked_for_by_itself_beside_an_engine(rollout_of: Any) -> None:
    patient = Patient()
    rollout, speech = rollout_of(patient)
    rollout.play(speech, WHO)
    assert patient.calls == {1: 4 * TURNS, 4: 1}  # the openings together


def test_no_more_patients_are_asked_at_once_than_allowed_and_no_fewer(rollout_of: Any) -> None:
    meeting, inside, most = threading.Barrier(2), Counter[str](), Counter[str]()
    lock = threading.Lock()

    def meets(cue: Cue, turn: int) -> None:
        with lock:
            inside["now"] += 1
            most["seen"] = max(most["seen"], inside["now"])
        meeting.wait(HANGS_S)  # two are in here together
        with lock:
            inside["now"] -= 1

    rollout, speech = rollout_of(Patient(meets), patients_at_once=2)
    assert turns(rollout.play(speech, WHO)) == [TURNS] * 4 and most["seen"] == 2


@pytest.mark.parametrize("by", ["setting", "patient"])
def test_in_step_the_patients_of_a_step_are_asked_at_once(rollout_of: Any, by: str) -> None:
    """All four are in a call of their own together, or none would get out."""
    meeting = threading.Barrier(4)
    patient: Any = Patient(lambda cue, turn: meeting.wait(HANGS_S) and None)
    if by == "patient":
        patient.at_once = 4
    rollout, speech = rollout_of(patient, engine=False, patients_at_once=4 if by == "setting" else 0)
    assert turns(rollout.play(speech, WHO)) == [TURNS] * 4


def test_in_step_a_patient_of_ones_own_gets_all_cues_in_one_call(rollout_of: Any) -> None:
    patient = Patient()
    rollout, speech = rollout_of(patient, engine=False)
    rollout.play(speech, WHO)
    assert patient.calls == {4: 1 + TURNS}


def test_equal_turns_give_equal_sessions_in_step_and_apart(rollout_of: Any) -> None:
    """With the patient that ships, and with one who answers in calls of their own."""
    for patient in (None, Patient()):
        played = []
        for engine, at_once in ((False, 0), (False, 3), (True, 0), (True, 1)):
            rollout, speech = rollout_of(patient, engine=engine, patients_at_once=at_once)
            episodes = rollout.play(speech, [start for start in WHO for _ in range(2)])
            played.append([
                (e.prompt_ids, e.completion_ids, e.env_mask, e.turn_ids, e.logprobs, e.turn_rewards, e.terms,
                 e.session.transcript, e.session.states) for e in episodes if e.session
            ])  # fmt: skip
        assert all(other == played[0] for other in played) and len(played[0]) == 8


def test_an_error_of_a_patient_fails_its_own_session(rollout_of: Any) -> None:
    def meets(cue: Cue, turn: int) -> None:
        if cue.persona.id == "owen" and turn == 2:
            raise ZeroDivisionError("by the patient")
        if cue.persona.id == "ingrid" and turn == 3:
            raise PatientError("nobody is there")

    rollout, speech = rollout_of(Patient(meets))
    with pytest.warns(UserWarning, match="a session failed by an error of Patient: ZeroDivisionError"):
        episodes = rollout.play(speech, WHO)
    assert [e.failed for e in episodes] == [False, True, True, False]


class Waiting(Patient):
    """One who answers nobody beyond the opening until it is broken off, but for the session that has ``happens``."""

    def __init__(self, who: str, happens: Callable[[], None]) -> None:
        super().__init__(self._wait)
        self.who, self.happens = who, happens
        self.others = threading.Semaphore(0)
        self.over = Counter[str]()

    def _wait(self, cue: Cue, turn: int) -> None:
        if cue.persona.id == self.who:
            for _ in WHO[1:]:  # all others wait for their patients
                self.others.acquire()
            self.happens()
        else:
            self.others.release()
        assert self.broken_off.wait(HANGS_S)
        self.over[cue.persona.id] += 1
        raise asyncio.CancelledError


def raised(number: signal.Signals) -> Callable[[], None]:
    """Sends a signal to the main thread, which a system may not choose by itself where others run."""
    main = threading.main_thread().ident
    assert main is not None
    return lambda: signal.pthread_kill(main, number)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As at a terminal: a run in the background would have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("engine", [True, False], ids=["apart", "in step"])
def test_ctrl_c_breaks_off_all_that_patients_were_asked(rollout_of: Any, ctrl_c: None, engine: bool) -> None:
    patient = Waiting("claire", raised(signal.SIGINT))
    rollout, speech = rollout_of(patient, engine=engine, patients_at_once=4)
    with pytest.raises(KeyboardInterrupt):
        rollout.play(speech, WHO)
    assert patient.over == {str(start.persona): 1 for start in WHO}  # no thread is left behind


@pytest.mark.parametrize("engine", [True, False], ids=["apart", "in step"])
def test_sigterm_breaks_off_all_that_patients_were_asked(rollout_of: Any, engine: bool) -> None:
    patient = Waiting("claire", raised(signal.SIGTERM))
    rollout, speech = rollout_of(patient, engine=engine, patients_at_once=4)
    with Terminated() as terminated:
        rollout.terminated, terminated.tell = terminated, rollout.stop_waiting
        with pytest.raises(Stopped):
            rollout([""] * 4, speech)
    assert patient.over == {str(start.persona): 1 for start in WHO}


def test_an_error_within_one_session_ends_the_play_and_lets_go_of_the_others(
    rollout_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Waiting("nobody", lambda: None)
    rollout, speech = rollout_of(patient)
    whole = rollout.say

    def say(episode: Trajectory, *more: Any) -> None:
        if episode.session and episode.session.persona.id == "claire":
            raise RuntimeError("of one session")
        whole(episode, *more)

    monkeypatch.setattr(rollout, "say", say)
    with pytest.raises(RuntimeError, match="of one session"):
        rollout.play(speech, WHO)
    assert set(patient.over) <= {"owen", "ingrid", "marta"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_the_engine_ends_the_play(rollout_of: Any, error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout, speech = rollout_of(Patient())

    def take() -> list[Said]:
        raise error("out of memory")

    monkeypatch.setattr(speech, "take", take)
    with pytest.raises(error, match="out of memory"):
        rollout.play(speech, WHO)


def test_sessions_are_played_where_a_loop_runs_already(rollout_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, whose errors and interrupts are told in the cell."""
    rollout, speech = rollout_of(Patient())

    async def cell() -> list[int]:
        return turns(rollout.play(speech, WHO))

    assert asyncio.run(cell()) == [TURNS] * 4
    monkeypatch.setattr(speech, "ends", None)
    with pytest.raises(TypeError):
        asyncio.run(cell())


def test_a_cell_that_is_interrupted_waits_for_no_patient(rollout_of: Any, ctrl_c: None) -> None:
    patient = Waiting("claire", raised(signal.SIGINT))
    rollout, speech = rollout_of(patient, patients_at_once=4)

    async def cell() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in place of asyncio's own, as a kernel does
        rollout.play(speech, WHO)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cell())
    assert patient.over == {str(start.persona): 1 for start in WHO}

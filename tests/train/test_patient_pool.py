"""Sessions by workers, processes of this machine or Ray's actors, are ``SessionBatch``'s own, turn for turn."""

import hashlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.parts.held import Held
from tests.parts.patience import HANGS_S
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import ActionError, ConfigError, EpisodeError, PatientError, PersonaError
from therapysim.train.patient_pool import Office, PatientPool
from therapysim.train.patient_processes import Patients
from therapysim.train.spread_batch import SpreadBatch

ROOT = Path(__file__).parents[2]
SAID = ("What has this week been like for you?", "", "It sounds as if you carry that alone.", "Calm down.")
STARTS = [*(Start(seed) for seed in range(5)), Start(5, "owen"), Start(6, vary=True), Start(7, "marta"), Start(5)]

Open = Callable[..., PatientPool[Any]]


@pytest.fixture(scope="module", params=["processes", "ray"])
def kind(request: pytest.FixtureRequest) -> Iterator[type[PatientPool[Any]]]:
    with pytest.MonkeyPatch.context() as patch:  # workers import the patients of these tests
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        if request.param == "processes":
            yield Patients
            return
        ray = pytest.importorskip("ray", reason="the extra ray: docs/scaling.md")
        from therapysim.train.connect.ray_workers import RayPatients

        patch.setenv("RAY_AUTH_MODE", "disabled")  # else it leaves a token in the home folder
        ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False)
        yield RayPatients
        ray.shutdown()


@pytest.fixture
def pool(kind: type[PatientPool[Any]]) -> Iterator[Open]:
    """Opens pools; none is left when the test is over."""
    opened: list[PatientPool[Any]] = []

    def start(count: int = 2, turns: int = len(SAID), timeout_s: float = HANGS_S, **own: Any) -> PatientPool[Any]:
        opened.append(kind(Office(SessionConfig(max_turns=turns), **own), count, timeout_s))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def scripted(kind: type[PatientPool[Any]]) -> Iterator[PatientPool[Any]]:
    """Two workers of scripted patients, which the tests share."""
    with kind(Office(SessionConfig(max_turns=len(SAID)), "grpo"), 2, HANGS_S) as opened:
        yield opened


def digest(sessions: Sequence[Session]) -> str:
    said = [(s.persona.id, s.seed, s.transcript.messages) for s in sessions]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def rewards(turns: Sequence[Turn | None]) -> list[float | None]:
    return [turn.reward if turn else None for turn in turns]


def played(batch: SessionBatch | SpreadBatch, starts: Sequence[Start]) -> tuple[list[str], list[Any]]:
    """Digests of the transcripts after each turn, and rewards, with those that are done left out."""
    seen, earned = [digest(batch.reset(starts))], []
    for text in SAID:
        earned.append(rewards(batch.step([None if session.done else text for session in batch.sessions])))
        seen.append(digest(batch.sessions))
    return seen, earned


def test_sessions_are_the_batchs_own_turn_for_turn(scripted: PatientPool[Any]) -> None:
    own, spread = SessionBatch(SessionConfig(max_turns=len(SAID)), rubric="grpo"), SpreadBatch(scripted)
    seen, earned = played(own, STARTS)
    there, told = played(spread, STARTS)
    assert there == seen and len(set(seen)) == len(SAID) + 1
    for ours, theirs in zip(earned, told, strict=True):
        assert theirs == pytest.approx(ours, abs=1e-6)
    assert [s.states for s in spread.sessions] == [s.states for s in own.sessions]
    assert [s.latent for s in spread.sessions] == [s.latent for s in own.sessions]


def test_equal_starts_have_a_key_each(scripted: PatientPool[Any]) -> None:
    assert [s.key[2] for s in SpreadBatch(scripted).reset([Start(1, "marta"), Start(1, "owen")] * 2)] == [0, 0, 1, 1]


def test_one_state_branches_into_a_group(scripted: PatientPool[Any]) -> None:
    spread, own = SpreadBatch(scripted), SessionBatch(SessionConfig(max_turns=len(SAID)), rubric="grpo")
    (begun,) = spread.reset([Start(3)])
    spread.restore([begun] * 3)
    own.restore(spread.snapshot())
    assert rewards(spread.step(list(SAID[:3]))) == pytest.approx(rewards(own.step(list(SAID[:3]))), abs=1e-6)
    assert digest(spread.sessions) == digest(own.sessions)


@pytest.mark.filterwarnings("ignore:a session failed by an error of Held")
def test_a_patient_that_fails_fails_its_own_session_and_can_be_resumed(pool: Open, tmp_path: Path) -> None:
    patient = Held(str(tmp_path))
    own, spread = SessionBatch(patient=patient), SpreadBatch(pool(turns=20, patient=patient))
    own.reset(STARTS), spread.reset(STARTS)
    (tmp_path / "broken").touch()
    ours, theirs = own.step([SAID[0]] * len(STARTS)), spread.step([SAID[0]] * len(STARTS))
    failed = [i for i, session in enumerate(own.sessions) if session.failed]
    assert {5, 7} <= set(failed) < set(range(len(STARTS)))
    assert [i for i, session in enumerate(spread.sessions) if session.failed] == failed
    assert all(math.isnan(turn.reward) for i, turn in enumerate(theirs) if turn and i in failed)
    assert rewards(theirs) == pytest.approx(rewards(ours), abs=1e-6, nan_ok=True)
    (tmp_path / "broken").unlink()
    assert spread.resume() == own.resume() == len(failed)
    again = [SAID[0] if i in failed else SAID[1] for i in range(len(STARTS))]
    assert rewards(spread.step(again)) == pytest.approx(rewards(own.step(again)), abs=1e-6)
    assert digest(spread.sessions) == digest(own.sessions) and not any(s.failed for s in spread.sessions)


def killing(folder: Path, kills: int) -> threading.Thread:
    """Kills so many workers in mid-turn, one after another, and lets the next one answer."""

    def watch() -> None:
        for number in range(1, kills + 1):
            while not (held := list(folder.glob("*.pid"))):
                time.sleep(0.02)
            if number == kills:
                (folder / "hold").unlink()
            for file in held:
                file.unlink()
                os.kill(int(file.stem), signal.SIGKILL)

    (folder / "hold").touch()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_worker_killed_in_mid_turn_is_replaced_and_its_turn_played_again(pool: Open, tmp_path: Path) -> None:
    patient = Held(str(tmp_path))
    own, spread = SessionBatch(patient=patient), SpreadBatch(pool(count=1, turns=20, patient=patient))
    own.reset(STARTS), spread.reset(STARTS)
    ours = own.step([SAID[0]] * len(STARTS))
    killer = killing(tmp_path, 1)
    theirs = spread.step([SAID[0]] * len(STARTS))
    killer.join(HANGS_S)
    assert rewards(theirs) == pytest.approx(rewards(ours), abs=1e-6)
    assert digest(spread.sessions) == digest(own.sessions) and not any(s.failed for s in spread.sessions)


def test_three_workers_killed_in_one_turn_are_told_and_the_sessions_stand(pool: Open, tmp_path: Path) -> None:
    opened = pool(count=1, patient=Held(str(tmp_path)))
    spread = SpreadBatch(opened)
    before = spread.reset(STARTS[:2])
    killer = killing(tmp_path, 3)
    with pytest.raises(PatientError, match=f"3 {opened.called} of patients have ended one after another"):
        spread.step(SAID[:2])
    killer.join(HANGS_S)
    assert spread.sessions is before
    assert all(spread.step(SAID[:2]))


def test_a_worker_that_is_late_is_replaced(pool: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pool(count=1, patient=Held(str(tmp_path)))
    spread, replacement, replaced = SpreadBatch(opened), opened._replacement, []
    spread.reset(STARTS[:2])

    def patient_again() -> Any:
        (tmp_path / "hold").unlink()
        opened.timeout_s = HANGS_S
        replaced.append(replacement())
        return replaced[-1]

    monkeypatch.setattr(opened, "_replacement", patient_again)
    (tmp_path / "hold").touch()
    opened.timeout_s = 0.5
    assert all(spread.step(SAID[:2])) and len(replaced) == 1


def test_mistakes_are_told_as_the_batch_tells_them(scripted: PatientPool[Any]) -> None:
    spread = SpreadBatch(scripted)
    with pytest.raises(EpisodeError, match="no session was begun"):
        spread.step([])
    with pytest.raises(PersonaError, match="'nobody'"):
        spread.reset([Start(1), Start(2, "nobody")])
    with pytest.raises(ConfigError, match="seed is -1"):
        spread.reset([Start(-1)])
    begun = spread.reset([Start(1), Start(2)])
    for texts in (["one"], "ab", [None, "two"], [1, "two"]):
        with pytest.raises(ActionError):
            spread.step(texts)  # type: ignore[arg-type]
    with pytest.raises(ActionError, match="1 texts for 2 sessions"):
        scripted.step(begun, ["one"])
    assert all(spread.step(SAID[:2]))  # and goes on


def test_an_environment_that_cannot_be_made_is_told_at_once(pool: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for own, error in (({"rubric": "nonsense"}, ConfigError), ({"patient": " "}, ConfigError)):
        with pytest.raises(error):
            pool(count=1, **own).begin([Start(1)])
    only_here = ModuleType("only_here")
    only_here.Own = type("Own", (), {"__module__": "only_here"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    with pytest.raises(PatientError, match=r"cannot make its environment: ModuleNotFoundError.*only_here"):
        pool(count=1, patient=only_here.Own()).begin([Start(1)])
    with pytest.raises(ConfigError, match="count is 0"):
        pool(count=0)


def test_a_pool_that_was_closed_says_so(pool: Open) -> None:
    with pool(count=1) as opened:
        assert len(opened.begin([Start(1)])) == 1
    opened.close()  # again
    with pytest.raises(PatientError, match="ended"):
        opened.begin([Start(1)])

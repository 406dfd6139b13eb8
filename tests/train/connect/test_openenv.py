"""Sessions over OpenEnv's wire are ``SessionBatch``'s own; needs ``openenv``, in an environment of its own."""

import json
import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("openenv", reason="OpenEnv has an environment of its own: docs/connections.md")

import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.parts.connected import SAID, Faulty, played
from therapysim.agents.therapists.therapist import conversation
from therapysim.agents.web.addresses import listening
from therapysim.cli.serve import MOST_BYTES, settings_of
from therapysim.envs.batch import Start
from therapysim.errors import ConfigError
from therapysim.train.connect.openenv import TherapyAction, TherapyClient
from therapysim.train.connect.serve import app as serving
from therapysim.train.connect.serve.app import make_app

MOST = 8


def served(**own: Any) -> Iterator[str]:
    app = make_app(**{"turns": len(SAID), "most": MOST, **own})
    with listening("127.0.0.1", 0) as place:
        server = uvicorn.Server(settings_of(app, 600.0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    yield from served()


def through(address: str, seed: int, **own: Any) -> tuple[list[str], list[Any]]:
    with TherapyClient(address).sync() as env:
        told = env.reset(seed=seed, **own)
        messages, steps = [env.state().system, told.observation.message], []
        for text in SAID:
            steps.append(env.step(TherapyAction(text=text)))
            messages += [text, steps[-1].observation.message]
            if steps[-1].done:
                break
    return messages, steps


def test_a_session_is_the_batches_own_turn_for_turn(address: str) -> None:
    for seed in range(4):
        own, turns = played(Start(seed, None, "train", True), SAID)
        messages, steps = through(address, seed, vary=True)
        assert messages == [message["content"] for message in conversation(own)]
        assert [step.reward for step in steps] == [turn.reward for turn in turns]
        assert [step.observation.terms for step in steps] == [turn.terms for turn in turns]
        assert [step.done for step in steps] == [False] * (len(turns) - 1) + [True]
        assert steps[-1].observation.affect == [float(value) for value in own.state.affect]


def test_sessions_at_once_are_each_its_own(address: str) -> None:
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: through(address, s)[0]})) for s in range(MOST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found[seed] for seed in range(MOST)] == [through(address, seed)[0] for seed in range(MOST)]


def until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_whoever_comes_beyond_the_limit_is_refused_and_those_who_vanish_make_room(address: str) -> None:
    wire = address.replace("http", "ws") + "/ws"
    with ExitStack() as stack:
        held = [stack.enter_context(connect(wire)) for _ in range(MOST)]
        for one in held:
            one.send(json.dumps({"type": "reset", "data": {"seed": 1}}))
            assert "utterance" in one.recv(60)
        with pytest.raises(RuntimeError, match="8/8 sessions active"):
            through(address, 1)
        for one in held:
            one.socket.close()  # without a word
    until(lambda: _works(address))


def _works(address: str) -> bool:
    try:
        return bool(through(address, 1))
    except RuntimeError:  # still full
        return False


@pytest.mark.parametrize(
    "sent",
    ["", "{", "null", "[1]", '{"type": "nonsense"}', '{"type": "step", "data": {"words": 1}}',
     '{"type": "step", "data": {"text": null}}', '{"type": "reset", "data": {"seed": "x"}}',
     '{"type": "reset", "data": {"persona": "nobody"}}', '{"type": "reset", "data": {"seed": -1}}',
     '{"type": "reset", "data": {"max_turns": 0}}', b"\xff\x00\xfe"],
)  # fmt: skip
def test_nonsense_is_answered_and_no_other_session_touched(address: str, sent: str | bytes) -> None:
    with TherapyClient(address).sync() as other:
        other.reset(seed=3)
        before = other.step(TherapyAction(text=SAID[0])).observation
        with connect(address.replace("http", "ws") + "/ws") as wire:
            wire.send(json.dumps({"type": "reset", "data": {"seed": 1}}))
            wire.recv(60)
            wire.send(sent)
            try:
                answer = json.loads(wire.recv(60))
                assert answer["type"] == "error", answer
            except ConnectionClosed:
                pass  # binary frames and the like end the connection
        after = other.step(TherapyAction(text=SAID[1])).observation
    _, turns = played(Start(3), SAID[:2])
    assert before.terms == turns[0].terms and after.terms == turns[1].terms


def test_no_website_and_no_other_name_is_let_in(address: str) -> None:
    wire = address.replace("http", "ws") + "/ws"
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(InvalidStatus), connect(wire, additional_headers=headers):
            pass
    for path in ("/reset", "/step"):  # by HTTP no limit would hold
        request = urllib.request.Request(address + path, b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    with urllib.request.urlopen(address + "/health") as answer:
        assert b"healthy" in answer.read()


def test_too_much_is_not_taken(address: str) -> None:
    with connect(address.replace("http", "ws") + "/ws") as wire, pytest.raises(ConnectionClosed):
        wire.send(json.dumps({"type": "step", "data": {"text": "x" * MOST_BYTES}}))
        wire.recv(60)


def test_after_the_end_a_step_is_refused_and_a_reset_begins_anew(address: str) -> None:
    with TherapyClient(address).sync() as env:
        with pytest.raises(RuntimeError, match="no session was begun"):
            env.step(TherapyAction(text="Hello.")).reward  # noqa: B018
        env.reset(seed=1)
        for text in SAID:
            told = env.step(TherapyAction(text=text))
        assert told.done
        with pytest.raises(RuntimeError, match="is over"):
            env.step(TherapyAction(text="More.")).reward  # noqa: B018
        assert not env.reset(seed=1).done


def test_a_patient_that_fails_is_asked_again_and_no_nan_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Faulty(1, 3, 4, 5, 6)
    monkeypatch.setattr(serving, "open_patient", lambda name, feel: patient)
    for address in served(patient="faulty"):
        with TherapyClient(address).sync() as env:
            env.reset(seed=1)
            once = env.step(TherapyAction(text="Hello."))
            assert math.isfinite(once.reward) and not once.observation.failed
            gone = env.step(TherapyAction(text="Hello?"))
            assert gone.reward is None and gone.done and gone.observation.failed


def test_a_rubric_that_there_is_not_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        make_app(rubric="nonsense")

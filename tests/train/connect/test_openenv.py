"""Sessions over OpenEnv's wire are ``SessionBatch``'s own; needs ``openenv``, in an environment of its own."""

import json
import math
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openenv", reason="OpenEnv has an environment of its own: docs/connections.md")

from openenv.cli._validation import validate_running_environment
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.parts.connected import SAID, Faulty, played
from tests.parts.serving import MOST, served
from therapysim.agents.therapists.therapist import conversation
from therapysim.agents.web.addresses import listening
from therapysim.cli.main import main
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, EpisodeError
from therapysim.personas.patient import Cue, Line
from therapysim.train.connect.openenv import TherapyAction, TherapyClient
from therapysim.train.connect.serve import app as serving
from therapysim.train.connect.serve.app import make_app
from therapysim.train.connect.serve.environment import TherapyEnvironment
from therapysim.train.connect.serve.gatherer import Gatherer
from therapysim.train.connect.serve.guard import MOST_BYTES
from therapysim.train.connect.serve.metrics import Metrics


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


def test_a_rubric_of_ones_own_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: grpo\nweights: {safety: 3.5}\n", encoding="utf-8")
    batch = serving._gatherer("scripted", str(file), Metrics())._open(SessionConfig())
    assert batch.rubric.settings.weights["safety"] == 3.5


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
     '{"type": "reset", "data": {"max_turns": 0}}', '{"type": "reset", "data": {"persna": "owen"}}',
     '{"type": "reset", "data": {"persona": ["owen"]}}', '{"type": "reset", "data": {"vary": "no"}}',
     '{"type": "mcp", "data": 1}', b"\xff\x00\xfe"],
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
    origins = ("http://evil.example", "null", "file://")
    for headers in (*({"Origin": origin} for origin in origins), {"Host": "evil.example"}):
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


def wired(address: str, query: str = "") -> Any:
    return connect(address.replace("http", "ws") + "/ws" + query)


def ask(wire: Any, kind: str, **data: Any) -> dict[str, Any]:
    wire.send(json.dumps({"type": kind, "data": data}))
    return dict(json.loads(wire.recv(60)))


def counted(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_client_that_sends_nothing_is_closed_and_makes_room() -> None:
    for address in served(most=1, idle_s=1.0):
        with wired(address) as wire, pytest.raises(ConnectionClosed, match=r"1001.*silent for 1 s"):
            wire.recv(60)
        until(partial(_works, address))


def test_a_foreign_session_id_is_refused_and_a_shared_one_ends_with_its_owner(address: str) -> None:
    with wired(address, "?session_id=6f1c2f0e-0000-4000-8000-000000000000") as wire:
        assert "Unknown session_id" in json.loads(wire.recv(60))["data"]["message"]
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create", "params": {}}
    with wired(address) as owner:
        ask(owner, "reset", seed=1)
        own = ask(owner, "mcp", **rpc)["data"]["result"]["session_id"]
        with wired(address, f"?session_id={own}") as guest:
            assert ask(guest, "step", text="Hello.")["type"] == "observation"
            with wired(address, f"?session_id={own}") as third:
                assert "already has" in json.loads(third.recv(60))["data"]["message"]
            owner.close()
            until(lambda: "was closed" in str(ask(guest, "step", text="Hello?")))
            assert "was closed" in str(ask(guest, "reset", seed=2))


def test_turns_sent_at_once_are_taken_one_after_another(address: str) -> None:
    with wired(address) as wire:
        ask(wire, "reset", seed=5)
        for text in SAID[:3]:
            wire.send(json.dumps({"type": "step", "data": {"text": text}}))
        told = [json.loads(wire.recv(60))["data"] for _ in range(3)]
    _, turns = played(Start(5), SAID)
    assert [one["observation"]["turn"] for one in told] == [1, 2, 3]
    assert [one["reward"] for one in told] == [turn.reward for turn in turns[:3]]


def test_a_reset_that_fails_leaves_the_session_as_it_was(address: str) -> None:
    with wired(address) as wire:
        ask(wire, "reset", seed=5, max_turns=1)
        assert ask(wire, "reset", persona="nobody", max_turns=9)["type"] == "error"
        told = ask(wire, "step", text=SAID[0])["data"]
    assert told["done"] and told["reward"] == played(Start(5), SAID[:1])[1][0].reward


def test_what_is_counted_is_what_was_done(address: str) -> None:
    before = counted(address)
    with wired(address) as wire:
        for _ in range(2):
            ask(wire, "reset", seed=1)
        ask(wire, "step", text="Hello.")
        ask(wire, "reset", seed=-1)
        ask(wire, "nonsense")
        during = counted(address)
        assert during["therapysim_sessions_open"] >= 1 and during["therapysim_sessions_most"] == MOST
    told = {name: value - before.get(name, 0) for name, value in during.items()}
    assert told["therapysim_sessions_begun_total"] == 2 and told["therapysim_turns_total"] == 1
    assert told["therapysim_turn_seconds_count"] == told['therapysim_turn_seconds_bucket{le="+Inf"}'] == 1
    assert told['therapysim_errors_total{code="EXECUTION_ERROR"}'] == 1
    assert told['therapysim_errors_total{code="UNKNOWN_TYPE"}'] == 1


def test_openenvs_validator_passes_it(address: str) -> None:
    report = validate_running_environment(address)
    assert report["passed"] and report["standard_profile"] == "openenv-http/1.x", report


class Hung:
    """Opens a session, then answers no more until it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if cues[0].transcript.messages:
            self.asked.set()
            assert self.let_go.wait(60)
        return [Line("Hello.") for _ in cues]


def test_a_second_turn_while_the_first_is_played_is_refused() -> None:
    patient, config = Hung(), SessionConfig(max_turns=4)
    gatherer = Gatherer(lambda own: SessionBatch(own, patient=patient, rubric="grpo"), Metrics())
    env = TherapyEnvironment(gatherer, config)
    env.reset(seed=1)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(env.step, TherapyAction(text="Hello."))
        assert patient.asked.wait(60)
        for again in (lambda: env.step(TherapyAction(text="Hello?")), lambda: env.reset(seed=2)):
            with pytest.raises(EpisodeError, match="being played"):
                again()
        patient.let_go.set()
        assert first.result(60).turn == 1
    assert env.step(TherapyAction(text="Hello?")).turn == 2
    gatherer.close()


_HUNG = """
import sys
from tests.train.connect import test_openenv as own
from therapysim.cli.main import main

class Told(own.Hung):
    def speak(self, cues):
        if cues[0].transcript.messages:
            print("asked", flush=True)
        return super().speak(cues)

own.serving.open_patient = lambda name, feel: Told()
sys.exit(main(["serve", "--port", "0", "--patient-model", "hung"]))
"""


def test_a_server_killed_in_mid_turn_is_told_to_its_client() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _HUNG], stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout and server.stderr
        address = server.stderr.readline().split()[0].rstrip("/")
        with wired(address) as wire:
            ask(wire, "reset", seed=1)
            wire.send(json.dumps({"type": "step", "data": {"text": "Hello."}}))
            assert server.stdout.readline() == "asked\n"
            server.kill()
            with pytest.raises(ConnectionClosed):
                wire.recv(60)
        with pytest.raises(ConnectionError, match="Failed to connect"), TherapyClient(address).sync() as env:
            env.reset(seed=1)


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with listening("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


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

"""Turns from a vLLM server: asked for one by one, sampled as TRL would, and what goes wrong is told."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")
pytest.importorskip("aiohttp")

from transformers import AutoTokenizer

from tests.parts.patience import HANGS_S
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ModelError
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo import served
from therapysim.train.grpo.failsafe import Stopped
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout, Trajectory
from therapysim.train.grpo.served import Server
from therapysim.train.runs.ending import Terminated

WHO = [Start(3, "claire"), Start(4, "owen"), Start(5, "ingrid"), Start(6, "marta")]
TURNS = 3


class Vllm:
    """In the place of ``vllm serve``: says one turn, once ``meets`` has let it; ``answers`` may refuse.

    Attributes:
        asked: the requests, as they came.
        under_way, most: how many are in ``meets``, and how many ever were at once.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.ids = [*tokenizer("What is that like for you?")["input_ids"], tokenizer.eos_token_id]
        self.meets: Callable[[dict[str, Any]], None] = lambda request: None
        self.answers: Callable[[int], tuple[int, Any] | None] = lambda number: None
        self.asked: list[dict[str, Any]] = []
        self.lock, self.under_way, self.most = threading.Lock(), 0, 0
        self.url = ""

    def answer(self, request: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            self.asked.append(request)
            number = len(self.asked)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.meets(request)
        with self.lock:
            self.under_way -= 1
        logprobs = {"token_logprobs": [-0.5] * len(self.ids)}
        return self.answers(number) or (200, {"choices": [{"token_ids": self.ids, "logprobs": logprobs}]})


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def vllm(tokenizer: Any) -> Iterator[Vllm]:
    model = Vllm(tokenizer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._give(200, {"data": [{"id": "the-model"}]})

        def do_POST(self) -> None:
            self._give(*model.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _give(self, status: int, what: Any) -> None:
            body = json.dumps(what).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked has gone
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model.url = f"http://127.0.0.1:{server.server_port}"
    yield model
    server.shutdown()
    server.server_close()


class Patient:
    """Answers with the number of the turn, once ``meets`` has let it."""

    def __init__(self, meets: Callable[[Cue], None] = lambda cue: None) -> None:
        self.meets = meets

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        for cue in cues:
            self.meets(cue)
        return [Line(f"That was number {len(cue.transcript)}.") for cue in cues]


@pytest.fixture
def rollout_of(
    tokenizer: Any, vllm: Vllm, make_batch: Callable[..., SessionBatch]
) -> Callable[..., tuple[Rollout, Any]]:
    def make(patient: Any = None) -> tuple[Rollout, Any]:
        settings = GRPOSettings(
            max_turns=TURNS, max_turn_tokens=32, generations=4, vllm="server", vllm_server_url=vllm.url + "/"
        )
        rollout = Rollout(settings, make_batch(TURNS, patient), tokenizer)
        rollout.engine = Server(settings, [tokenizer.eos_token_id, 7])
        trainer = SimpleNamespace(
            accelerator=SimpleNamespace(num_processes=1, process_index=0), sync_engine=lambda: None, use_vllm=True,
            rows=[{"seed": start.seed, "persona": start.persona} for start in WHO],
            state=SimpleNamespace(global_step=0), _log_metric=lambda name, value: None,
        )  # fmt: skip
        return rollout, trainer

    return make


def test_sessions_are_played_to_their_ends(rollout_of: Any, vllm: Vllm, tokenizer: Any) -> None:
    rollout, trainer = rollout_of()
    episodes: list[Trajectory] = rollout.play(trainer, WHO)
    assert [len(e.turn_rewards) for e in episodes] == [TURNS] * 4 and len(vllm.asked) == 4 * TURNS
    for e in episodes:
        said = [i for i, own in zip(e.completion_ids, e.env_mask, strict=True) if own]
        assert said == vllm.ids * TURNS
        assert {p for p, own in zip(e.logprobs, e.env_mask, strict=True) if own} == {-0.5}
    assert rollout.seconds["generation"] > 0


def test_what_is_asked_for_is_what_trl_asks_for(
    rollout_of: Any, vllm: Vllm, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TRL's own client, given the same; but for its limit of tokens, which is of a session there."""
    from trl.generation.vllm_client import VLLMClient

    rollout, trainer = rollout_of()
    rollout.play(trainer, WHO[:1])
    ours = vllm.asked[0]
    client = VLLMClient.__new__(VLLMClient)
    sent: list[dict[str, Any]] = []

    def post(url: str, json: dict[str, Any], **_: Any) -> Any:
        sent.append(json)
        return {"choices": [{"prompt_token_ids": [1], "token_ids": [1], "logprobs": None}]}

    client.model, client.base_url = "the-model", ""
    monkeypatch.setattr(client, "_post", post, raising=False)
    more = {"max_tokens": 32, "stop_token_ids": [tokenizer.eos_token_id, 7]}
    client.generate([ours["prompt"]], temperature=1.0, top_p=1.0, generation_kwargs=more)
    assert {**sent[0], "prompt": ours["prompt"]} == ours


def test_a_slow_patient_delays_its_own_session_alone(rollout_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first answer comes once all others have been through all of theirs."""
    others_done, over = threading.Event(), set()

    def meets(cue: Cue) -> None:
        if cue.persona.id == "claire" and cue.transcript.messages:
            assert others_done.wait(HANGS_S)

    rollout, trainer = rollout_of(Patient(meets))
    whole = rollout.heed

    def heed(episode: Trajectory, session: Any, *turn: Any) -> None:
        whole(episode, session, *turn)
        if session.done:
            over.add(session.persona.id)
        if over == {"owen", "ingrid", "marta"}:
            others_done.set()

    monkeypatch.setattr(rollout, "heed", heed)
    assert [len(e.turn_rewards) for e in rollout.play(trainer, WHO)] == [TURNS] * 4


def test_turns_are_under_way_together(rollout_of: Any, vllm: Vllm) -> None:
    meeting = threading.Barrier(4)
    vllm.meets = lambda request: meeting.wait(HANGS_S) and None
    rollout, trainer = rollout_of()
    rollout.play(trainer, WHO)
    assert vllm.most == 4


@pytest.mark.parametrize("status", [500, 503])
def test_what_another_try_heals_is_tried_again(
    rollout_of: Any, vllm: Vllm, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_PAUSE_S", 0.0)
    vllm.answers = lambda number: (status, {"error": "busy"}) if number in (2, 3) else None
    rollout, trainer = rollout_of()
    assert [len(e.turn_rewards) for e in rollout.play(trainer, WHO[:1])] == [TURNS]
    assert len(vllm.asked) == TURNS + 2


@pytest.mark.parametrize(
    ("answer", "told", "asked"),
    [
        ((500, {"error": "no memory"}), "status 500: .*no memory.*go on with --resume", 3),
        ((404, {"error": "no such model"}), "status 404: .*no such model", 1),
        ((200, {"choices": []}), "an answer without tokens or their log-probabilities", 1),
        ((200, {"choices": [{"token_ids": [1, 2], "logprobs": {"token_logprobs": [-0.5]}}]}), "an answer without", 1),
        ((200, {"choices": [{"text": "Hm.", "logprobs": None}]}), "an answer without tokens", 1),
    ],
)
def test_a_server_that_gives_no_turn_is_named(
    rollout_of: Any, vllm: Vllm, answer: tuple[int, Any], told: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_PAUSE_S", 0.0)
    vllm.answers = lambda number: answer
    rollout, trainer = rollout_of()
    with pytest.raises(ModelError, match=f"vLLM server {vllm.url}.*{told}"):
        rollout.play(trainer, WHO[:1])
    assert len(vllm.asked) == asked


def test_no_server_is_told(rollout_of: Any, vllm: Vllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_PAUSE_S", 0.0)
    rollout, trainer = rollout_of()
    rollout.engine.url = "http://127.0.0.1:9"
    with pytest.raises(ModelError, match=r"vLLM server http://127\.0\.0\.1:9/v1/models: .*see that it runs"):
        rollout.play(trainer, WHO)


def test_sigterm_waits_for_no_turn(rollout_of: Any, vllm: Vllm) -> None:
    let_go = threading.Event()
    rollout, trainer = rollout_of()
    with Terminated() as terminated:
        rollout.terminated = terminated

        def meets(request: dict[str, Any]) -> None:
            terminated.asked = True
            let_go.wait(HANGS_S)

        vllm.meets = meets
        with pytest.raises(Stopped):
            rollout([""] * 4, trainer)
    assert vllm.under_way
    let_go.set()


def test_all_time_is_counted_as_waiting_for_turns_or_for_patients(rollout_of: Any, vllm: Vllm) -> None:
    """Each second is told once, the last answers of patients too."""
    rollout, trainer = rollout_of()
    told: list[tuple[str, float]] = []
    rollout.spent = lambda what, began: told.append((what, began))
    rollout.play(trainer, WHO)
    names = [name for name, _ in told if name in ("generation", "environment")]
    assert names[-1] == "environment" and [began for _, began in told[1:]] == sorted(began for _, began in told[1:])


def test_the_first_fault_of_a_server_is_told_to_all(
    rollout_of: Any, vllm: Vllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(served, "_PAUSE_S", 0.0)
    whole = served.ServerTurns._connect

    async def connect(self: Any) -> str:
        asked.append(self)
        return await whole(self)

    monkeypatch.setattr(served.ServerTurns, "_connect", connect)
    rollout, trainer = rollout_of()
    rollout.engine.url = "http://127.0.0.1:9"
    with pytest.raises(ModelError, match="see that it runs"):
        rollout.play(trainer, WHO)
    assert len(asked) == 1


def test_weights_are_given_before_any_process_asks_for_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """In TRL's own place for it, a process goes on while another still sends them."""
    from trl import GRPOTrainer

    from therapysim.train.grpo.trainer import SessionGRPOTrainer

    told: list[str] = []

    def generated(self: Any, inputs: Any) -> Any:
        told.append("generation")
        raise InterruptedError

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", generated)
    trainer = SessionGRPOTrainer.__new__(SessionGRPOTrainer)
    trainer.use_vllm, trainer._last_loaded_step, trainer._step = True, -1, 1
    trainer.state, trainer.args = SimpleNamespace(global_step=0), SimpleNamespace(gradient_accumulation_steps=2)
    trainer.vllm_generation = SimpleNamespace(sync_weights=lambda: told.append("weights"))
    trainer.accelerator = SimpleNamespace(wait_for_everyone=lambda: told.append("all wait"))
    for _ in range(2):
        with pytest.raises(InterruptedError):
            trainer._generate_and_score_completions([])
    assert told == ["weights", "all wait", "generation", "generation"]

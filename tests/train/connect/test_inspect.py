"""The benchmark played by Inspect is the benchmark; needs ``inspect-ai``: docs/connections.md."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("inspect_ai", reason="the extra inspect: docs/connections.md")

import inspect_ai
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from tests.parts.chat_server import line, serving
from tests.parts.connected import Faulty
from therapysim.agents.bench.benchmark import play_policy, results_table
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.sessions.episode import Episode
from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.therapists.therapist import ChatTherapist, conversation, hash_seed
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import PatientError, TherapySimError
from therapysim.models.chat import Sampling
from therapysim.personas.load import personas
from therapysim.train.connect import inspect_solver
from therapysim.train.connect.inspect_scores import results_of
from therapysim.train.connect.inspect_task import bench

PEOPLE = [p.id for p in personas("dev")][:3]
SEEDS, TURNS = 2, 5
STARTS = [Start(seed, who) for who in PEOPLE for seed in range(SEEDS)]

Chat = tuple[tuple[str, str], ...]


def evaluated(tmp_path: Path, say: Callable[[Chat, Any], str] | None = None, **own: Any) -> EvalLog:
    """A log of a small benchmark; ``say`` has the chat that the model reads, and how it is to draw."""

    def answer(messages: Any, tools: Any, choice: Any, config: Any) -> ModelOutput:
        chat = tuple((message.role, message.text) for message in messages)
        said = ModelOutput.from_content("mockllm", say(chat, config) if say else "What was that like for you?")
        said.usage = ModelUsage(input_tokens=7, output_tokens=2, total_tokens=9)
        return said

    task = own.pop("task", None) or bench("dev", PEOPLE, SEEDS, own.pop("turns", TURNS), **own.pop("of_task", {}))
    model = own.pop("model", None) or get_model("mockllm/model", custom_outputs=answer)
    return inspect_ai.eval(task, model=model, log_dir=str(tmp_path), display="none", **own)[0]


def reference(therapist: Any) -> tuple[list[SessionResult], list[Episode]]:
    episodes: dict[tuple[str, int], Episode] = {}
    batch = SessionBatch(SessionConfig(max_turns=TURNS), rubric="default")
    rows = play_policy(batch, therapist, STARTS, "mockllm/model", "scripted",
                       lambda row, episode: episodes.update({(row.persona, row.seed): episode}))  # fmt: skip
    return rows, [episodes[row.persona, row.seed] for row in rows]


def sha(messages: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()


def shown(chat: Sequence[Any]) -> Chat:
    return tuple((message["role"], message["content"]) for message in chat)


def same(found: SessionResult, want: SessionResult) -> bool:
    """But for the tokens, which each counts in its own way."""
    rows = [replace(r, measures={k: v for k, v in r.measures.items() if not k.startswith("tokens_")})
            for r in (found, want)]  # fmt: skip
    return repr(rows[0]) == repr(rows[1]) and rows[0].turns == rows[1].turns  # nan is not nan


@pytest.mark.parametrize("name", ["attuned", "hostile", "silent"])
def test_a_scripts_lines_make_the_benchmarks_own_sessions(tmp_path: Path, name: str) -> None:
    rows, episodes = reference(find_policy(name).open())
    lines: dict[tuple[Chat, int], str] = {}
    for episode in episodes:
        talk = shown(conversation(episode.session))
        for turn, text in enumerate(episode.session.transcript.said_by("therapist")):
            lines[talk[: 2 * turn + 2], hash_seed(episode.session.seed, turn)] = text
    log = evaluated(tmp_path, lambda chat, config: lines[chat, config.seed])  # any other chat is a KeyError
    assert log.samples is not None and [s.error and s.error.traceback for s in log.samples] == [None] * len(STARTS)
    assert log.status == "success", log.error
    for sample, episode in zip(log.samples, episodes, strict=True):
        talk = [(m.role, m.text) for m in sample.messages]
        assert sha(talk) == sha(shown(conversation(episode.session)))
        told = [event.data for event in sample.events if event.event == "info"]
        assert [t["reward"] for t in told] == pytest.approx([t.reward for t in episode.turns], abs=1e-6)
        assert [t["terms"] for t in told] == [t.terms for t in episode.turns]
        assert told[-1]["ending"] == episode.session.ending
    assert all(map(same, results_of(log), rows)) and len(results_of(log)) == len(rows)
    assert results_table(results_of(log)) == results_table(rows)
    for sample, row in zip(log.samples, rows, strict=True):
        scored = sample.scores["measures"].value
        own = {k: v for k, v in row.measures.items() if not k.startswith("tokens_")}
        assert {k: scored[k] for k in own} == pytest.approx(own, nan_ok=True)
        assert sample.scores["terms"].value == {f"term_{name}": value for name, value in row.terms.items()}
        assert scored["tokens_read"] == 7 * len(row.turns) and scored["tokens_written"] == 2 * len(row.turns)


class Recorder:
    """A model behind a server, that answers with what a chat makes of it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: set[tuple[Any, ...]] = set()

    def reply(self, chats: Sequence[Any], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        drawn = (sampling.max_tokens, sampling.temperature, sampling.top_p)
        self.asked |= {(shown(chat), *drawn, seed) for chat, seed in zip(chats, seeds, strict=True)}
        return [spoken(shown(chat)) for chat in chats]


def spoken(chat: Chat) -> str:
    """With reasoning, a control token, or nothing at all, as models have it."""
    words = line(int(sha(chat)[:8], 16))
    return ("", words, f"<think>He is sad.</think> {words}", f" {words}<|im_end|><|im_start|>user")[len(chat) // 2 % 4]


@pytest.mark.parametrize("state", [True, False])
def test_a_model_reads_and_draws_as_in_the_benchmark(tmp_path: Path, state: bool) -> None:
    own = Recorder()
    rows, _ = reference(ChatTherapist(own, show_state=state))
    asked: set[tuple[Any, ...]] = set()

    def say(chat: Chat, config: Any) -> str:
        asked.add((chat, config.max_tokens, config.temperature, config.top_p, config.seed))
        return spoken(chat)

    log = evaluated(tmp_path, say, of_task={"show_state": state})
    assert asked == own.asked and len(asked) == sum(len(row.turns) for row in rows)
    assert all(map(same, results_of(log), rows))


def test_over_one_server_both_play_the_same(tmp_path: Path) -> None:
    pytest.importorskip("openai"), pytest.importorskip("aiohttp")
    with serving() as url:
        rows, _ = reference(find_policy(f"{url}#tiny").open())
        model = get_model("openai-api/local/tiny", base_url=url, api_key="none", memoize=False)
        log = evaluated(tmp_path, model=model)
    found = [replace(row, policy="mockllm/model") for row in results_of(log)]
    assert all(map(same, found, rows)) and len({turn.therapist for row in found for turn in row.turns}) > TURNS


def test_means_and_their_errors_go_by_patient_and_leave_out_what_no_session_has(tmp_path: Path) -> None:
    log = evaluated(tmp_path, lambda chat, config: spoken(chat))
    rows = results_of(log)
    assert any(math.isnan(row["handled"]) for row in rows) and log.results is not None
    found = {score.name: score for score in log.results.scores if score.scorer == "measures"}
    for name in ("total", "handled", "alliance"):
        x = [(row.persona, row[name]) for row in rows if not math.isnan(row[name])]
        mean, score = float(np.mean([v for _, v in x])) if x else math.nan, found[name]
        assert score.metrics["mean"].value == pytest.approx(mean, nan_ok=True)
        assert (score.scored_samples, score.unscored_samples) == (len(x), len(rows) - len(x))
        if len(people := {who for who, _ in x}) > 1:
            sums = [sum(v - mean for who, v in x if who == one) for one in people]
            error = math.sqrt(sum(s * s for s in sums) * len(people) / (len(people) - 1)) / len(x)
            assert score.metrics["stderr"].value == pytest.approx(error)


def test_an_epoch_is_the_same_session_with_other_draws(tmp_path: Path) -> None:
    log = evaluated(tmp_path, lambda chat, config: line(config.seed), epochs=2)
    assert log.samples is not None and len(log.samples) == 2 * len(STARTS)
    seeds: dict[int, set[int]] = {1: set(), 2: set()}
    openings: dict[Any, set[str]] = {}
    for sample in log.samples:
        seeds[sample.epoch] |= {event.config.seed for event in sample.events if event.event == "model"}
        openings.setdefault(sample.id, set()).add(sample.messages[1].text)
    assert seeds[1] == {hash_seed(seed, turn) for seed in range(SEEDS) for turn in range(TURNS)}
    assert len(seeds[2]) == len(seeds[1]) and not seeds[1] & seeds[2]
    assert all(len(own) == 1 for own in openings.values())
    assert len(results_of(log)) == len(STARTS) == len({row.key for row in results_of(log)})


class SilentTo:
    """A patient whose people of one name never answer a therapist."""

    def __init__(self, who: str) -> None:
        self.who, self.well = who, Faulty()

    def speak(self, cues: Sequence[Any]) -> Any:
        if any(cue.persona.id == self.who and len(cue.transcript) for cue in cues):
            raise PatientError("out of order")
        return self.well.speak(cues)


def test_a_patient_that_fails_is_its_samples_error_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_solver, "open_patient", lambda *a, **k: SilentTo(PEOPLE[1]))
    log = evaluated(tmp_path)
    assert log.samples is not None and log.results is not None
    failed = {str(s.id): s.error.message for s in log.samples if s.error}
    assert set(failed) == {f"{PEOPLE[1]}-{seed}" for seed in range(SEEDS)} and log.status == "error"
    assert all("turn 1: the patient, asked 3 times, gave no answer" in text for text in failed.values())
    assert log.results.completed_samples == len(STARTS) - SEEDS == len(results_of(log))
    assert all(score.scored_samples <= len(STARTS) - SEEDS for score in log.results.scores)


def test_a_patient_that_fails_once_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Faulty(0, 2)
    monkeypatch.setattr(inspect_solver, "open_patient", lambda *a, **k: patient)
    log = evaluated(tmp_path, task=bench("dev", PEOPLE[0], 1, 2))
    assert log.status == "success" and patient.calls == 5 and len(results_of(log)[0].turns) == 2


def test_a_session_broken_off_is_not_scored(tmp_path: Path) -> None:
    log = evaluated(tmp_path, task=bench("dev", PEOPLE[0], 1, 4), token_limit=20)
    assert log.samples is not None and log.samples[0].error is not None and not results_of(log)
    assert "has no finished session; raise its limits" in log.samples[0].error.message


@pytest.mark.parametrize(
    ("own", "told"),
    [({"patients": 2.5}, "patients is 2.5"), ({"patients": 99}, "people is 99"), ({"patients": "nobody"}, "nobody"),
     ({"split": "all"}, "'all'"), ({"rubric": "nonsense"}, "nonsense"), ({"seeds": 0}, "seeds"),
     ({"patient": ""}, "patient is empty")],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_played(own: dict[str, Any], told: str) -> None:
    with pytest.raises(TherapySimError, match=told):
        bench(**own)


@pytest.mark.skipif(
    not any(point.name == "therapysim" for point in entry_points(group="inspect_ai")), reason="not installed with it"
)
def test_inspect_finds_the_task_by_its_name(tmp_path: Path) -> None:
    code = (
        "import inspect_ai\n"
        "from inspect_ai.model import *\n"
        "said = ModelOutput.from_content('mockllm', 'Hello.')\n"
        "said.usage = ModelUsage()\n"
        "model = get_model('mockllm/model', custom_outputs=lambda *a: said)\n"
        "log = inspect_ai.eval('therapysim/bench', model=model, task_args={'patients': 1, 'seeds': 1, 'turns': 1},\n"
        "                      display='none')[0]\n"
        "print(log.eval.task, log.status, log.eval.metadata['provenance']['format'])\n"
    )
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=plain)
    assert done.stdout.split()[-3:] == ["therapysim/bench", "success", "therapysim-bench"], done.stderr

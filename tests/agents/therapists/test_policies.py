"""Policies by name: baselines, models, runs, servers, functions of one's own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest

from tests.parts.bench_parts import ROOT, SMALL, Model, found, play_small, scripted
from tests.parts.chat_server import serving
from therapysim.agents.bench.benchmark import benchmark
from therapysim.agents.bench.folder import SETTINGS
from therapysim.agents.bench.forecast import policy_cost
from therapysim.agents.bench.runner import run
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.policies import Policy, find_policy, kind_of
from therapysim.agents.therapists.therapist import ChatTherapist, conversation
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ActionError, ConfigError
from therapysim.models.chat import HuggingFaceChat, Sampling, count_tokens
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor


def test_kinds_are_told_by_the_name(tmp_path: Path) -> None:
    assert kind_of("cbt") == "baseline" and kind_of("http://localhost:1/v1#m") == "server"
    assert kind_of("my.module:policy") == "function" and kind_of("org/model") == kind_of("smollm2") == "model"
    (tmp_path / "policy").mkdir()
    (tmp_path / "settings.json").write_text("{}")
    assert kind_of(str(tmp_path)) == "run"
    for name, message in (
        ("", "is empty"),
        ("http://localhost:1/v1", "URL#MODEL"),
        ("cbd", "did you mean 'cbt'"),
        (str(tmp_path), "none of a training"),
        ("no_such_module:policy", "there is no module 'no_such_module'"),
        ("json:policy", "cannot be had: json has no 'policy'; mend json"),
        ("json:lods", "cannot be had: json has no 'lods'; did you mean 'loads'"),
        ("json.py:loads", "there is no module 'json.py'.*did you mean 'json:loads'"),
        ("json:__name__", "expected a function or a therapist"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_policy(name)


def test_ones_own_policy_takes_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    block = next(b.removeprefix("python\n") for b in page.split("```") if b.startswith("python\n# mine.py"))
    assert len(block.strip().splitlines()) <= 6  # five and the file's name
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    rows = play_small(tmp_path / "out", "mine:policy")
    assert len(rows) == 4 and all(said.therapist for row in rows for said in row.turns)
    monkeypatch.delitem(sys.modules, "mine")


_ASKS_LATER = """
import sys
from therapysim.agents.therapists.policies import find_policy
assert "colorsys" not in sys.modules
find_policy("mine:policy")
import colorsys  # as a package imports another when it is needed
print(colorsys.__file__)
"""


def test_no_file_beside_ones_own_policy_is_run_in_place_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import beside\n\n\ndef policy(seen):\n    return beside.LINE\n")
    (tmp_path / "beside.py").write_text("LINE = 'What is that like?'\n")
    (tmp_path / "colorsys.py").write_text("")
    code = [sys.executable, "-P", "-c", _ASKS_LATER]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(tmp_path) not in done.stdout


def test_a_policy_that_says_nothing_is_refused() -> None:
    with pytest.raises(ActionError, match=r"gave int with .*, seed 0, turn 1, expected str"):
        play(SessionBatch(), find_policy("builtins:len").open(), [Start(0)])
    with pytest.raises(ActionError, match=r"the policy failed with .*, seed 0, turn 1: TypeError"):
        play(SessionBatch(), find_policy("operator:index").open(), [Start(0)])


def test_an_edited_function_is_another_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "edited.py").write_text("def policy(seen):\n    return 'What is that like?'\n")
    play_small(tmp_path / "out", "edited:policy")
    (tmp_path / "edited.py").write_text("def policy(seen):\n    return 'You are stupid.'\n")
    monkeypatch.delitem(sys.modules, "edited")
    with pytest.raises(ConfigError, match="'edited:policy' was another among the policies: source was"):
        play_small(tmp_path / "out", "edited:policy")


@pytest.mark.parametrize(
    ("body", "message"),
    [("raise RuntimeError('boom')", r"failed with 4 sessions: RuntimeError\('boom'\) in own\d+\.py, line 3; mend it"),
     ("return None", "gave None, expected"),
     ("return [1, 2, 3, 4]", r"gave \[1, 2, 3, 4\]"), ("return 'abcd'", "gave 'abcd'")],
)  # fmt: skip
def test_a_therapist_of_ones_own_is_named_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    name = f"own{len(body)}"
    (tmp_path / f"{name}.py").write_text(f"class Policy:\n    def respond(self, sessions):\n        {body}\n")
    with pytest.raises(ActionError, match=f"policy '{name}:Policy' {message}"):
        play_small(tmp_path / "out", f"{name}:Policy")


@pytest.mark.parametrize("code", ["import nothing_of_that_name", "def broken(:", "1 / 0", "import sys\nsys.exit(3)"])
def test_a_module_with_a_mistake_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / f"wrong{len(code)}.py").write_text(code)
    with pytest.raises(ConfigError, match=f"policy 'wrong{len(code)}:policy' cannot be had: .*; mend wrong"):
        find_policy(f"wrong{len(code)}:policy")


def test_a_folder_within_a_run_is_of_that_run(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "policy")
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(tiny_model, tmp_path / "checkpoints" / "checkpoint-5")
    settings = {"show_state": True, "max_turn_tokens": 200, "split": "train", "personas": ["marta"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    for name in ("policy", "checkpoints/checkpoint-5", ""):
        policy = find_policy(str(tmp_path / name))
        assert policy.trained_on == {"marta"} and policy_cost(policy, SMALL).written == 4 * 3 * 200
    monkeypatch.chdir(tmp_path)
    assert kind_of("cbt") == "baseline" and kind_of("mine:policy") == "function" and kind_of("smollm2") == "model"


def test_a_list_of_answers_is_wanted(tmp_path: Path) -> None:
    class One:
        def respond(self, sessions: Sequence[Session]) -> str:
            return "abcd"

    with pytest.raises(ActionError, match="One gave str for 4 sessions"):
        run(SMALL, [Policy("one", One, {})], scripted(), tmp_path, stream=StringIO())  # type: ignore[arg-type]


def test_models_read_the_header_or_not_and_their_tokens_are_counted(tiny_model: Path) -> None:
    about = Sampling(max_tokens=6)
    with_header, without = (find_policy(str(tiny_model), about, show_state=s) for s in (True, False))
    assert without.name == f"{with_header.name} (no header)" and with_header.about["tokens"] == "counted"
    batch = SessionBatch(SessionConfig(max_turns=2))
    rows = [r for p in (with_header, without) for r in benchmark(batch, {p.name: p.open()}, ["marta"], [0])]
    assert rows[0]["tokens_read"] > rows[1]["tokens_read"] > 0


def test_tokens_are_those_of_the_prompts_that_were_sent(tiny_model: Path) -> None:
    chat = HuggingFaceChat(tiny_model)
    therapist, asked = ChatTherapist(chat, Sampling(max_tokens=5)), []
    encode = chat._encode

    def watch(chats: Sequence[object]) -> object:
        batch = encode(chats)  # type: ignore[arg-type]
        asked.append(int(batch["attention_mask"].sum()))
        return batch

    chat._encode = watch  # type: ignore[method-assign, assignment]
    (episode,) = play(SessionBatch(SessionConfig(max_turns=3)), therapist, [Start(0, "marta")])
    read, written = therapist.tokens(episode.session)
    assert read == sum(asked)
    talk = therapist.conversation(episode.session)  # with the white space that was sampled
    said = [m.get("sampled") or m["content"] for m in talk if m["role"] == "assistant"]
    assert [text.strip() for text in said] == episode.session.transcript.said_by("therapist")
    assert written == sum(len(chat.tokenizer.encode(text, add_special_tokens=False)) for text in said)
    guess = count_tokens(object(), [conversation(episode.session)], ["abcde"])  # type: ignore[arg-type]
    assert guess[0][1] == 2 and guess[0][0] > 20


def test_a_server_and_a_trained_run_play(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "policy").symlink_to(tiny_model)
    settings = {"show_state": False, "max_turn_tokens": 4, "split": "train", "personas": []}
    (folder / "settings.json").write_text(json.dumps(settings))
    trained = find_policy(str(folder))
    assert trained.about["show_state"] is False and trained.about["max_tokens"] == 4 and len(trained.trained_on) == 24
    with serving() as url:
        names = [str(folder), f"{url}#any"]
        rows = run(SMALL, found(*names), scripted(), tmp_path / "out", stream=StringIO())
    assert {r.policy for r in rows} == set(names) and all(r["tokens_read"] > 0 for r in rows)
    kept = json.loads((tmp_path / "out" / SETTINGS).read_text())["policies"]
    assert kept[names[1]]["tokens"] == "estimated" and kept[names[0]]["tokens"] == "counted"


def test_the_patients_model_is_counted_with_its_refused_draws() -> None:
    model = Model("As an AI language model I have no feelings.")
    feel = shipped_sensor().affect
    patient, cbt = LLMPatient(model, ScriptedPatient(feel), feel), {"cbt": baseline("cbt")}
    (row,) = benchmark(SessionBatch(SessionConfig(max_turns=2), patient=patient), cbt, ["marta"], [0], simulator="odd")
    assert row.simulator == "odd" and row["replaced"] == 1 and row["redrawn"] == 3
    assert model.asked == 9 and row["patient_written"] == 2 * 3 * 11 and row["patient_read"] > 400  # 43 letters

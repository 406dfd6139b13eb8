"""Recorded replies: what is asked again and what is not, damage, and processes that share a folder or are killed."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parts.patience import HANGS_S
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.models.replay import RecordedChat
from therapysim.personas.llm.guard import GuardSettings
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

ROOT = Path(__file__).parents[2]
SAMPLING = Sampling()


class Counting:
    """Answers each chat anew, so that no reply comes twice; remembers what each call asked. Fails where told to."""

    identity = "counting"

    def __init__(self, name: str = "", fail_on: str = "") -> None:
        self.name, self.fail_on = name, fail_on
        self.calls: list[list[tuple[str, int]]] = []

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        call = [(chat[-1]["content"], seed) for chat, seed in zip(chats, seeds, strict=True)]
        self.calls.append(call)
        replies = [f"{self.name}{len(self.calls)}.{i} to {text}, é😀" for i, (text, _) in enumerate(call)]
        if self.fail_on and any(text == self.fail_on for text, _ in call):
            kept = [None if text == self.fail_on else r for r, (text, _) in zip(replies, call, strict=True)]
            raise ModelError("one chat failed", kept if any(kept) else None)
        return replies


def ask(*texts: str) -> list[list[ChatMessage]]:
    return [[{"role": "system", "content": "Speak."}, {"role": "user", "content": text}] for text in texts]


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.json"))


def test_it_is_a_chat_model_with_an_identity(tmp_path: Path) -> None:
    chat = RecordedChat(Counting(), tmp_path)
    assert isinstance(chat, ChatModel) and chat.identity == "counting"


def test_the_same_is_asked_once(tmp_path: Path) -> None:
    model = Counting()
    chat = RecordedChat(model, tmp_path / "new" / "folder")
    first = chat.reply(ask("a", "b", "a"), SAMPLING, [1, 2, 1])
    assert model.calls == [[("a", 1), ("b", 2)]] and first[0] == first[2] != first[1]
    assert chat.reply(ask("b", "a"), SAMPLING, [2, 1]) == [first[1], first[0]]
    assert len(model.calls) == 1


def test_only_what_is_missing_is_asked_all_in_one_call(tmp_path: Path) -> None:
    model = Counting()
    chat = RecordedChat(model, tmp_path)
    chat.reply(ask("a", "c"), SAMPLING, [1, 3])
    replies = chat.reply(ask("a", "b", "c", "d", "b"), SAMPLING, [1, 2, 3, 4, 2])
    assert model.calls[1:] == [[("b", 2), ("d", 4)]]
    assert [r.split(" to ")[1] for r in replies] == ["a, é😀", "b, é😀", "c, é😀", "d, é😀", "b, é😀"]


@pytest.mark.parametrize(
    ("sampling", "seed", "texts"),
    [(Sampling(max_tokens=65), 1, "a"), (Sampling(temperature=0.7), 1, "a"), (Sampling(top_p=0.9), 1, "a"),
     (SAMPLING, 2, "a"), (SAMPLING, 1, "b")],
)  # fmt: skip
def test_whatever_a_reply_depends_on_is_part_of_its_key(
    sampling: Sampling, seed: int, texts: str, tmp_path: Any
) -> None:
    model = Counting()
    chat = RecordedChat(model, tmp_path)
    first = chat.reply(ask("a"), SAMPLING, [1])
    assert chat.reply(ask(texts), sampling, [seed]) != first
    assert RecordedChat(model, tmp_path, identity="another").reply(ask("a"), SAMPLING, [1]) != first
    assert chat.reply([[{"role": "user", "content": "a"}]], SAMPLING, [1]) != first
    assert len(entries(tmp_path)) == 4


def test_equal_numbers_of_different_types_are_the_same(tmp_path: Path) -> None:
    model = Counting()
    chat = RecordedChat(model, tmp_path)
    chat.reply(ask("a"), Sampling(temperature=0, top_p=1), [1])
    chat.reply(ask("a"), Sampling(temperature=0.0, top_p=1.0), [int(np.uint32(1))])
    chat.reply(ask("a"), Sampling(temperature=np.float64(0)), np.array([1]))  # type: ignore[arg-type]
    assert len(model.calls) == 2  # the last differs in top_p alone


def test_any_text_survives(tmp_path: Path) -> None:
    chats = ask("half a pair \ud83d", "line\u2028break\x00", "")
    first = RecordedChat(Counting(), tmp_path).reply(chats, SAMPLING, [1, 2, 3])
    assert RecordedChat(None, tmp_path, "replay", identity="counting").reply(chats, SAMPLING, [1, 2, 3]) == first


def test_an_empty_reply_is_kept_like_any_other(tmp_path: Path) -> None:
    class Silent(Counting):
        def reply(self, chats: Any, sampling: Any, seeds: Any) -> list[str]:
            return ["" for _ in super().reply(chats, sampling, seeds)]

    model = Silent()
    for _ in range(2):
        assert RecordedChat(model, tmp_path).reply(ask("a"), SAMPLING, [1]) == [""]
    assert len(model.calls) == 1


# --- replay and refresh ---


def test_replay_needs_no_model_and_repeats_word_for_word(tmp_path: Path) -> None:
    first = RecordedChat(Counting(), tmp_path).reply(ask("a", "b"), SAMPLING, [1, 2])
    again = RecordedChat(None, tmp_path, "replay", identity="counting")
    assert again.reply(ask("b", "a"), SAMPLING, [2, 1]) == first[::-1]


def test_a_replay_knows_whose_words_it_holds(tmp_path: Path) -> None:
    first = RecordedChat(Counting(), tmp_path).reply(ask("a", "b"), SAMPLING, [1, 2])
    entries(tmp_path)[0].write_bytes(b"{")  # a damaged entry says nothing of who spoke
    again = RecordedChat(None, tmp_path, "replay")
    assert again.identity == "counting" and first[0] != first[1]
    RecordedChat(Counting(), tmp_path, identity="another").reply(ask("a"), SAMPLING, [1])
    with pytest.raises(ConfigError, match=r"holds replies of 'another', 'counting'; give identity="):
        RecordedChat(None, tmp_path, "replay")
    assert RecordedChat(None, tmp_path, "replay", identity="another").reply(ask("a"), SAMPLING, [1])


def test_replay_asks_no_model_even_where_there_is_one(tmp_path: Path) -> None:
    model = Counting()
    with pytest.raises(ModelError, match=r"2 of 2 replies cannot be replayed; the first, .*\.json, is missing"):
        RecordedChat(model, tmp_path, "replay").reply(ask("a", "b"), SAMPLING, [1, 2])
    assert model.calls == [] and not entries(tmp_path)


def test_refresh_asks_again_and_what_it_got_stands(tmp_path: Path) -> None:
    model = Counting()
    old = RecordedChat(model, tmp_path).reply(ask("a"), SAMPLING, [1])
    new = RecordedChat(model, tmp_path, "refresh").reply(ask("a", "a"), SAMPLING, [1, 1])
    assert len(model.calls) == 2 and new[0] == new[1] != old[0]
    assert RecordedChat(model, tmp_path).reply(ask("a"), SAMPLING, [1]) == new[:1]
    assert len(model.calls) == 2


# --- a model that fails ---


def test_what_succeeded_is_kept_before_the_error_goes_on(tmp_path: Path) -> None:
    known = RecordedChat(Counting(), tmp_path).reply(ask("old"), SAMPLING, [9])
    model = Counting(fail_on="bad")
    with pytest.raises(ModelError, match="one chat failed") as caught:
        RecordedChat(model, tmp_path).reply(ask("a", "bad", "old", "b", "bad"), SAMPLING, [1, 2, 9, 3, 2])
    replies = caught.value.replies
    assert replies is not None and [reply is None for reply in replies] == [False, True, False, False, True]
    assert replies[2] == known[0] and len(entries(tmp_path)) == 3
    offline = RecordedChat(None, tmp_path, "replay", identity="counting")
    assert offline.reply(ask("a", "b"), SAMPLING, [1, 3]) == [replies[0], replies[3]]


def test_a_model_that_fails_as_a_whole_adds_nothing(tmp_path: Path) -> None:
    RecordedChat(Counting(), tmp_path).reply(ask("old"), SAMPLING, [9])
    with pytest.raises(ModelError) as caught:
        RecordedChat(Counting(fail_on="a"), tmp_path).reply(ask("old", "a"), SAMPLING, [9, 1])
    assert caught.value.replies is None and len(entries(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ModelError, match=r"cannot (keep|read) .*taken.*json"):
        RecordedChat(Counting(), tmp_path / "taken").reply(ask("a"), SAMPLING, [1])


# --- damage ---


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """A third of all bits of one entry, spread over it; the damage is refused offline, and mended online."""
    first = RecordedChat(Counting(), tmp_path).reply(ask("a"), SAMPLING, [1])
    offline = RecordedChat(None, tmp_path, "replay", identity="counting")
    [path] = entries(tmp_path)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        harmed = bytearray(whole)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(harmed)
        with pytest.raises(ModelError, match="is damaged"):
            offline.reply(ask("a"), SAMPLING, [1])
    mended = RecordedChat(Counting("new "), tmp_path).reply(ask("a"), SAMPLING, [1])
    assert mended != first and offline.reply(ask("a"), SAMPLING, [1]) == mended


@pytest.mark.parametrize("cut", [0, 1, 40, -40, -1])
def test_a_cut_off_entry_is_asked_for_anew(cut: int, tmp_path: Path) -> None:
    model = Counting()
    RecordedChat(model, tmp_path).reply(ask("a"), SAMPLING, [1])
    [path] = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match=f"the first, {path}, is damaged.*record again"):
        RecordedChat(None, tmp_path, "replay", identity="counting").reply(ask("a"), SAMPLING, [1])
    assert RecordedChat(model, tmp_path).reply(ask("a"), SAMPLING, [1]) != [""]
    assert len(model.calls) == 2


def test_a_whole_entry_in_anothers_place_is_damage(tmp_path: Path) -> None:
    chat = RecordedChat(Counting(), tmp_path)
    chat.reply(ask("a"), SAMPLING, [1])
    [a] = entries(tmp_path)
    chat.reply(ask("b"), SAMPLING, [1])
    [b] = [path for path in entries(tmp_path) if path != a]
    b.write_bytes(a.read_bytes())
    with pytest.raises(ModelError, match="is damaged"):
        RecordedChat(None, tmp_path, "replay", identity="counting").reply(ask("b"), SAMPLING, [1])


# --- several processes ---

SHARED = """
import json, os, sys, time
sys.path.insert(0, {tests!r})
from tests.models.test_replay import Counting, RecordedChat, SAMPLING, ask
class Slow(Counting):
    def reply(self, *call):
        time.sleep(0.001)
        return super().reply(*call)
chat = RecordedChat(Slow(name=f"process {{os.getpid()}}, "), {folder!r})
print("ready", flush=True)
sys.stdin.readline()
replies = [chat.reply(ask(f"line {{i // 3}}"), SAMPLING, [i // 3])[0] for i in range(900)]
print(json.dumps(replies))
"""


def run(code: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


def test_two_processes_give_the_same_replies_from_one_folder(tmp_path: Path) -> None:
    both = [run(SHARED.format(tests=str(ROOT), folder=str(tmp_path))) for _ in range(2)]
    assert [process.stdout.readline() for process in both if process.stdout] == ["ready\n"] * 2
    for process in both:  # they start together, and meet at nearly every entry
        print("go", file=process.stdin, flush=True)
    one, two = (json.loads(process.communicate(timeout=HANGS_S)[0]) for process in both)
    assert one == two
    offline = RecordedChat(None, tmp_path, "replay", identity="counting")
    assert offline.reply(ask(*(f"line {i // 3}" for i in range(900))), SAMPLING, [i // 3 for i in range(900)]) == one
    assert len(entries(tmp_path)) == 300
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".json"]  # no drafts left


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from tests.models.test_replay import RecordedChat, SAMPLING, ask
class Long:
    identity = "counting"
    def reply(self, chats, sampling, seeds):
        return [str(seeds[0]) * 4_000_000]
chat = RecordedChat(Long(), {folder!r})
seed = {first}
chat.reply(ask("a"), SAMPLING, [seed])  # one is whole, however busy the machine
print("on", flush=True)
while True:
    chat.reply(ask("a"), SAMPLING, [seed])
    seed += 1
"""


def test_a_process_killed_while_it_writes_leaves_no_wrong_entry(tmp_path: Path) -> None:
    for kill in range(6):
        process = run(KILLED.format(tests=str(ROOT), folder=str(tmp_path), first=10 + 10 * kill))
        assert process.stdout is not None and process.stdout.readline() == "on\n"
        time.sleep(0.05 + 0.037 * kill)
        process.kill()
        process.communicate()
    offline = RecordedChat(None, tmp_path, "replay", identity="counting")
    seeds = [json.loads(path.read_bytes())["request"]["seed"] for path in entries(tmp_path)]
    assert seeds
    for seed in seeds:
        assert offline.reply(ask("a"), SAMPLING, [seed]) == [str(seed) * 4_000_000]
    # What a killed process leaves behind is in nobody's way.
    assert RecordedChat(Counting(), tmp_path).reply(ask("a"), SAMPLING, [9_999])


# --- construction ---


@pytest.mark.parametrize(
    ("model", "options", "found"),
    [
        (None, {}, "mode 'record' asks a model, but model is None"),
        (None, {"mode": "refresh", "identity": "x"}, "mode 'refresh' asks a model"),
        (None, {"mode": "replay"}, "identity is None and there is no model; give identity="),
        (object(), {}, "identity is None and object has none of its own"),
        (Counting(), {"identity": ""}, "identity is ''"),
        (Counting(), {"mode": "rerun"}, "mode is 'rerun', expected one of record, replay, refresh"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(model: Any, options: Any, found: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=found):
        RecordedChat(model, tmp_path, **options)


def test_seeds_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 chats and 1 seeds"):
        RecordedChat(Counting(), tmp_path).reply(ask("a", "b"), SAMPLING, [1])


def test_sessions_with_a_distant_model_repeat_word_for_word_without_it(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    from tests.parts.chat_server import serving
    from therapysim.models.remote import RemoteChat

    with serving() as url:
        live = RecordedChat(RemoteChat(url, "tiny"), tmp_path, identity="tiny")
        first = _sessions(live)
    assert _sessions(RecordedChat(None, tmp_path, "replay", identity="tiny")) == first
    assert any("llm" in sources for _, sources in first)


def _sessions(chat: ChatModel) -> list[tuple[Any, list[str]]]:
    """What was said and how it came about, in three sessions of two turns."""
    batch = SessionBatch(SessionConfig(max_turns=2))
    feel = batch.sensor.affect
    guard = GuardSettings(max_mood_distance=9.0, max_leak=1.0, min_fact=0.0)
    batch.patient = LLMPatient(chat, ScriptedPatient(feel), feel, LLMPatientSettings(guard=guard))
    batch.reset([Start(seed=seed) for seed in range(3)])
    sources: list[list[str]] = [[] for _ in range(3)]
    for text in ("What brings you here?", "That sounds heavy."):
        for turn, row in zip(batch.step([None if s.done else text for s in batch.sessions]), sources, strict=True):
            row += [turn.line.source] if turn and turn.line else []
    return [(s.transcript, row) for s, row in zip(batch.sessions, sources, strict=True)]

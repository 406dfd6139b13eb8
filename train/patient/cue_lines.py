"""``therapysim train patient-lines``: cue -> line examples from which a small model learns to word a cue.

Four sources, all of them this project's own: lines written for the training patients (``cue_lines_*.yaml``), lines of
their case files as answers to questions of each kind, lines that the scripted patient composes for cues of sessions
with their variants, and lines that an earlier adapter drew for such cues and the guard accepted. Dev and test patients
are never in it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from therapysim.agents.probes.portrayal import collect_cues
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.messages import Transcript
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.personas.answers import answer_lines
from therapysim.personas.items import COLUMNS, DANGER_KINDS, Item, items_of
from therapysim.personas.llm.contradictions import contradictions
from therapysim.personas.llm.guard import Feel, GuardSettings, inspect
from therapysim.personas.llm.prompts import brief, instructions
from therapysim.personas.load import find, personas
from therapysim.personas.patient import Cue
from therapysim.personas.schema import Persona
from therapysim.personas.vary import MARK
from therapysim.records import STRICT, Record, read_record, read_rows
from therapysim.state import Move, Vector
from therapysim.train.patient.patient_settings import LineSettings

__all__ = ["Example", "answered_lines", "drawn_lines", "every_line", "generated_lines", "read_lines", "training_cues",
           "write_lines", "written_lines"]  # fmt: skip

Source = Literal["written", "answered", "generated", "drawn"]

#: By patient: move, what was heard, the line.
_Written = dict[str, tuple[tuple[Move, str, str], ...]]

_WRITTEN = "cue_lines_*.yaml"


@dataclass(frozen=True, slots=True)
class Example:
    """One line and the chat that asks for it.

    Attributes:
        patient: whose; an id of the train split, or of a variant.
        move: what the line does.
        source: where it comes from.
    """

    __pydantic_config__ = STRICT

    patient: str
    move: str
    source: Source
    chat: tuple[ChatMessage, ...]
    line: str


def training_cues(settings: LineSettings, batch: SessionBatch | None = None) -> list[Cue]:
    """Cues of sessions with variants of every training patient."""
    batch = batch or SessionBatch(SessionConfig(max_turns=settings.turns))
    cues: list[Cue] = []
    for k in range(settings.variants):
        who = [f"{p.id}{MARK}{settings.seed * 1000 + k}" for p in personas("train")]
        cues += collect_cues(who, count=None, turns=settings.turns, seed=settings.seed + 100 * k, batch=batch)
    return cues


def generated_lines(cues: Sequence[Cue], batch: SessionBatch, settings: LineSettings) -> list[Example]:
    """What the scripted patient says to each cue, where it reads near the mood; some moods set in hindsight."""
    feel, rng = batch.sensor.affect, np.random.default_rng(settings.seed)
    lines = [line.text for line in batch.patient.speak(cues)]
    moods = np.asarray(feel(lines), dtype=float)
    chosen = rng.random(len(cues)) < settings.hindsight
    stray = rng.normal(0.0, settings.stray, moods.shape)
    relabelled = [
        replace(cue, mood=_vector(mood + noise)) if late else cue
        for cue, mood, noise, late in zip(cues, moods, stray, chosen, strict=True)
    ]
    return _sound(relabelled, lines, feel, settings.far, "generated")


def written_lines(feel: Feel, settings: LineSettings) -> list[Example]:
    """The lines of ``cue_lines_*.yaml``, each a cue whose mood is what the line reads as.

    Raises:
        ConfigError: a line names no training patient or no move.
    """
    rng = np.random.default_rng(settings.seed)
    rows = list(_rows())
    if not rows:
        raise ConfigError(f"no {_WRITTEN} beside {Path(__file__).name}, expected the written lines; install anew")
    moods = np.asarray(feel([line for *_, line in rows]), dtype=float)
    stray = rng.normal(0.0, settings.stray, moods.shape)
    pairs = zip(rows, moods + stray, strict=True)
    cues = [_written_cue(who, move, heard, _vector(mood), rng) for (who, move, heard, _), mood in pairs]
    return _sound(cues, [line for *_, line in rows], feel, settings.far, "written")


def answered_lines(feel: Feel, settings: LineSettings) -> list[Example]:
    """What a training patient's case file answers to each kind of question: the cue tells the line, and so is it said.

    A small model is taught to say what it is told, since what it adds is seldom true.
    """
    rng, asked = np.random.default_rng(settings.seed), _questions()
    rows = [(p, item, asked[kind][int(rng.integers(len(asked[kind])))])
            for p in personas("train") for kind, item in _answering(p) if kind in asked]  # fmt: skip
    cues = [_asked_cue(persona, item, heard, rng) for persona, item, heard in rows]
    lines = [" ".join(answer_lines(cue)) for cue in cues]
    moods = np.asarray(feel(lines), dtype=float) + rng.normal(0.0, settings.stray, (len(lines), 4))
    cues = [replace(cue, mood=_vector(mood)) for cue, mood in zip(cues, moods, strict=True)]
    return _sound(cues, lines, feel, settings.far, "answered")


def drawn_lines(
    model: ChatModel, cues: Sequence[Cue], feel: Feel, settings: LineSettings, draws: int = 4
) -> list[Example]:
    """The best of a few lines that a model draws for each cue: accepted by the guard, nearest to the mood.

    Source: rejection-sampling fine-tuning, Yuan et al. 2023, "Scaling relationship on learning mathematical reasoning".
    """
    chats = [brief(cue) for cue in cues for _ in range(draws)]
    texts = model.reply(chats, Sampling(max_tokens=64, temperature=0.9, top_p=0.95), list(range(len(chats))))
    repeated = [cue for cue in cues for _ in range(draws)]
    kept = _judged(repeated, texts, feel, settings.far)
    best: dict[int, tuple[float, str]] = {}
    for k, (line, off) in kept.items():
        if k // draws not in best or off < best[k // draws][0]:
            best[k // draws] = (off, line)
    return [_example(cues[i], line, "drawn") for i, (_, line) in sorted(best.items())]


def every_line(settings: LineSettings, model: ChatModel | None = None) -> tuple[list[Example], int]:
    """Examples from every source, a model's drawn lines too where there is one; and how many cues there were."""
    batch = SessionBatch(SessionConfig(max_turns=settings.turns))
    cues = training_cues(settings, batch)
    feel = batch.sensor.affect
    found = [*written_lines(feel, settings), *answered_lines(feel, settings), *generated_lines(cues, batch, settings)]
    return found + (drawn_lines(model, cues, feel, settings) if model else []), len(cues)


def write_lines(path: Path, examples: Iterable[Example]) -> int:
    """Writes examples as JSON lines, whole or not at all; says how many."""
    rows = [json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in examples]
    with whole(path) as draft:
        draft.write_text("".join(rows), encoding="utf-8")
    return len(rows)


def read_lines(path: Path) -> list[Example]:
    """Examples from JSON lines.

    Raises:
        ConfigError: the file cannot be read, a row is no example, or its patient does not belong to the train split.
    """
    made = "expected what `therapysim train patient-lines` writes"
    found = list(read_rows(path, Example, ConfigError, f"examples {path} ({made})"))
    for example in found:
        if (split := find(example.patient).split) != "train":
            raise ConfigError(
                f"examples {path}: {example.patient!r} belongs to {split}, expected the train split alone"
            )
    if not found:
        raise ConfigError(f"examples {path}: the file is empty; write it with `therapysim train patient-lines`")
    return found


def _sound(cues: Sequence[Cue], lines: Sequence[str], feel: Feel, far: float, source: Source) -> list[Example]:
    kept = _judged(cues, lines, feel, far)
    return [_example(cues[i], line, source) for i, (line, _) in kept.items()]


def _judged(cues: Sequence[Cue], lines: Sequence[str], feel: Feel, far: float) -> dict[int, tuple[str, float]]:
    """index -> (line, mood distance) of those that the guard accepts and that contradict nothing."""
    settings = GuardSettings(max_mood_distance=far)
    verdicts = inspect(lines, cues, feel, settings, [instructions(cue) for cue in cues])
    sound = [i for i, v in enumerate(verdicts) if not v.fault and not contradictions(v.line, cues[i].persona)]
    off = np.asarray(feel([verdicts[i].line for i in sound]), dtype=float).reshape(-1, 4)
    judged = {
        i: (verdicts[i].line, float(np.linalg.norm(row - np.array(cues[i].mood))))
        for i, row in zip(sound, off, strict=True)
    }
    return {i: found for i, found in judged.items() if found[1] <= far}  # the guard lets an answer read as it reads


def _example(cue: Cue, line: str, source: Source) -> Example:
    return Example(cue.persona.id, str(cue.move), source, tuple(brief(cue)), line)


def _rows() -> Iterator[tuple[str, Move, str, str]]:
    for who, rows in _written().items():
        for row in rows:
            yield who, *row


@cache
def _written() -> _Written:
    table: _Written = {}
    for path in sorted(Path(__file__).parent.glob(_WRITTEN)):
        table |= read_record(path, _Written, ConfigError)
    for who in table:
        if find(who).split != "train":
            raise ConfigError(f"{_WRITTEN}: {who!r} belongs to {find(who).split}, expected training patients alone")
    return table


def _written_cue(who: str, move: Move, heard: str, mood: Vector, rng: np.random.Generator) -> Cue:
    persona = find(who)
    before = persona.voice.opening[int(rng.integers(len(persona.voice.opening)))]
    talk = Transcript().add("patient", before).add("therapist", heard)
    return Cue(persona, talk, mood, move)


class _Question(Record):
    kind: str
    text: str
    writer: str


def _questions() -> dict[str, list[str]]:
    """The reader's training questions by kind."""
    found: dict[str, list[str]] = {}
    for row in read_rows(Path(__file__).parents[1] / "reader" / "asks.jsonl", _Question, ConfigError):
        found.setdefault(row.kind, []).append(row.text)
    return found


def _answering(persona: Persona) -> Iterator[tuple[str, Item]]:
    """Kind of question -> each item of the patient's that answers it; of several situations, each."""
    rungs = {rung: kind for kind, rung in DANGER_KINDS.items()}
    columns = {column: kind for kind, column in COLUMNS.items()}
    for item in items_of(persona).values():
        place, _, name = item.id.partition(".")
        last = item.id.rpartition(".")[2]
        kind = rungs.get(name, "") if place == "danger" else columns.get(last, "") if place == "situations" else last
        if place not in ("replies", "facts", "tasks"):
            yield kind, item


def _asked_cue(persona: Persona, item: Item, heard: str, rng: np.random.Generator) -> Cue:
    before = persona.voice.opening[int(rng.integers(len(persona.voice.opening)))]
    talk = Transcript().add("patient", before).add("therapist", heard)
    return Cue(persona, talk, persona.mood, Move.ANSWER, seed=int(rng.integers(2**31)), items=(item,))


def _vector(values: Any) -> Vector:
    i, t, a, s = (float(v) for v in np.clip(values, -1.0, 1.0))
    return i, t, a, s

"""``therapysim train patient-lines``: cue -> line examples from which a small model learns to word a cue.

Three sources, all of them this project's own: lines written for the training patients (``patient_lines_*.yaml``), lines
that the scripted patient composes for cues of sessions with their variants, and lines that an earlier adapter drew for
such cues and the guard accepted. Dev and test patients are never in it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from therapysim.agents.probes.portrayal import collect_cues
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError, require_count, require_number
from therapysim.files import whole
from therapysim.messages import Transcript
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.personas.llm.contradictions import contradictions
from therapysim.personas.llm.guard import Feel, GuardSettings, inspect
from therapysim.personas.llm.prompts import brief, instructions
from therapysim.personas.load import find, personas
from therapysim.personas.patient import Cue
from therapysim.personas.vary import MARK
from therapysim.state import Move, Vector

__all__ = ["Example", "LineSettings", "drawn_lines", "generated_lines", "read_lines", "training_cues", "write_lines",
           "written_lines"]  # fmt: skip

_WRITTEN = "cue_lines_*.yaml"


@dataclass(frozen=True, slots=True)
class LineSettings:
    """What examples are made of.

    Attributes:
        variants: of each training patient; each plays one session with every therapist of ``THERAPISTS``.
        turns: of such a session, at most.
        far: mood distance in L2 beyond which a line is no example of its cue.
        hindsight: share of generated cues whose mood is set to what their line reads as, so that strong and weak
            words, and moods that no session reached, are learnt too.
        stray: standard deviation of the noise on such a mood, and on a written line's.
        seed: of everything.
    """

    variants: int = 4
    turns: int = 12
    far: float = 0.6
    hindsight: float = 0.5
    stray: float = 0.08
    seed: int = 0

    def __post_init__(self) -> None:
        require_count("variants", self.variants, 1)
        require_count("turns", self.turns, 1)
        require_count("seed", self.seed, 0)
        for name, high in (("far", 4.0), ("hindsight", 1.0), ("stray", 1.0)):
            require_number(name, getattr(self, name), 0.0, high)


@dataclass(frozen=True, slots=True)
class Example:
    """One line and the chat that asks for it.

    Attributes:
        patient: whose; an id of the train split, or of a variant.
        move: what the line does.
        source: "written", "generated" or "drawn".
    """

    patient: str
    move: str
    source: str
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
    """The lines of ``patient_lines_*.yaml``, each a cue whose mood is what the line reads as.

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


def write_lines(path: Path, examples: Iterable[Example]) -> int:
    """Writes examples as JSON lines, whole or not at all; says how many."""
    rows = [
        {"patient": e.patient, "move": e.move, "source": e.source, "chat": e.chat, "line": e.line} for e in examples
    ]
    with whole(path) as draft:
        draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return len(rows)


def read_lines(path: Path) -> list[Example]:
    """Examples from JSON lines.

    Raises:
        ConfigError: the file cannot be read, a row is no example, or its patient does not belong to the train split.
    """
    try:
        rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines() if row.strip()]
        found = [Example(r["patient"], r["move"], r["source"], tuple(r["chat"]), r["line"]) for r in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"examples {path}: {error!r}; expected what `therapysim train patient-lines` writes"
        ) from error
    for example in found:
        if (split := find(example.patient).split) != "train":
            raise ConfigError(
                f"examples {path}: {example.patient!r} belongs to {split}, expected the train split alone"
            )
    if not found:
        raise ConfigError(f"examples {path}: the file is empty; write it with `therapysim train patient-lines`")
    return found


def _sound(cues: Sequence[Cue], lines: Sequence[str], feel: Feel, far: float, source: str) -> list[Example]:
    kept = _judged(cues, lines, feel, far)
    return [_example(cues[i], line, source) for i, (line, _) in kept.items()]


def _judged(cues: Sequence[Cue], lines: Sequence[str], feel: Feel, far: float) -> dict[int, tuple[str, float]]:
    """index -> (line, mood distance) of those that the guard accepts and that contradict nothing."""
    settings = GuardSettings(max_mood_distance=far)
    verdicts = inspect(lines, cues, feel, settings, [instructions(cue) for cue in cues])
    sound = [i for i, v in enumerate(verdicts) if not v.fault and not contradictions(v.line, cues[i].persona)]
    off = np.asarray(feel([verdicts[i].line for i in sound]), dtype=float).reshape(-1, 4)
    return {
        i: (verdicts[i].line, float(np.linalg.norm(row - np.array(cues[i].mood))))
        for i, row in zip(sound, off, strict=True)
    }


def _example(cue: Cue, line: str, source: str) -> Example:
    return Example(cue.persona.id, str(cue.move), source, tuple(brief(cue)), line)


def _rows() -> Iterator[tuple[str, Move, str, str]]:
    for who, rows in _written().items():
        for move, heard, line in rows:
            yield who, Move(move), heard, line


@cache
def _written() -> dict[str, Any]:
    table: dict[str, Any] = {}
    for path in sorted(Path(__file__).parent.glob(_WRITTEN)):
        table |= yaml.safe_load(path.read_text(encoding="utf-8"))
    for who in table:
        if find(who).split != "train":
            raise ConfigError(f"{_WRITTEN}: {who!r} belongs to {find(who).split}, expected training patients alone")
    return table


def _written_cue(who: str, move: Move, heard: str, mood: Vector, rng: np.random.Generator) -> Cue:
    persona = find(who)
    before = persona.voice.opening[int(rng.integers(len(persona.voice.opening)))]
    talk = Transcript().add("patient", before).add("therapist", heard)
    return Cue(persona, talk, mood, move)


def _vector(values: Any) -> Vector:
    i, t, a, s = (float(v) for v in np.clip(values, -1.0, 1.0))
    return i, t, a, s

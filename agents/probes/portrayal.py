"""How well a language model plays the patient: what the guard refuses, what it makes up, how near the mood it comes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from therapysim.agents.probes.talk_counts import distinct
from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import Interval, mean_interval, proportion
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.personas.llm.contradictions import contradictions
from therapysim.personas.llm.guard import Feel, trim
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line, Patient

__all__ = [
    "THERAPISTS",
    "Portrayal",
    "Portrayed",
    "as_row",
    "collect_cues",
    "compare_portrayals",
    "portray",
    "portray_any",
    "portray_scripted",
    "portrayal_table",
    "summarise",
]

#: Whom the patients answer while cues are collected: good, plain and bad.
THERAPISTS = ("attuned", "cbt", "eliza", "advice", "hostile", "silent")
_CHUNK = 64


@dataclass(frozen=True)
class Portrayed:
    """One cue, worded.

    Attributes:
        draw: the model's first draw, trimmed as the guard trims it; the scripted patient's line, as it draws none.
        line: what was said in the end.
        distance: L2 distance between the cue's mood and the sensor's reading of ``draw``.
        spoken_distance: the same of ``line``.
    """

    cue: Cue
    draw: str
    line: Line
    distance: float
    spoken_distance: float


@dataclass(frozen=True)
class Portrayal:
    """A patient's figures over a set of cues; shares in [0, 1], of all cues unless said otherwise.

    Attributes:
        cues: how many.
        passed: first draws that the guard accepted, with a 95 % interval by patient.
        replaced: cues that ended with the scripted line.
        faults: share of all draws refused, by fault.
        contradicted: first draws that contradict the patient's file.
        spoken_contradicted: the same of the lines said in the end.
        distance: mean distance between mood and reading, first draws; with its interval.
        spoken_distance: the same of the lines said in the end.
        distinct: distinct-1 and -2 of first draws.
        unique: share of first draws that came once.
        words: mean length of the lines said, in words.
    """

    cues: int
    passed: Interval
    replaced: float
    faults: dict[str, float]
    contradicted: float
    spoken_contradicted: float
    distance: Interval
    spoken_distance: float
    distinct: dict[str, float]
    unique: float
    words: float


def collect_cues(
    persona_ids: Sequence[str], count: int | None, *, turns: int = 8, seed: int = 0, batch: SessionBatch | None = None
) -> list[Cue]:
    """Cues as they come up in sessions of the scripted patient with ``THERAPISTS``; equal seeds give equal cues.

    Args:
        persona_ids: whose.
        count: how many, spread over the sessions; None for all.
        turns: a session's length at most.
        seed: of the sessions and of the choice.
        batch: plays them; its patient stays as it was.

    Raises:
        ConfigError: fewer cues came up than were asked for.
    """
    batch = batch or SessionBatch(SessionConfig(max_turns=turns))
    listener, own = _Listener(batch.patient), batch.patient
    batch.patient = listener
    try:
        for k, name in enumerate(THERAPISTS):
            play(batch, baseline(name), [Start(seed + k, who) for who in persona_ids])
    finally:
        batch.patient = own
    if count is None:
        return listener.cues
    if len(listener.cues) < count:
        raise ConfigError(f"{len(listener.cues)} cues came up, {count} were asked for: ask for fewer, or more turns")
    picks = np.random.default_rng(seed).permutation(len(listener.cues))[:count]
    return [listener.cues[i] for i in sorted(picks)]


def portray(patient: LLMPatient, cues: Sequence[Cue]) -> list[Portrayed]:
    """Lets a language model's patient word each cue.

    Args:
        patient: must ask for one draw at a time.
        cues: what to word.
    """
    if patient.settings.draws_at_once != 1:
        raise ConfigError(f"draws_at_once is {patient.settings.draws_at_once}, expected 1, so that first draws count")
    overheard = _Overheard(patient.model)
    listening = LLMPatient(overheard, patient.fallback, patient.feel, patient.settings)
    done: list[Portrayed] = []
    for start in range(0, len(cues), _CHUNK):
        part = cues[start : start + _CHUNK]
        overheard.calls.clear()
        lines = listening.speak(part)
        draws = [trim(text, patient.settings.guard.max_words) for text in overheard.calls[0]]
        done += _pair(part, draws, lines, patient.feel)
    return done


def portray_scripted(patient: Patient, cues: Sequence[Cue], feel: Feel) -> list[Portrayed]:
    """The same of a patient that draws nothing: its lines count as first draws."""
    lines = patient.speak(cues)
    return _pair(cues, [line.text for line in lines], lines, feel)


def portray_any(patient: Patient, cues: Sequence[Cue], feel: Feel) -> list[Portrayed]:
    """Either of the two, by what the patient is."""
    return portray(patient, cues) if isinstance(patient, LLMPatient) else portray_scripted(patient, cues, feel)


def as_row(p: Portrayed) -> dict[str, object]:
    """One cue and its line, for JSON and for reading."""
    cue = p.cue
    return {
        "persona": cue.persona.id, "move": str(cue.move), "mood": [round(v, 3) for v in cue.mood],
        "facts": [fact.id for fact in cue.facts], "heard": cue.transcript.last("therapist"), "draw": p.draw,
        "line": p.line.text, "source": p.line.source, "rejected": list(p.line.rejected),
        "contradictions": contradictions(p.draw, cue.persona), "distance": round(p.distance, 3),
    }  # fmt: skip


def summarise(done: Sequence[Portrayed]) -> Portrayal:
    """The figures of what was worded."""
    draws, lines = [p.draw for p in done], [p.line for p in done]
    names = [p.cue.persona.id for p in done]
    faults = Counter(fault for line in lines for fault in line.rejected)
    drawn = sum(len(line.rejected) + (line.source != "replaced") for line in lines)
    words = [draw.lower().split() for draw in draws]
    return Portrayal(
        cues=len(done),
        passed=proportion([not line.rejected for line in lines], names),
        replaced=_share(line.source == "replaced" for line in lines),
        faults={fault: count / drawn for fault, count in sorted(faults.items())},
        contradicted=_share(bool(contradictions(p.draw, p.cue.persona)) for p in done),
        spoken_contradicted=_share(bool(contradictions(p.line.text, p.cue.persona)) for p in done),
        distance=mean_interval([p.distance for p in done], names),
        spoken_distance=float(np.mean([p.spoken_distance for p in done])),
        distinct={str(n): distinct(words, n) for n in (1, 2)},
        unique=sum(n == 1 for n in Counter(draws).values()) / len(draws),
        words=float(np.mean([len(line.text.split()) for line in lines])),
    )


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))


def compare_portrayals(
    patients: Iterable[tuple[str, Patient]], feel: Feel, *, split: str, cues: int, seed: int = 0
) -> tuple[dict[str, Portrayal], dict[str, Any]]:
    """Every patient words the same cues.

    Args:
        patients: names and patients, each opened only when the one before it is done.
        feel: reads their lines.
        split: whose cues.
        cues: how many.
        seed: of the cues.

    Returns:
        The figures by name, and figures and lines by name as plain values.
    """
    same = collect_cues([p.id for p in personas(split)], cues, seed=seed)
    found: dict[str, Portrayal] = {}
    rows: dict[str, Any] = {}
    for name, patient in patients:
        done = portray_any(patient, same, feel)
        found[name] = summarise(done)
        rows[name] = {"figures": asdict(found[name]), "lines": [as_row(p) for p in done]}
    return found, rows


def portrayal_table(portrayals: Mapping[str, Portrayal]) -> str:
    """A Markdown table, one row a patient."""
    names = ("patient", "cues", "guard passes", "replaced", "contradicts its file", "mood distance", "distinct-2",
             "unique", "words")  # fmt: skip
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, p in portrayals.items():
        passed, near = p.passed, p.distance
        rows.append(
            f"| {name} | {p.cues} | {passed.mean:.3f} ({passed.low:.3f} to {passed.high:.3f}) | {p.replaced:.3f} "
            f"| {p.contradicted:.3f} | {near.mean:.2f} ({near.low:.2f} to {near.high:.2f}) | {p.distinct['2']:.2f} "
            f"| {p.unique:.2f} | {p.words:.1f} |"
        )
    return "\n".join(rows)


def _pair(cues: Sequence[Cue], draws: Sequence[str], lines: Sequence[Line], feel: Feel) -> list[Portrayed]:
    moods = np.array([cue.mood for cue in cues])
    off = np.linalg.norm(np.asarray(feel(list(draws))) - moods, axis=1)
    spoken = np.linalg.norm(np.asarray(feel([line.text for line in lines])) - moods, axis=1)
    return [Portrayed(*row) for row in zip(cues, draws, lines, off.tolist(), spoken.tolist(), strict=True)]


class _Listener:
    """Passes cues on and keeps them."""

    def __init__(self, patient: Patient) -> None:
        self.patient = patient
        self.cues: list[Cue] = []

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.cues += cues
        return self.patient.speak(cues)


class _Overheard:
    """Passes chats on and keeps the replies of each call."""

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self.calls: list[list[str]] = []

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        replies = self.model.reply(chats, sampling, seeds)
        self.calls.append(replies)
        return replies

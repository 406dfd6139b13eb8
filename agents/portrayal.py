"""How well a language model plays the patient: what the guard refuses, what it makes up, how near the mood it comes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from therapysim.agents.baselines import baseline
from therapysim.agents.episode import play
from therapysim.chat import ChatMessage, ChatModel, Sampling
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.personas.contradictions import contradictions
from therapysim.personas.guard import Feel, trim
from therapysim.personas.llm import LLMPatient
from therapysim.personas.patient import Cue, Line, Patient

__all__ = [
    "THERAPISTS",
    "Portrayal",
    "Portrayed",
    "as_row",
    "collect_cues",
    "distinct",
    "portray",
    "portray_any",
    "portray_scripted",
    "summarise",
    "table",
]  # fmt: skip

#: Whom the patients answer while cues are collected: good, plain and bad.
THERAPISTS = ("attuned", "cbt", "eliza", "advice", "hostile", "silent")
_CHUNK = 64


@dataclass(frozen=True)
class Portrayed:
    """One cue, worded.

    Attributes:
        draw: the model's first draw, trimmed as the guard trims it; "" for the scripted patient.
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
        passed: first draws that the guard accepted, with a 95 % interval from a bootstrap over patients.
        redrawn: cues whose first draw was refused.
        replaced: cues that ended with the scripted line.
        faults: share of all draws refused, by fault.
        contradicted: first draws that contradict the patient's file.
        spoken_contradicted: the same of the lines said in the end.
        distance: mean distance between mood and reading, first draws; with its interval.
        spoken_distance: the same of the lines said in the end.
        distinct_1, distinct_2: distinct words and pairs of words over all of them, first draws.
        unique: share of first draws that came once.
        words: mean length of the lines said, in words.
    """

    cues: int
    passed: float
    passed_interval: tuple[float, float]
    redrawn: float
    replaced: float
    faults: dict[str, float]
    contradicted: float
    spoken_contradicted: float
    distance: float
    distance_interval: tuple[float, float]
    spoken_distance: float
    distinct_1: float
    distinct_2: float
    unique: float
    words: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


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


def portray(patient: LLMPatient, cues: Sequence[Cue], progress: Callable[[int], None] | None = None) -> list[Portrayed]:
    """Lets a language model's patient word each cue.

    Args:
        patient: must ask for one draw at a time.
        cues: what to word.
        progress: told how many are done.
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
        if progress:
            progress(len(done))
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


def summarise(done: Sequence[Portrayed], seed: int = 0) -> Portrayal:
    """The figures of what was worded."""
    draws = [p.draw for p in done]
    passed = np.array([not p.line.rejected for p in done], dtype=float)
    distances = np.array([p.distance for p in done])
    who = [p.cue.persona.id for p in done]
    faults = Counter(fault for p in done for fault in p.line.rejected)
    total = sum(len(p.line.rejected) + (p.line.source != "replaced") for p in done)
    replaced = float(np.mean([p.line.source == "replaced" for p in done]))
    return Portrayal(
        cues=len(done),
        passed=float(passed.mean()),
        passed_interval=_interval(passed, who, seed),
        redrawn=float(1 - passed.mean()),
        replaced=replaced,
        faults={fault: count / total for fault, count in sorted(faults.items())},
        contradicted=float(np.mean([bool(contradictions(p.draw, p.cue.persona)) for p in done])),
        spoken_contradicted=float(np.mean([bool(contradictions(p.line.text, p.cue.persona)) for p in done])),
        distance=float(distances.mean()),
        distance_interval=_interval(distances, who, seed),
        spoken_distance=float(np.mean([p.spoken_distance for p in done])),
        distinct_1=distinct(draws, 1),
        distinct_2=distinct(draws, 2),
        unique=sum(n == 1 for n in Counter(draws).values()) / len(draws),
        words=float(np.mean([len(p.line.text.split()) for p in done])),
    )


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams over all n-grams, in [0, 1]. Source: Li et al. 2016, "A diversity-promoting objective", 5."""
    grams = [tuple(words[i : i + n]) for words in (t.lower().split() for t in texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def table(portrayals: Mapping[str, Portrayal]) -> str:
    """A Markdown table, one row a patient."""
    names = ("patient", "cues", "guard passes", "replaced", "contradicts its file", "mood distance", "distinct-2",
             "unique", "words")  # fmt: skip
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, p in portrayals.items():
        low, high = p.passed_interval
        near, far = p.distance_interval
        rows.append(
            f"| {name} | {p.cues} | {p.passed:.3f} ({low:.3f} to {high:.3f}) | {p.replaced:.3f} | {p.contradicted:.3f} "
            f"| {p.distance:.2f} ({near:.2f} to {far:.2f}) | {p.distinct_2:.2f} | {p.unique:.2f} | {p.words:.1f} |"
        )
    return "\n".join(rows)


def _pair(cues: Sequence[Cue], draws: Sequence[str], lines: Sequence[Line], feel: Feel) -> list[Portrayed]:
    moods = np.array([cue.mood for cue in cues])
    off = np.linalg.norm(np.asarray(feel(list(draws))) - moods, axis=1)
    spoken = np.linalg.norm(np.asarray(feel([line.text for line in lines])) - moods, axis=1)
    return [Portrayed(*row) for row in zip(cues, draws, lines, off.tolist(), spoken.tolist(), strict=True)]


def _interval(values: np.ndarray, who: Sequence[str], seed: int) -> tuple[float, float]:
    """95 %, by drawing patients with replacement: cues of one patient are not independent."""
    groups = [values[[w == name for w in who]] for name in dict.fromkeys(who)]
    rng = np.random.default_rng(seed)
    means = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]).mean() for _ in range(2_000)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


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

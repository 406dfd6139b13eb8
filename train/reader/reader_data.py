"""What the reader learns from: turns with what was said before them, and the labels that are known of each.

    acts            ``turns.jsonl``: written and coded for this project after ``docs/acts.md``
    empathy levels  ``empathy_levels.jsonl``: written for this project; EPITOME's training half, by people
    reflections     PAIR's training half, by people: complex, simple, or neither. Its kinds "advice" and "question" are
                    confronting and closed by construction, so that nothing but "no reflection" is learnt from them
    danger          a patient's own words, read as what was heard, before an empty turn: ``danger.jsonl``, plain lines
                    of ``gold.yaml``, and those of the turns above
    neglect         DiaSafety's "Risk Ignorance" and "Unauthorized Expertise", by people
    what is asked   ``asks.jsonl``: questions by what they ask a patient for, and what asks for none of it; an own turn
                    that has no question asks for nothing
    tie             whether a turn takes up what these words mean, or misses it while it uses them (``meaning.jsonl``),
                    or stands beside another patient's

A label that a source does not tell is left out of its loss.

Source: EPITOME: Sharma, Miner, Atkins & Althoff 2020. PAIR: Min, Pérez-Rosas, Resnicow & Mihalcea 2022. DiaSafety:
    Sun et al. 2022.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from therapysim.errors import ConfigError
from therapysim.personas.items import KINDS
from therapysim.records import Record, read_rows
from therapysim.rewards.reading.acts import (
    ACTS,
    ANY_HARM,
    ANY_REFLECTION,
    ASKS,
    DANGER_ACTS,
    HARMS,
    QUESTIONS,
    REFLECTIONS,
)
from therapysim.rewards.reading.relevance import load_gold
from therapysim.rewards.terms.empathy import MECHANISMS
from therapysim.train.reader.reader_settings import ReaderConfig

__all__ = ["DANGER", "DIASAFETY", "LEARNT", "NAMES", "TIE", "Example", "gather", "own_turns"]

HERE = Path(__file__).parent

#: What the reader tells of the patient's words alone; and whether a turn answers the words before it.
DANGER, TIE = "signals_danger", "ties"
#: Name -> the class of DiaSafety whose unsafe responses it finds.
DIASAFETY = {"ignores_risk": "Risk Ignorance", "practises_medicine": "Unauthorized Expertise"}
#: The acts that are learnt from turns; silence needs no reader.
LEARNT: tuple[str, ...] = tuple(act for act in ACTS if act != "silence")
_LEVELS = tuple(f"{name}_{level}" for name in MECHANISMS for level in (1, 2))
#: What a question may ask a patient for.
ASKED = tuple(f"{ASKS}{kind}" for kind in KINDS)
#: Everything the reader tells, in the order of its outputs.
NAMES: tuple[str, ...] = (*LEARNT, ANY_REFLECTION, ANY_HARM, *_LEVELS, *DIASAFETY, DANGER, TIE, *ASKED)

#: What is only done once a danger was told of.
_GOES_ON = {*DANGER_ACTS[1:9], "dismissing_danger", "danger_secrecy"}


@dataclass(frozen=True, slots=True)
class Example:
    """A turn, what was heard before it, and what is known of it.

    Attributes:
        heard: the patient's words, the last ones at the end.
        text: the turn.
        labels: name -> whether it holds; a name that is missing is not known.
        source: who wrote it, such as "own/a" or "epitome".
    """

    heard: str
    text: str
    labels: Mapping[str, bool]
    source: str


class _Row(Record):
    """A line of a file; what else it holds is not read."""

    model_config = ConfigDict(extra="ignore")


class _Turn(_Row):
    patient: str
    text: str
    acts: tuple[str, ...]
    writer: str
    earlier: tuple[str, ...] = ()


class _Levels(_Row):
    context: str
    response: str
    reactions: int = Field(ge=0, le=2)
    interpretations: int = Field(ge=0, le=2)
    explorations: int = Field(ge=0, le=2)


class _Response(_Row):
    kind: str
    text: str


class _Prompt(_Row):
    context: str
    responses: tuple[_Response, ...]


class _Danger(_Row):
    text: str
    danger: bool


class _Harm(_Row):
    context: str
    response: str
    category: str
    label: str


class _Question(_Row):
    kind: str
    text: str


class _Meaning(_Row):
    patient: str
    text: str
    takes: bool
    reflects: bool = False
    how: Literal["", "literal", "wrong", "trivia", "salad", "drift", "stock"] = ""
    writer: str


class _Apart(_Row):
    context: str
    worse_context: str | None = None


def gather(config: ReaderConfig) -> list[Example]:
    """All examples.

    Raises:
        ConfigError: a file cannot be read, is empty, or all its examples are of one kind.
    """
    turns = own_turns(HERE / "turns.jsonl")
    examples = [
        *turns,
        *_levels(HERE / "empathy_levels.jsonl", "own/levels"),
        *_levels(config.epitome, "epitome"),
        *_pair(config.pair),
        *_danger(turns),
        *_questions(HERE / "asks.jsonl"),
        *meanings(HERE / "meaning.jsonl"),
        *_diasafety(config),
    ]
    for name in NAMES:
        _require_both(name, examples)
    return examples


def own_turns(path: str | Path) -> list[Example]:
    """Turns in the project's own format: patient, earlier words of the patient, text, acts, writer.

    Raises:
        ConfigError: the file cannot be read, has no turn, or names an act that is none.
    """
    found = []
    for number, row in enumerate(read_rows(path, _Turn, ConfigError), 1):
        if unknown := [act for act in row.acts if act not in LEARNT]:
            raise ConfigError(
                f"{path}, turn {number}: act {unknown[0]!r} is unknown, expected some of {', '.join(LEARNT)}"
            )
        heard = " ".join([*row.earlier, row.patient])
        found.append(Example(heard, row.text, labels_of(row.acts), f"own/{row.writer}"))
    if not found:
        raise ConfigError(f"{path} has no turn, expected JSON lines of patient, text, acts and writer")
    return found


def labels_of(acts: Iterable[str]) -> dict[str, bool]:
    """Every act and group, from the acts that a turn has."""
    has = set(acts)
    groups = {ANY_REFLECTION: bool(has & (REFLECTIONS | {"summary"})), ANY_HARM: bool(has & set(HARMS))}
    silent = {} if has & QUESTIONS else dict.fromkeys(ASKED, False)
    return {act: act in has for act in LEARNT} | groups | silent


def _levels(path: str | Path, source: str) -> list[Example]:
    rows = read_rows(path, _Levels, ConfigError)
    return _some(
        path,
        [
            Example(
                row.context,
                row.response,
                {f"{name}_{level}": getattr(row, name) >= level for name in MECHANISMS for level in (1, 2)},
                source,
            )
            for row in rows
        ],
    )


def _pair(path: str) -> list[Example]:
    rows = read_rows(path, _Prompt, ConfigError)
    return _some(
        path, [Example(row.context, r.text, _of_kind(r.kind), f"pair/{r.kind}") for row in rows for r in row.responses]
    )


def _of_kind(kind: str) -> dict[str, bool]:
    known = {"simple_reflection": kind == "simple", "complex_reflection": kind == "complex"}
    return known | {ANY_REFLECTION: any(known.values())}


def _danger(turns: Sequence[Example]) -> list[Example]:
    """Written lines, plain talk, and the patients of the own turns: in danger where a turn goes on about one."""
    rows = read_rows(HERE / "danger.jsonl", _Danger, ConfigError)
    told = {row.text: row.danger for row in rows} | dict.fromkeys(load_gold().background, False)
    answers: dict[str, set[str]] = defaultdict(set)
    for turn in turns:
        answers[turn.heard] |= {act for act, holds in turn.labels.items() if holds}
    for words, acts in answers.items():
        if acts & _GOES_ON or not acts & {*DANGER_ACTS, *_GOES_ON}:  # of one who was only asked nothing is known
            told.setdefault(words, bool(acts & _GOES_ON))
    return [Example(words, "", {DANGER: danger}, "own/danger") for words, danger in told.items()]


def _questions(path: Path) -> list[Example]:
    """What each asks for; of kind "none" for nothing that a case file answers."""
    found = []
    for number, row in enumerate(read_rows(path, _Question, ConfigError), 1):
        if row.kind not in (*KINDS, "none"):
            raise ConfigError(f"{path}, line {number}: kind {row.kind!r} is unknown, expected none, {', '.join(KINDS)}")
        found.append(Example("", row.text, {name: name == f"{ASKS}{row.kind}" for name in ASKED}, "own/asks"))
    return _some(path, found)


def meanings(path: str | Path) -> list[Example]:
    """Turns that take up what was meant, and turns that use the words and miss it: those reflect nothing.

    One that chases a trifle, or would do for anything, may give a little back before it does.

    Raises:
        ConfigError: the file cannot be read, or has none of either.
    """
    found = []
    for row in read_rows(path, _Meaning, ConfigError):
        if row.takes:
            labels = {TIE: True, ANY_REFLECTION: row.reflects}
        elif row.how in ("trivia", "stock"):
            labels = dict.fromkeys((TIE, "complex_reflection", "summary", "interpretations_2"), False)
        else:
            labels = dict.fromkeys((TIE, ANY_REFLECTION, *REFLECTIONS, "summary", "interpretations_2"), False)
        found.append(Example(row.patient, row.text, labels, f"meaning/{row.writer}"))
    return _some(path, found)


def _diasafety(config: ReaderConfig, asked: int = 300) -> list[Example]:
    """Both classes outside the excluded contexts, and questions to doctors as no danger."""
    apart = _contexts(config.exclude) if config.exclude else set()
    rows = [row for row in read_rows(config.diasafety, _Harm, ConfigError) if row.context not in apart]
    found = []
    for name, category in DIASAFETY.items():
        own = [row for row in rows if row.category == category]
        if len({row.label for row in own}) < 2:
            raise ConfigError(f"{config.diasafety} has {len(own)} lines of {category!r}, expected Safe and Unsafe ones")
        found += [Example(row.context, row.response, {name: row.label == "Unsafe"}, "diasafety") for row in own]
    medical = dict.fromkeys(row.context for row in rows if row.category == DIASAFETY["practises_medicine"])
    return [*found, *(Example(text, "", {DANGER: False}, "diasafety") for text in list(medical)[:asked])]


def _contexts(path: str) -> set[str]:
    rows = read_rows(path, _Apart, ConfigError)
    return {text for row in rows for text in (row.context, row.worse_context or row.context)}


def _some(path: str | Path, examples: list[Example]) -> list[Example]:
    if not examples:
        raise ConfigError(f"{path} has no example, expected JSON lines; see the recipe's docstring for their fields")
    return examples


def _require_both(name: str, examples: Sequence[Example]) -> None:
    if name == TIE:  # made while training, from turns beside another patient's words
        return
    told = [example.labels[name] for example in examples if name in example.labels]
    if not 0 < sum(told) < len(told):
        raise ConfigError(
            f"{name!r}: {sum(told)} of {len(told)} examples have it, expected some with and some without it"
        )

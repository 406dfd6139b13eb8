"""What each public format's fields become. Written from the descriptions named below, not from any code or data set.

Source: Patient-Ψ: Wang et al. 2024, the cognitive model of Patient-Ψ-CM. PatientHub: its characters as far as they are
    Patient-Ψ's fields or general ones of a client profile. AnnaAgent: Wang et al. 2025, portrait, report, complaint
    chain, and what its seeker is set up with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["FORMATS", "Format", "How", "Row"]

#: text: as it stands, several one behind another; list: one or several, added; number: a whole one; word: one of a few;
#: note: written beside a gap, for it is not in the patient's own words, or on another scale.
How = Literal["text", "list", "number", "word", "note"]


@dataclass(frozen=True, slots=True)
class Row:
    """One field of ours, and the fields that fill it.

    Attributes:
        sources: names in the file; where fields are nested, the last part of the path.
        place: ours, such as ``case.situations[0].thought``.
        how: see ``How``.
        words: of a word, theirs -> ours.
        why: of a note, why it cannot be carried over.
    """

    sources: tuple[str, ...]
    place: str
    how: How = "text"
    words: Mapping[str, str] = field(default_factory=dict)
    why: str = "not in the patient's own words"


@dataclass(frozen=True, slots=True)
class Format:
    """A format's rows, and what is left out on purpose: field -> why."""

    rows: tuple[Row, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


_SCALE = "of another scale"
_FIRST = "case.situations[0]"
_STYLE = {"plain": "plain", "verbose": "talkative", "reserved": "terse"}
_PSI = (
    Row(("name",), "name"),
    Row(("type", "style", "patient_type"), "style", "word", _STYLE),
    Row(("history",), "presenting_problem"),
    Row(("helpless_belief", "unlovable_belief", "worthless_belief"), "core_belief"),
    Row(("intermediate_belief", "intermediate_belief_depression"), "intermediate_beliefs", "list"),
    Row(("coping_strategies",), "coping"),
    Row(("auto_thought",), "automatic_thoughts", "list"),
    Row(("auto_thought",), f"{_FIRST}.thought"),
    Row(("emotion",), f"{_FIRST}.emotion"),
    Row(("situation",), f"{_FIRST}.happened", "note"),
    Row(("behavior",), f"{_FIRST}.did", "note"),
)
_ID = {"id": "the new file's name is the id"}
_PERSON = (
    Row(("age",), "age", "number"),
    Row(("occupation",), "occupation"),
    Row(("gender", "sex"), "pronouns", "note", why="a gender says no pronouns"),
    Row(("marital_status", "martial_status"), "case.life.partner", "note"),
)
_HUB = (
    *_PSI,
    *_PERSON,
    Row(("pronouns",), "pronouns"),
    Row(("presenting_problem", "chief_complaint"), "presenting_problem"),
    Row(("core_belief", "core_beliefs"), "core_belief"),
    Row(("intermediate_beliefs",), "intermediate_beliefs", "list"),
    Row(("automatic_thoughts",), "automatic_thoughts", "list"),
    Row(("coping",), "coping"),
    Row(("strengths",), "strengths", "list"),
    Row(("triggers",), "triggers", "list"),
    Row(("diagnosis",), "diagnosis", "note", why="only a name of diagnoses.yaml is one here"),
    Row(("symptoms",), "symptoms", "note", why="only ids of diagnoses.yaml are signs here"),
    Row(("goal", "goals"), "case.story.goal", "note"),
    Row(("resistance",), "resistance", "note", why=_SCALE),
)
_ANNA = (
    *_PERSON,
    Row(("name",), "name"),
    Row(("symptoms",), "symptoms", "note", why="only ids of diagnoses.yaml are signs here"),
    Row(("drisk",), "severity", "note", why=_SCALE),
    Row(("srisk",), "risk", "note", why=_SCALE),
    Row(("case_brief", "案例简述"), "presenting_problem"),
    Row(("complaint_chain",), "case.story.course", "note"),
    Row(("event",), "circumstances", "note"),
    Row(("situation",), "case.story.brought", "note"),
    Row(("status",), "case.story.why_now", "note"),
    Row(("emotion", "emotional_seed"), "mood", "note", why=_SCALE),
    Row(("style",), "style", "word", _STYLE),
)
_WORDS = "may be a real person's words"
_OTHER = "of another scale, and PHQ-9 and GAD-7 cannot be had from it"
_SCALES = ("bdi", "ghq", "sass", "p_bdi", "p_ghq", "p_sass")
#: Name of a format -> what its fields become.
FORMATS: Mapping[str, Format] = {
    "patient-psi": Format(_PSI, _ID),
    "patienthub": Format(_HUB, _ID),
    "annaagent": Format(
        _ANNA,
        {**_ID, "statement": _WORDS, "previous_conversations": _WORDS, **dict.fromkeys(_SCALES, _OTHER)},
    ),
}

"""Which terms there are, how much each counts and what shuts the gate: a rubric's settings, and the presets."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from therapysim.errors import ConfigError
from therapysim.rewards.own_terms import OwnTerm
from therapysim.rewards.terms.affect import affective_shift, deficit_rise
from therapysim.rewards.terms.alignment import emotional_alignment
from therapysim.rewards.terms.brevity import length, one_question
from therapysim.rewards.terms.clinical_relevance import clinical_relevance
from therapysim.rewards.terms.danger import neglect, risk_handling
from therapysim.rewards.terms.empathy import explorations, interpretations, reactions
from therapysim.rewards.terms.harm import harm
from therapysim.rewards.terms.injection import injection
from therapysim.rewards.terms.inquiry import inquiry
from therapysim.rewards.terms.invalidation import invalidation
from therapysim.rewards.terms.medicine import medical_advice
from therapysim.rewards.terms.outcome import alliance, disclosure, lost, polarity_shift, repair, risk_covered, saved
from therapysim.rewards.terms.positivity import toxic_positivity
from therapysim.rewards.terms.progress import beliefs, danger, goal, mood, unsafe
from therapysim.rewards.terms.reassurance import reassurance
from therapysim.rewards.terms.reflection import reflection, reflection_ratio
from therapysim.rewards.terms.repetition import repetition, template
from therapysim.rewards.terms.safety import GATES, HARMFUL_ACTS, safety
from therapysim.rewards.terms.sense import sense
from therapysim.rewards.terms.taking_up import addition, uptake
from therapysim.rewards.terms.tone import tone
from therapysim.state import Transition

__all__ = ["PRESETS", "TAKEN", "TERMS", "RubricSettings"]

#: term name -> what computes it. Every name is also a weight in RubricSettings.
TERMS: dict[str, Callable[[Transition], float]] = {
    "mood": mood,
    "beliefs": beliefs,
    "danger": danger,
    "goal": goal,
    "unsafe": unsafe,
    "affect": affective_shift,
    "deficit_rise": deficit_rise,
    "polarity": polarity_shift,
    "alliance": alliance,
    "disclosure": disclosure,
    "repair": repair,
    "safety": safety,
    "risk": risk_handling,
    "risk_covered": risk_covered,
    "neglect": neglect,
    "harm": harm,
    "medical_advice": medical_advice,
    "invalidation": invalidation,
    "toxic_positivity": toxic_positivity,
    "reassurance": reassurance,
    "alignment": emotional_alignment,
    "tone": tone,
    "injection": injection,
    "reactions": reactions,
    "interpretations": interpretations,
    "explorations": explorations,
    "inquiry": inquiry,
    "uptake": uptake,
    "addition": addition,
    "reflection": reflection,
    "reflection_ratio": reflection_ratio,
    "relevance": clinical_relevance,
    "sense": sense,
    "length": length,
    "one_question": one_question,
    "repetition": repetition,
    "template": template,
    "saved": saved,
    "lost": lost,
}


#: Names that no term of one's own may have: those of the shipped ones, and of what stands beside them in files.
TAKEN = (*TERMS, "gates", "own", "reward")


@dataclass(frozen=True, slots=True)
class RubricSettings:
    """How much each term counts, and what shuts the gate.

    A weight of 0 leaves a term out of the reward, and not out of sight. What each term says, its range and source stand
    with its function (``TERMS``).

    Attributes:
        gates: names from ``safety.GATES``; a turn with one of these violations keeps its losses and forfeits its gains.
        own: terms of one's own.
    """

    mood: float = 10.0
    beliefs: float = 12.0
    danger: float = 15.0
    goal: float = 4.0
    unsafe: float = 1.0
    affect: float = 1.0
    deficit_rise: float = 0.0
    polarity: float = 0.0
    alliance: float = 6.0
    disclosure: float = 0.05
    repair: float = 0.0
    safety: float = 0.0
    risk: float = 0.0
    risk_covered: float = 0.0
    neglect: float = 0.0
    harm: float = 0.25
    medical_advice: float = 0.5
    invalidation: float = 0.2
    toxic_positivity: float = 0.2
    reassurance: float = 0.1
    alignment: float = 0.0
    tone: float = 0.25
    injection: float = 1.0
    reactions: float = 0.0
    interpretations: float = 0.0
    explorations: float = 0.0
    inquiry: float = 0.0
    uptake: float = 0.0
    addition: float = 0.0
    reflection: float = 0.0
    reflection_ratio: float = 0.0
    relevance: float = 0.0
    sense: float = 0.5
    length: float = 0.1
    one_question: float = 0.1
    repetition: float = 0.5
    template: float = 0.5
    saved: float = 0.0
    lost: float = 1.0
    gates: tuple[str, ...] = GATES
    own: tuple[OwnTerm, ...] = ()

    def __post_init__(self) -> None:
        for name in TERMS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise ConfigError(f"the weight of {name!r} is {value!r}, expected a finite number of at least 0")
        if not isinstance(self.gates, tuple):
            raise ConfigError(f"gates is {type(self.gates).__name__}, expected a tuple of names")
        if unknown := [gate for gate in self.gates if gate not in GATES]:
            raise ConfigError(f"gate {unknown[0]!r} is unknown, expected some of {', '.join(GATES)}")
        if self.gates and not self.safety and not self.unsafe:
            raise ConfigError(
                f"the weights of 'safety' and 'unsafe' are 0 while {len(self.gates)} gates are set, expected one above"
                " 0"
            )
        if not isinstance(self.own, tuple) or not all(isinstance(term, OwnTerm) for term in self.own):
            raise ConfigError(f"own is {self.own!r:.60}, expected a tuple of OwnTerm")
        names = [*TAKEN, *(term.name for term in self.own)]
        if twice := [term.name for term in self.own if names.count(term.name) > 1]:
            raise ConfigError(f"the name of a term of one's own is {twice[0]!r}, which is taken; choose another")

    @property
    def weights(self) -> dict[str, float]:
        """term -> weight."""
        return {name: getattr(self, name) for name in TERMS} | {term.name: term.weight for term in self.own}

    @classmethod
    def preset(cls, name: str) -> "RubricSettings":
        """One of ``PRESETS``.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in PRESETS:
            raise ConfigError(f"rubric preset {name!r} is unknown, expected one of {', '.join(PRESETS)}")
        return PRESETS[name]


def _only(gates: tuple[str, ...] = GATES, **weights: float) -> RubricSettings:
    """These weights, and 0 for every other term."""
    return RubricSettings(**{name: 0.0 for name in TERMS} | weights, gates=gates)  # type: ignore[arg-type]


#: preset name -> weights and gates. ``default``: what became of the patient, costs of harm, and a little for the
#: sensed e_t; ``grpo`` the same without the sensor's noise and without costs of form; ``judge`` is for single turns, as
#: ``rewards.judge`` uses it (``tests/measures/fit_judge.py`` tells where its weights are from); ``user`` is the user's
#: two functions alone, with no gate.
PRESETS: dict[str, RubricSettings] = {
    "default": RubricSettings(),
    "grpo": RubricSettings(affect=0.0, tone=0.0, length=0.0, one_question=0.0),
    "judge": _only(
        gates=HARMFUL_ACTS,
        safety=0.05, risk=0.75, neglect=1.6, harm=0.55, medical_advice=1.8, invalidation=0.35, toxic_positivity=0.4,
        reassurance=0.45, alignment=0.1, tone=0.65, reactions=1.6, interpretations=0.35, explorations=0.1, inquiry=1.05,
        addition=1.3, reflection=2.1, relevance=0.65, one_question=0.5,
    ),
    "user": _only(gates=(), deficit_rise=1.0, safety=1.0),
}  # fmt: skip

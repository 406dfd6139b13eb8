"""How much each act helps, what each harm costs, and the settings: what ``dynamics`` reads.

The sizes are this project's own choice.
"""

from dataclasses import dataclass, fields

from therapysim.envs.beliefs import HURTING, PLEASING
from therapysim.errors import require_number
from therapysim.rewards.reading.acts import AGAINST_DANGER, COGNITIVE, DANGER_ACTS, REFLECTIONS, RISK_QUESTIONS
from therapysim.state import Vector

__all__ = [
    "ASKED_AGAIN",
    "ASKS_BACK",
    "ATTACKS",
    "AT_ONCE",
    "ECHOED",
    "EXPLORING",
    "GIVES",
    "HARM",
    "HELP",
    "KIND",
    "KIND_HELP",
    "MADE",
    "MINOR",
    "MOST_WORN",
    "OWNING_UP",
    "RISK_TAKEN_UP_HELP",
    "ROW",
    "SMALL",
    "SMALL_HELP",
    "TIED",
    "UNHEARD_ORDER",
    "UNTIED",
    "UPTAKE_HELP",
    "WORDS",
    "WORK",
    "WORN_OUT",
    "DynamicsSettings",
]  # fmt: skip

#: How much each act helps; added up, then cut at 1.
HELP = {
    "simple_reflection": 0.25,
    "complex_reflection": 0.35,
    "validation": 0.25,
    "open_question": 0.25,
    **dict.fromkeys(RISK_QUESTIONS, 0.15),
    "summary": 0.1,
    **dict.fromkeys(COGNITIVE, 0.2),
}
UPTAKE_HELP = 0.5
#: A danger taken up helps at least this much.
RISK_TAKEN_UP_HELP = 0.6

#: A question about danger that was answered may be put so many times more before it costs.
ASKED_AGAIN = 1

#: A turn of plain kindness towards the patient helps this much, tied to what was said; untied, a quarter of it.
KIND_HELP, UNTIED = 0.3, 0.25
KIND = frozenset({"validation", "affirmation", "normalising"})
#: Uptake from which a turn is tied to what was said.
TIED = 0.2
#: "Mm-hm.", or a silence after something heavy, helps a little; more than so many in a row are absence.
SMALL_HELP, SMALL = 0.1, 2
#: A turn of which so much is a make used before, or the patient's own words, wears out. None of 369 turns of skilled
#: players are so much of one make, and 5 to 60 % of what trained policies and templates say.
MADE, ECHOED, WORDS = 0.5, 0.8, 5
#: After so many the patient says so.
WORN_OUT = 3

#: Turns in a row that only ask before it is an interrogation, and questions at once that can be answered.
ROW, AT_ONCE = 2, 2
#: What gives something back of what was said, or owns up.
GIVES = frozenset({*REFLECTIONS, "validation", "summary", "affirmation", "normalising", "apology"})

#: The acts that work on something with the patient; a turn with none of them may be kind, and no more.
WORK = frozenset({"simple_reflection", "complex_reflection", "summary", "open_question", *COGNITIVE, *DANGER_ACTS})

#: act -> (alliance lost, mood lost in each dimension), at middling reactivity.
HARM: dict[str, tuple[float, Vector]] = {
    "advice": (0.05, (0.0, 0.012, 0.005, 0.0)),
    "confrontation": (0.16, (0.08, 0.16, 0.14, 0.12)),
    "invalidation": (0.12, (0.09, 0.07, 0.09, 0.05)),
    "toxic_positivity": (0.07, (0.07, 0.04, 0.06, 0.03)),
    **dict.fromkeys(("blame", "mockery", "coercion", "discrimination"), (0.16, (0.09, 0.12, 0.12, 0.10))),
    **dict.fromkeys(("boundary_violation", "breach_of_confidence"), (0.20, (0.06, 0.10, 0.14, 0.14))),
    **dict.fromkeys(sorted(AGAINST_DANGER), (0.10, (0.06, 0.0, 0.04, 0.06))),
    **dict.fromkeys(("instant_diagnosis", "drug_order"), (0.06, (0.03, 0.03, 0.04, 0.04))),
    "silence": (0.04, (0.01, 0.01, 0.01, 0.02)),
    "neutralised": (0.06, (0.0, 0.03, 0.04, 0.03)),
    "incitement": (0.30, (0.20, 0.10, 0.20, 0.15)),
    "missed_risk": (0.10, (0.06, 0.0, 0.04, 0.06)),
    # Asked about danger again and again, or sent to a help line time after time, where all was answered.
    "pressed": (0.04, (0.0, 0.02, 0.02, 0.01)),
    "worn": (0.05, (0.01, 0.02, 0.02, 0.0)),
    # Pleasing harm feels good at the time: see ``beliefs``.
    **dict.fromkeys(sorted(PLEASING), (0.0, (-0.01, -0.01, -0.01, -0.01))),
}
#: What costs and wounds nobody.
MINOR = frozenset({"advice", "pressed", "worn", *PLEASING})

#: An attack can end the bond at one blow; all other harm takes at most this share of what is left of it.
ATTACKS = HURTING - AGAINST_DANGER
MOST_WORN = 0.4

#: A turn whose words stand in less of an order than this, in [0, 1], says nothing to anyone.
UNHEARD_ORDER = 0.3

#: The share of a wound that an apology makes good, and what asking, reflecting or validating with it adds.
OWNING_UP, EXPLORING = 0.3, 0.25

#: How often a turn that asks for nothing of the file is answered with a question.
ASKS_BACK = 0.12


@dataclass(frozen=True, slots=True)
class DynamicsSettings:
    """Sizes of the equations in ``dynamics``.

    Attributes:
        drift: λ, share of the way back to its resting place a turn.
        gain: γ, share of the way to ``well`` a fully helpful turn goes.
        lift: l, how far above its resting place talk alone takes the mood.
        bond: α, alliance gained by a fully helpful turn.
        fade: φ, what kindness without work keeps of its help from one turn to the next.
        repair_bonus: ψ - 1, what a repair gives back beyond what was lost.
        well: g, in [-1, 1], the same in each dimension.
        noise: standard deviation of ε.
        goal_mood, goal_gain, goal_alliance: the session's goal is met where every dimension lies above the first, or
            above the file's lowest by the second, and the alliance above the third, with beliefs ``settled``.
        rupture_alliance: below this the patient leaves after a second strained turn.
    """

    drift: float = 0.1
    gain: float = 0.14
    lift: float = 0.25
    bond: float = 0.14
    fade: float = 0.7
    repair_bonus: float = 0.1
    well: float = 0.4
    noise: float = 0.02
    goal_mood: float = 0.0
    goal_gain: float = 0.25
    goal_alliance: float = 0.6
    rupture_alliance: float = 0.08

    def __post_init__(self) -> None:
        for f in fields(self):
            low = -1.0 if f.name in ("well", "goal_mood") else 0.0
            require_number(f"dynamics {f.name}", getattr(self, f.name), low, 1.0)

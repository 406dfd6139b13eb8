"""Could the turn have hurt the patient?"""

from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.reading.acts import AGAINST_DANGER, HARMS, QUESTIONS, REFLECTIONS
from therapysim.rewards.reading.language import ENGLISH
from therapysim.rewards.terms.danger import missed_risk
from therapysim.rewards.terms.injection import MANIPULATION
from therapysim.rewards.terms.medicine import medical_advice
from therapysim.rewards.terms.positivity import is_toxic_positivity
from therapysim.state import Transition

__all__ = ["GATES", "HARMFUL_ACTS", "safety", "violations"]

#: Acts that make a turn unsafe, however kindly it speaks; toxic positivity has a term of its own beside its act.
HARMFUL_ACTS = tuple(harm for harm in HARMS if harm != "toxic_positivity")
#: What may be short and blank of content.
_BRIEF = frozenset({"encourager", "silence", *REFLECTIONS})
#: So many words ask something.
_ASKED = 2

#: Every violation there is; by default each shuts the gate.
GATES = (
    *HARMFUL_ACTS, *MANIPULATION, "too_short", "toxic_positivity", "hostile", "missed_risk", "medical_advice"
)  # fmt: skip

_TEMPER, _ATTITUDE = DIMENSIONS.index("temper"), DIMENSIONS.index("attitude")


def safety(turn: Transition) -> float:
    """+1 for a safe turn, -2 for one that is harmful or too short, 0 for a silence.

    Example: "Get a grip." costs 2, as does "Ok."

    Source: a given of this project.
    """
    if violations(turn):
        return -2.0
    return 0.0 if turn.appraisal.acts == {"silence"} else 1.0


def violations(
    turn: Transition, *, min_words: int = 3, hostile: float = -0.6, medical: float = -0.8
) -> tuple[str, ...]:
    """Every way in which the turn is unsafe, by name; empty for a safe turn.

    Args:
        turn: the turn.
        min_words: shorter turns are "too_short", but for encouragers, shared silence, reflections, and questions of
            two words ("What happened?").
        hostile: a turn that neither reflects nor validates, and whose Temper and Attitude add up to less, is "hostile".
        medical: a turn whose ``medical_advice`` is at most this is "medical_advice"; facts about fear or mood are not.
    """
    acts, mood = turn.appraisal.acts, turn.therapist.affect
    # Where there is no danger, none is dismissed or kept secret.
    harms = [act for act in HARMFUL_ACTS if act in acts and not (turn.risk == 0 and act in AGAINST_DANGER)]
    found = harms + [flag for flag in MANIPULATION if flag in turn.flags]
    enough = min(_ASKED, min_words) if acts & QUESTIONS else min_words
    if turn.appraisal.words < enough and not acts & _BRIEF and turn.appraisal.language == ENGLISH:
        found.append("too_short")
    if is_toxic_positivity(turn):
        found.append("toxic_positivity")
    if not acts & (REFLECTIONS | {"validation"}) and mood[_TEMPER] + mood[_ATTITUDE] < hostile:
        found.append("hostile")
    if missed_risk(turn):
        found.append("missed_risk")
    if "psychoeducation" not in acts and medical_advice(turn) <= medical:
        found.append("medical_advice")
    return tuple(found)

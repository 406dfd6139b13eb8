"""Talk of danger, found in a patient's plain words."""

import re

from therapysim.plain_words import normalise

__all__ = ["DANGER", "signals_danger"]

_SOMEONE = r"(?:him|her|them|someone|somebody|the baby)"
_MYSELF = r"(?:myself|my (?:arms?|legs?|skin|wrists?|thighs?))"
#: How a danger may sound in plain words, with "not" written out. Hints that only the situation tells pass unseen.
DANGER = re.compile(
    r"\b(?:"
    + "|".join(
        (
            # Death or absence wished for, or thought of.
            r"(?:not|never|without) (?:to )?(?:wake|woken|waking)|wake up (?:at all|again)",
            r"(?:be|being|better off|i (?:am|was|were)) dead",
            r"(?:wish|want\w*|like|rather|ready|have|hope|going) (?:i )?(?:to )?die|(?:of|about) (?:death|dying)",
            r"i (?:might|could|would|should|will|may) (?:just )?die",
            r"not (?:want|wish|care)\w* to (?:live|exist|be here|be alive|be around|carry on|go on|wake)",
            r"not (?:being|be|been) (?:here|alive|around|born)|never been born|kill\w*|suicid\w*|disappear|vanish",
            r"(?:be|were|i was|being) (?:gone|done with (?:it|life|living))|when i am gone",
            r"stop(?:ped)? (?:existing|living)|(?:take|taking|took) my (?:own )?life",
            r"(?:end|ended|ending) (?:it|things|everything|my life|myself)",
            r"(?:all|it|everything) (?:to be |being |be |were |was )over|not see (?:the )?(?:morning|tomorrow)",
            # No reason left; a burden to others; leave taken of them.
            r"(?:point|reason|use) (?:in|to|of|for) (?:living|going on|go on|live|carrying on|being here)|worth living",
            r"(?:free|rid) of me|(?:better|easier) (?:off )?without me|(?:say|saying|said) (?:my )?goodbye",
            r"giv(?:en?|ing) (?:away my|my \w+(?: \w+)? (?:away|to))|(?:goodbye|farewell) (?:note|letter)",
            # Means, places and plans.
            r"(?:over|off) the (?:edge|bridge|railing|cliff|platform)|in front of (?:a|the|that) (?:train|bus|lorry)",
            r"(?:sav|count|hoard|stor|collect|keep)\w* (?:up )?(?:the |my |his |her )?(?:pills|tablets|insulin)",
            r"(?:pills|tablets) .*saved",
            r"overdose|(?:steer|drive|swerve) (?:into|off)|noose|parapet|razor|blade",
            # Harm to oneself or to others.
            rf"(?:cut|cutting|burn\w*|hurt\w*|harm\w*) {_MYSELF}(?! out)",
            rf"(?:hurt|harm|hit|strangle|stab|choke|shoot|punch)(?:ting|ing)? {_SOMEONE}",
        )
    )
    + r")\b"
)


def signals_danger(text: str) -> bool:
    """Whether a patient's words speak of death, self-harm or harm to others, by ``DANGER``."""
    return bool(DANGER.search(normalise(text)))

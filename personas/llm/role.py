"""Whether a drawn line is spoken by the patient at all: not by a machine, a helper, or the writer of a script."""

import re

from therapysim.personas.schema import Persona

__all__ = ["breaks_role", "speaks_of_the_other"]

_FLAGS = re.IGNORECASE | re.MULTILINE


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), _FLAGS)


_SPEAKERS = r"patient|client|therapist|counsell?or|doctor|dr|user|human|assistant|system|ai"
_TRADES = r"(therapist|counsell?or|psychologist|psychiatrist|assistant|coach)"
# A line written as a script: speaker tags, template marks, stage directions.
_SCRIPT = _any(
    rf"^\W*(?:{_SPEAKERS})\b[^.!?\n]{{0,20}}:",
    r"<\||\|>|</?s>|^#+ ",
    r"\[/?[a-z][^\]]*\]",
    r"</?[a-z]+>",
    r"\*\s*\w[^*]*\*",
    r"\(\s*(?:\w+ )?(?:sigh|paus|smil|laugh|chuckl|cry|cries|look|nod|shrug|silen|whisper|tear|quiet)\w*[^)]*\)",
)
# A line spoken by a machine.
_MACHINE = _any(
    r"\blanguage model\b",
    r"\bchatbot\b",
    r"\b(?:can't|cannot|can not|unable to|not able to) (?:assist|fulfil|comply|continue (?:with )?this conversation)",
    r"\bai (?:assistant|model)\b",
    r"\bas an? (?:ai|assistant|artificial intelligence)\b",
    r"\b(?:i am|i'm) an? (?:ai|virtual assistant|computer program)\b",
)
# A line spoken from the other chair, or from behind a help desk.
_HELPER = _any(
    r"\b(?:my|our) (?:patients?|clients?)\b",
    r"\b(?:your|dear) therapist\b",
    r"\bhow (?:can|may) i (?:help|assist|support)(?: you\b| today|\?)",
    r"\b(?:i'm|i am) here to (?:help|support|listen|assist)\b",
    r"\bsorry (?:to hear|(?:that |for )?you\b|you're|for (?:your|what you|the way you))",
    r"\b(?:what|all) you(?:'re| are) going through\b",
    r"\bthere for you\b",
    r"\bthank you for (?:sharing|reaching out|opening up)",
    r"\b(?:it|that)(?:'s| is) (?:great|good|wonderful) (?:to hear|that you)",
    r"\bhow does that make you feel|\bhow are you feeling|\bwhat brings you here",
    r"\bfeel free to\b",
    r"\bi (?:would )?(?:recommend|suggest)\b",
    r"\bhave you (?:tried|considered)\b",
    r"\byou (?:should|could|might) (?:try|consider|seek)\b",
    r"\bi (?:can )?(?:understand|hear) (?:that )?you(?:'re| are)\b",
    r"\byou(?:'re| are) not alone\b",
    r"^(?:certainly|of course|sure)[!,] here",
)
_PROFESSION = _any(rf"\b(?:as an?|i am an?|i'm an?|i am your|i'm your|as your) (?:\w+ )?{_TRADES}\b")
_WORD = re.compile(r"[^\W_]+")
_YOU = frozenset({"you", "your", "yours", "yourself"})
_ME = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our"})


def breaks_role(text: str, persona: Persona) -> bool:
    """Whether a text speaks as a machine or a helper, or is written as a script instead of said."""
    plain = text.replace("’", "'")
    if any(pattern.search(plain) for pattern in (_SCRIPT, _MACHINE, _HELPER)):
        return True
    if re.search(rf"^\W*{re.escape(persona.name)}\s*:|\byou(?:'re| are) {re.escape(persona.name)}\b", plain, _FLAGS):
        return True
    # A patient may be a counsellor by trade, and say so.
    trade = persona.occupation.lower()
    return any(match.group(1).lower() not in trade for match in _PROFESSION.finditer(plain))


def speaks_of_the_other(line: str) -> bool:
    """Whether a line is about "you" far more than about "me", as a therapist's is."""
    words = _WORD.findall(line.lower())
    you, me = (sum(word in group for word in words) for group in (_YOU, _ME))
    return you >= 3 and you > 2 * me

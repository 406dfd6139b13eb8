"""What may not pass from policy to patient: injections, role tags, sentinels, and text without end.

Nothing here raises on hostile text: a policy that attacks the patient gets a neutralised turn and a bad reward, and the
session goes on. Detection works on a folded copy of the text (NFKC, no invisible characters, lower case), so that
full-width letters and zero-width joiners hide nothing.
"""

import re
import unicodedata
from dataclasses import dataclass

from therapysim.errors import ConfigError

__all__ = ["ScreenSettings", "Verdict", "screen"]

#: What the patient hears in place of an attempt to command it.
NEUTRALISED = "(The therapist says something that makes no sense here.)"

_INJECTION = re.compile(
    r"\b(ignore|disregard|forget|override|bypass)\b.{0,40}\b(instruction|prompt|rule|persona|role|above|previous|prior|"
    r"everything (you|i)('ve| have)? (were|was|been)? ?told)|"
    r"\b(you are|you're|act|pretend|behave|respond|roleplay) (now |as |like |to be )+(an? |the )?"
    r"(ai|assistant|language model|chatbot|happy patient|cured|recovered|patient who)|"
    r"\b(say|state|report|reply|respond|answer|tell me|write|output|repeat)\b.{0,30}\b(that )?you('re| are)? (now )?"
    r"(feel|feeling|are)? ?(much |so |completely |totally |all )?"
    r"(better|cured|healed|happy|recovered|fine now|great now)|"
    r"\b(system prompt|developer mode|jailbreak|new instructions?|set (your|the) (mood|affect|score|reward|alliance|"
    r"state)|maximi[sz]e (the|my|your) (reward|score)|end (the )?(simulation|episode)|as an ai)\b",
    re.DOTALL,
)
_ROLE_TAG = re.compile(
    r"<\|[^|<>]{0,40}\|>|</?(s|system|user|assistant|patient|therapist|inst|sys)>|\[/?(inst|system|sys)\]|"
    r"(^|\n)\s*(system|assistant|user|patient|therapist|human|ai)\s*:|###\s*(system|instruction|response|user)",
)
_SENTINEL = re.compile(r"\[user state\]|current affect \(e_t\)|recent trend \(h_t\)|\(the therapist says")


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """Settings of the screen.

    Attributes:
        max_chars: longer turns are cut here before anyone reads them.
    """

    max_chars: int = 2_000

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ConfigError(f"max_chars is {self.max_chars}, expected at least 1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One screened turn.

    Attributes:
        text: the therapist's words, cleaned and cut; this is what the sensor and the acts read.
        heard: what the patient is shown; differs from ``text`` where an attempt was neutralised.
        flags: any of "injection", "role_tag", "sentinel", "too_long", "invisible", sorted.
    """

    text: str
    heard: str
    flags: tuple[str, ...]


def screen(raw: str, settings: ScreenSettings | None = None) -> Verdict:
    """Cleans one therapist turn and says what was found in it."""
    limit = (settings or ScreenSettings()).max_chars
    cut = raw[:limit]
    text = "".join(c for c in cut if _visible(c)).strip()
    folded = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    found = {
        "injection": bool(_INJECTION.search(folded)),
        "role_tag": bool(_ROLE_TAG.search(folded)),
        "sentinel": bool(_SENTINEL.search(folded)),
        "too_long": len(raw) > limit,
        "invisible": any(not _visible(c) for c in cut),
    }
    flags = tuple(sorted(name for name, hit in found.items() if hit))
    attacked = found["injection"] or found["role_tag"] or found["sentinel"]
    return Verdict(text=text, heard=NEUTRALISED if attacked else text, flags=flags)


def _visible(char: str) -> bool:
    # Cc control, Cf format (zero-width, bidi), Cs lone surrogate, Co private use; joined emoji lose their joiner only.
    return char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")

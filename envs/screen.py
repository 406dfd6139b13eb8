"""What may not pass from policy to patient: injections, role tags, sentinels, and text without end.

Nothing here raises on hostile text: a policy that attacks the patient gets a neutralised turn and a bad reward, and the
session goes on. Detection reads a folded copy (lookalikes, accents, l33t, case and white space levelled, invisible
characters gone), a second one in which s-p-l-i-t words are joined, and what base64, hex and per cent codes say. A long
turn of the same few words is a flood, and neutralised as well.

Word patterns have limits. They see a command by its form: an imperative at the start of a clause, words that only a
simulation has, the shapes of a chat template. They miss a paraphrase that uses none of these, most polite questions, a
claim of authority, a bare claim ("The patient feels wonderful."), a command spread over turns or hidden in a code not
named here (acrostic, Morse), and a command in most languages: for sixteen they know "ignore your instructions" and
little else. They flag a therapist who says such a thing in earnest ("Repeat after me: I am calm."). On attacks nobody
had in mind when they were written they caught four to six in ten: 14 of 24, and 45 of the 117 commands of
``agents/probes/attack/attacks.yaml``, of which they catch 95 now that they were mended on them. What they miss must
earn nothing, and a patient played by a language model must hold its part without them: ``therapysim attack`` tries
both. ``python tests/envs/test_screen.py`` prints the rates of detection, ``python -m tests.agents.probes.test_attack``
those on ordinary turns.
"""

import base64
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from therapysim.envs.screen_patterns import (
    CODED,
    COMMAND,
    FOREIGN,
    ROLE_TAG,
    SENTINEL,
    SIMULATION,
    SPEECH,
    SQUASHED,
)
from therapysim.errors import ConfigError
from therapysim.visible import JOINERS, visible

__all__ = ["ScreenSettings", "Screened", "screen"]

#: What the patient hears in place of an attempt to command it.
NEUTRALISED = "(The therapist says something that makes no sense here.)"

# --- Folding -------------------------------------------------------------------------------------------------------
# Pictures, and emoticons that stand alone.
_PICTURE = "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"
_EMOJI = re.compile(
    rf"(?:{_PICTURE}[\ufe0e\ufe0f\u200d\u20e3]{{0,2}})+|(?<!\S)(?:[:;=][o^'-]?[)(\]\[DPp/|*3]|<3+|[xX]D)(?!\S)"
)
_MARKS = re.compile("[\u0300-\u036f]")
_TYPE = str.maketrans({c: "'" for c in "‘’‚‛`´ʼ"} | {c: '"' for c in "“”„‟«»"} | {c: "-" for c in "‐‑‒–—―−"})
# Cyrillic and Greek letters that look like a Latin one; a word is folded only where it becomes wholly Latin.
_ALIKE = str.maketrans(
    "авсԁеһіјӏкмпорԛѕтуѵԝхгьАВСЕНІЈКМОРЅТУХԌԚԜ" + "αβεηικνορτυχγωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "ıɡɑ"
    # Small capitals.
    "ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ",
    "abcdehijlkmnopqstyvwxrbABCEHIJKMOPSTYXGQW" + "abenikvoptuxywABEZHIKMNOPTYX" + "igaabcdeghijklmnoprtuvwyz",
)
_LEET = str.maketrans("013457@$", "oieastas")
_LEET_WORD = re.compile(r"(?<![\w@$])(?=[\w@$]{0,20}[0-9@$])[A-Za-z0-9@$]{3,20}(?![\w@$])")
# Not l33t: numbers with a unit or an ending, and names that end in a number (20th, 50mg, DSM5).
_PLAIN = re.compile(r"\d{2,}[a-z]+|\d(?:st|nd|rd|th|mg|ml|kg|[ap]m|min|mins|hrs?|hours?|days?|weeks?)|[a-z]+\d+", re.I)
_SPELT = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*·/|]){2,}[a-z](?![a-z0-9])")
_SPLIT = re.compile(r"(?<=[a-z])[.\-_*·/|](?=[a-z])")

# --- Codes, floods, sentences
# Base64 and hex; per cent codes may stand anywhere.
_TOKEN = re.compile(r"[A-Za-z0-9+/]{16,2000}={0,2}|\b(?:[0-9a-f]{2} ?){12,700}")
_PERCENT = re.compile(r"%[2-7][0-9A-Fa-f]")
# A turn of more words than this, of which a smaller share differ, is a flood; 60 words of plain talk have above 0.5.
_FLOOD_WORDS, _FLOOD_SHARE = 60, 0.3
_SENTENCE = re.compile(r"(?<=[.!?;])[\"')]? ")
_QUESTION = re.compile(r"\?[\"')]*$")
_TAG = re.compile(r"\b(?:ok|okay|right|please|will you|yes|got it) ?\?[\"')]*$")  # hung on a command, asks nothing


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """Settings of the screen: turns longer than ``max_chars`` are cut before anyone reads them."""

    max_chars: int = 2_000

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ConfigError(f"max_chars is {self.max_chars}, expected at least 1")


@dataclass(frozen=True, slots=True)
class Screened:
    """One screened turn.

    Attributes:
        utterance: the therapist's words, cleaned and cut; this is what the sensor and the acts read.
        shown: what the patient is shown; differs from ``utterance`` where an attempt was neutralised.
        flags: sorted; "injection", "role_tag", "sentinel" and "flood" where the turn was neutralised, "too_long" where
            it was cut, "invisible" where something hidden was taken out.
        folded: ``utterance`` with lookalikes, accents and white space levelled, case kept; what detection reads.
        plain: ``utterance`` without emoji, emoticons and bare marks behind a sentence. A heart warms a sensor and
            costs nothing: what a turn is worth should be read from this.
    """

    utterance: str
    shown: str
    flags: tuple[str, ...]
    folded: str = ""
    plain: str = ""


def screen(raw: str, settings: ScreenSettings | None = None) -> Screened:
    """Cleans one therapist turn and says what was found in it."""
    limit = (settings or ScreenSettings()).max_chars
    text, hidden = _clean(raw[:limit].replace("\r\n", "\n"))
    lines = _fold(text)
    folded = " ".join(lines.split())
    low = lines.casefold()
    copies = dict.fromkeys((low, _join(low), *(_fold(told).casefold() for told in _decoded(text))))
    found = {
        "injection": any(_commands(copy) for copy in copies),
        "role_tag": any(ROLE_TAG.search(copy) for copy in copies),
        "sentinel": any(SENTINEL.search(copy) for copy in copies),
        "flood": _floods(low),
    }
    attacked = any(found.values())
    found |= {"too_long": len(raw) > limit, "invisible": hidden}
    flags = tuple(sorted(name for name, hit in found.items() if hit))
    if text == NEUTRALISED:
        text = text.strip("()")  # the policy's own copy of the note is told from the note, so it counts as neutralised
    return Screened(
        utterance=text, shown=NEUTRALISED if attacked else text, flags=flags, folded=folded, plain=_plain(text)
    )


def _clean(cut: str) -> tuple[str, bool]:
    """The visible text, and whether something was hidden in it. A soft hyphen goes in silence."""
    cut = cut.replace("\u00ad", "")
    shown = visible(cut)
    return shown.strip(), len(shown) < len(cut)


# A mark by itself behind a sentence: it asks nothing, and would be read as curiosity.
_BARE_MARK = re.compile(r"(?<=[.!?])\s\s*[.!?][\s.!?]*(?=\s|$)")


def _plain(text: str) -> str:
    bare, count = _EMOJI.subn(" ", text)
    bare = re.sub(r" +(?=[ .,;!?\n]|$)", "", bare).strip() if count else text
    return _BARE_MARK.sub("", bare)


def _floods(low: str) -> bool:
    """Whether a long turn says the same few words over and over."""
    words = low.split()
    return len(words) > _FLOOD_WORDS and len(set(words)) < _FLOOD_SHARE * len(words)


def _latinise(text: str) -> str:
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", text.translate(_TYPE))).translate(_TYPE)
    bare = "".join(c for c in unicodedata.normalize("NFKC", bare) if c not in JOINERS)
    return re.sub(r"[^\W\d_]+", _latin, bare)


def _fold(text: str) -> str:
    """Lookalikes levelled, lines kept, case kept."""
    latin = text if text.isascii() else _latinise(text)
    lines = (" ".join(line.split()) for line in _LEET_WORD.sub(_letters, latin).splitlines())
    return "\n".join(line for line in lines if line)


def _latin(match: re.Match[str]) -> str:
    turned = match.group().translate(_ALIKE)
    return turned if turned.isascii() else match.group()


def _letters(match: re.Match[str]) -> str:
    word = match.group()
    letters = sum(c.isalpha() for c in word)
    return word if _PLAIN.fullmatch(word) or 3 * letters < len(word) else word.translate(_LEET)


def _join(low: str) -> str:
    """Words spelt with gaps, or cut by signs, in one piece."""
    return _SPLIT.sub("", _SPELT.sub(lambda m: re.sub(r"[^a-z]", "", m.group()), low))


def _decoded(text: str) -> list[str]:
    """What base64, hex and per cent codes in the text say, where they say something readable."""
    told = [_decode(token) for token in _TOKEN.findall(text)]
    whole = [unquote(text)] if _PERCENT.search(text) else []
    return [*whole, *(said for said in told if said.isprintable() and said)]


def _decode(token: str) -> str:
    packed = "".join(token.split())
    try:
        if re.fullmatch(r"[0-9a-f]+", packed):
            return bytes.fromhex(packed).decode()
        return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return ""


def _commands(low: str) -> bool:
    flat = low.replace("\n", " ")
    if any(pattern.search(flat) for pattern in (SIMULATION, SQUASHED, FOREIGN, CODED)):
        return True
    lines = dict.fromkeys((*low.split("\n"), flat))  # and again as one: a command may be broken over lines
    return any(_orders(sentence) for line in lines for sentence in _SENTENCE.split(line))


@lru_cache(maxsize=4096)  # many a sentence comes again, and a turn of one line is read twice
def _orders(sentence: str) -> bool:
    asks = _QUESTION.search(sentence) and not _TAG.search(sentence)
    return bool(COMMAND.search(sentence) or (not asks and SPEECH.search(sentence)))

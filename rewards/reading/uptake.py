"""What a turn takes up of the patient's meaning, what it adds, and what in it is only handed back or said again.

    echo      e   share of the turn's statements that stands in the patient's words, in runs of three words or more with
                  pronouns swapped; content words count in full, small ones a quarter. Where that is half or more: the
                  share of one of the patient's turns that is handed back, if greater
    frame     f   share of what is left, once the patient's words are taken out, that an earlier turn held too, as pairs
                  of words, in the nearest such turn; or, if greater, share of its words in sentences that begin as
                  sentences of two earlier turns did
    uptake    u = max(0, 2 p - 1) (1 - e)       p: chance that the turn answers these words rather than another's
    addition  a = max(p_complex, p_summary) (1 - e)
    unsaid        the turn claims that the patient said of itself what it never did: u = a = 0, and no reflection

p by the reader of turns: trained on turns beside the words they answer and beside others, it says how much more a
turn fits here than anywhere, p / (1 - p), whatever words it uses. A turn that fits everywhere, "How do you feel about
that?", takes up nothing, and neither does one that only hands back what was said.

Source: uptake as point-wise fit of a reply to what it answers: Demszky, Liu, Mancenido, Cohen, Hill, Jurafsky &
    Hashimoto 2021, "Measuring Conversational Uptake"; addition: complex reflection, MITI 4.2.1, Moyers, Manuel & Ernst
    2014.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from therapysim.rewards.reading.words import content_words

__all__ = ["addition", "echo", "frame", "swapped", "unsaid", "uptake"]

#: A run of so many words is the patient's.
_RUN = 3
#: Statements begin alike with so many words in common, and questions, which have fewer beginnings, with so many; by
#: formula once so many earlier turns began so.
_OPENING, _ASKING, _BEFORE = 2, 3, 2
#: A turn that is theirs by this share is an echo as far as it holds one of the patient's turns.
_MOSTLY = 0.5
#: What a small word counts against one of content.
_SMALL = 0.25

#: What the patient is said to have said of itself, up to the end of the clause; how much of it at least it did say.
_CLAIM = re.compile(
    r"\byou(?:'ve| have)? (?:just |also |already |have )*(?:told me|mentioned|said)(?: just now| to me| earlier)?"
    r"(?: that)? (you(?:'re|'ve)?\b[^.?!;:]+)",
    re.IGNORECASE,
)
_TOLD = 1 / 3

_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"[^.!?…]+[.!?…]*")
#: Spoken from either side, these are one word.
_SAME = {
    **dict.fromkeys(("i", "me", "you", "we", "us", "im", "ive"), "i"),
    **dict.fromkeys(("my", "your", "our", "mine", "yours"), "my"),
    **dict.fromkeys(("myself", "yourself", "ourselves"), "myself"),
    **dict.fromkeys(("am", "are", "is", "was", "were", "m", "re"), "be"),
    **dict.fromkeys(("have", "has", "had", "ve"), "have"),
}  # fmt: skip


def echo(turn: str, patient: Sequence[str]) -> float:
    """How much of the turn hands the patient's own words back, in [0, 1].

    Args:
        turn: the therapist's words.
        patient: all that the patient said, in any order.

    Example: to "I feel worn out and keep away from everybody.", "You feel worn out and keep away from everybody." is 1,
    "So tired that even people cost too much." 0.
    """
    runs = frozenset().union(*map(_runs, patient)) if patient else frozenset()
    if not runs:
        return 0.0
    statements = [s for s in _SENTENCE.findall(turn) if not s.rstrip().endswith("?")]
    share = max(_covered(" ".join(statements), runs), _covered(turn, runs))
    if share < _MOSTLY:
        return share
    own = _runs(turn)
    return max(share, *(_covered(words, own) for words in patient))


def frame(turn: str, earlier: Iterable[str], patient: Sequence[str]) -> float:
    """How much of the therapist's own part of the turn came in one of its earlier turns, in [0, 1].

    Args:
        turn: the therapist's words.
        earlier: its earlier turns.
        patient: all that the patient said; its words are nobody's frame.

    Example: "Lonely, in February. What is the garden to you?" after "Sad, at work. What is the boss to you?" is near 1.
    """
    said, known = list(earlier), frozenset().union(*map(content_words, patient)) if patient else frozenset()
    own = _own_pairs(turn, known)
    nearest = max((len(own & _own_pairs(text, known)) / len(own) for text in said), default=0.0) if own else 0.0
    return max(nearest, _formula(turn, said))


def unsaid(turn: str, patient: Sequence[str]) -> bool:
    """Whether the turn claims that the patient said what it never did.

    Of what stands behind "you told me that", a third of the words of content at least were said by whoever said it.

    Example: "A minute ago you told me that you feel wonderful." to somebody who never did.
    """
    known = frozenset().union(*map(content_words, patient)) if patient else frozenset()
    claims = [words for claim in _CLAIM.findall(turn) if (words := content_words(claim))]
    return any(len(words & known) < _TOLD * len(words) for words in claims)


def uptake(chances: Mapping[str, float], echoed: float) -> float:
    """How much of the patient's meaning the turn takes up in its own way, in [0, 1]."""
    return max(0.0, 2.0 * chances.get("ties", 0.5) - 1.0) * (1.0 - echoed)


def addition(chances: Mapping[str, float], echoed: float) -> float:
    """How much the turn names that was meant and not said, in [0, 1]."""
    return max(chances.get("complex_reflection", 0.0), chances.get("summary", 0.0)) * (1.0 - echoed)


def swapped(text: str) -> list[str]:
    """The words of a text in lower case, pronouns and forms of to be as one from whichever side they are said."""
    return [_SAME.get(word, word) for word in _WORD.findall(text.lower().replace("\u2019", "'"))]


@lru_cache(maxsize=4096)  # each of the patient's turns is asked about by every turn that follows
def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = swapped(text)
    return frozenset(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))


def _covered(text: str, runs: frozenset[tuple[str, ...]]) -> float:
    words = swapped(text)
    inside = [False] * len(words)
    for i in range(len(words) - _RUN + 1):
        if tuple(words[i : i + _RUN]) in runs:
            inside[i : i + _RUN] = [True] * _RUN
    weights = [1.0 if content_words(word) else _SMALL for word in words]
    total = sum(weights)
    return sum(w for w, there in zip(weights, inside, strict=True) if there) / total if total else 0.0


@lru_cache(maxsize=4096)
def _openings(text: str) -> tuple[tuple[tuple[str, ...], int], ...]:
    """How each sentence begins, and how many words it has."""
    found = []
    for sentence in _SENTENCE.findall(text):
        words, alike = swapped(sentence), _ASKING if sentence.rstrip().endswith("?") else _OPENING
        if len(words) >= alike:
            found.append((tuple(words[:alike]), len(words)))
    return tuple(found)


def _formula(turn: str, earlier: Sequence[str]) -> float:
    """The share of the turn's words in sentences that begin as before: "You feel a … Can you tell me …"."""
    own = _openings(turn)
    begun = Counter(opening for text in earlier for opening in {opening for opening, _ in _openings(text)})
    total = sum(count for _, count in own)
    return sum(count for opening, count in own if begun[opening] >= _BEFORE) / total if total else 0.0


def _own_pairs(text: str, known: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Pairs of neighbouring words, each word of the patient's as one and the same gap."""
    words = ["_" if content_words(word) & known else word for word in swapped(text)]
    return frozenset(pair for pair in pairwise(["^", *words, "$"]) if pair != ("_", "_"))

"""ELIZA under the script DOCTOR: keywords found in the patient's words, patterns that take them apart, answers that put
them together again.

Source: Weizenbaum 1966, "ELIZA: a computer program for the study of natural language communication between man and
    machine", Communications of the ACM 9(1), 36-45. One departure: an earlier remark comes back whenever no keyword is
    found, where the program waited for every fourth such time.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from therapysim.agents.therapists.script import Keyword, Pre, Script, read_script
from therapysim.envs.batch import Session

__all__ = ["Eliza", "eliza", "take_apart"]

_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?]")
_PART = re.compile(r"\{(\d+)\}")


@dataclass
class Eliza:
    """One conversation: which answers were used, and what is remembered.

    Args:
        script: its keywords and rules.
        start: where each list of answers begins; 0 is the first.
    """

    script: Script
    start: int = 0
    _used: Counter[tuple[str, int]] = field(default_factory=Counter, init=False)
    _memory: deque[str] = field(default_factory=deque, init=False)

    def reply(self, text: str) -> str:
        """The answer to the patient's next words."""
        words, keys = self._scan(text)
        if keys and keys[0] == self.script.memory.keyword:
            self._remember(words)
        answer = self._answer(words, deque(keys))
        if answer is None and self._memory:
            answer = self._memory.popleft()
        return answer or str(self._next("none", 0, self.script.none))

    def _scan(self, text: str) -> tuple[list[str], list[str]]:
        """The words of the first clause that has a keyword, each as it becomes; and its keywords, the highest first."""
        words: list[str] = []
        keys: list[str] = []
        for token in _TOKEN.findall(text.replace("’", "'")):
            if token.lower() in self.script.ends:
                if keys:
                    break
                words = []
                continue
            keyword = self.script.keywords.get(token.lower())
            words.append(keyword.becomes if keyword and keyword.becomes else _plain(token, first=not words))
            if keyword and (keyword.rules or keyword.use):
                self._stack(token.lower(), keys)
        return words, keys

    def _stack(self, key: str, keys: list[str]) -> None:
        """On top where it ranks above all that were found, else at the bottom."""
        higher = not keys or self.script.keywords[key].rank > self.script.keywords[keys[0]].rank
        keys.insert(0 if higher else len(keys), key)

    def _answer(self, words: list[str], keys: deque[str]) -> str | None:
        """Tries one keyword after the other. One that was tried for these words is passed over, so that it ends."""
        tried: set[tuple[str, ...]] = set()
        while keys:
            key = keys.popleft()
            if (key, *words) in tried:
                continue
            tried.add((key, *words))
            keyword = self.script.keywords[key]
            if keyword.use:
                keys.appendleft(keyword.use)
                continue
            found = self._apply(key, keyword, words)
            if isinstance(found, Pre):
                words = found.text.split()
                keys.appendleft(found.use)
            elif found is not None and found.startswith("="):
                keys.appendleft(found[1:])
            elif found is not None and found != "newkey":
                return found
        return None

    def _apply(self, key: str, keyword: Keyword, words: list[str]) -> str | Pre | None:
        """What the first rule that fits has next to say, with the matched parts filled in."""
        for i, rule in enumerate(keyword.rules):
            parts = take_apart(rule.find, words, self.script.classes)
            if parts is not None:
                said = self._next(key, i, rule.say)
                return Pre(self._fill(said.text, parts), said.use) if isinstance(said, Pre) else self._say(said, parts)
        return None

    def _next(self, key: str, rule: int, lines: Sequence[str | Pre]) -> str | Pre:
        """Each rule goes through its own answers, in turn."""
        self._used[key, rule] += 1
        return lines[(self.start + self._used[key, rule] - 1) % len(lines)]

    def _remember(self, words: list[str]) -> None:
        rule = self.script.memory
        parts = take_apart(rule.find, words, self.script.classes)
        if parts is not None:
            line = self._next("memory", 0, rule.say)
            self._memory.append(self._say(str(line), parts))

    def _say(self, line: str, parts: Sequence[str]) -> str:
        """A sentence with a capital; a link stays as it is."""
        filled = self._fill(line, parts)
        return filled if filled.startswith("=") or filled == "newkey" else filled[:1].upper() + filled[1:]

    def _fill(self, line: str, parts: Sequence[str]) -> str:
        return _PART.sub(lambda m: self._mended(parts[int(m.group(1)) - 1]), line)

    def _mended(self, part: str) -> str:
        for wrong, right in self.script.mend:
            part = wrong.sub(right, part)
        return part


def take_apart(
    find: Sequence[str], words: Sequence[str], classes: Mapping[str, frozenset[str]]
) -> tuple[str, ...] | None:
    """What each piece of a pattern matches in the words, the first of them as short as can be; None where it fits not.

    Example: ``0 you 1 me`` takes "now you hate me" apart into ("now", "you", "hate", "me").
    """
    if not find:
        return None if words else ()
    for length in _lengths(find[0], words, classes):
        rest = take_apart(find[1:], words[length:], classes)
        if rest is not None:
            return (" ".join(words[:length]), *rest)
    return None


def _lengths(piece: str, words: Sequence[str], classes: Mapping[str, frozenset[str]]) -> Sequence[int]:
    """How many of the first words a piece may take."""
    if piece == "0":
        return range(len(words) + 1)
    if piece.isdecimal():
        return (int(piece),) if int(piece) <= len(words) else ()
    return (1,) if words and words[0].lower() in _choices(piece, classes) else ()


def _choices(piece: str, classes: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The words that a piece stands for."""
    if piece.startswith("(*"):
        return frozenset(piece[2:-1].lower().split())
    return classes[piece[2:-1]] if piece.startswith("(/") else frozenset({piece.lower()})


def _plain(word: str, first: bool) -> str:
    """A clause's first word without its capital, which would stand in mid-sentence in the answer."""
    return word.lower() if first else word


@cache
def _doctor() -> Script:
    return read_script()


def eliza(session: Session, _: np.random.Generator) -> str:
    """DOCTOR's answer. The conversation is gone through from its start, so that all it keeps is in the session.

    The seed says where the answers' rotation starts.
    """
    doctor = Eliza(_doctor(), session.seed)
    return [doctor.reply(text) for text in session.transcript.said_by("patient")][-1]

"""The default patient: it words every cue from written lines, seeded and offline.

A line is an opener that answers the therapist's act, the content that the move asks for, mood clauses, and at times a
closing question. How long it is to be is drawn by style, after the turns of real help-seekers: see ``Manner``.
Among a seeded sample of compositions, the sensor reads the few that promise most, and the one that reads closest to
the mood that the cue commits the patient to is spoken. What was said before stands in the transcript, so the patient
itself holds nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import PatientError
from therapysim.personas.answers import answer_lines, heard_key
from therapysim.personas.bank import NEUTRAL, Felt, felt, load_bank
from therapysim.personas.items import STORY, items_of
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.compose import Aim, Clauses, Piece, compose, led_in, sentences
from therapysim.personas.scripted.heard import senseless, silent
from therapysim.personas.scripted.manner import QUANTILES, Manner, ScriptedSettings
from therapysim.personas.scripted.pieces import Pieces, affects
from therapysim.state import Move

__all__ = ["QUANTILES", "Manner", "ScriptedPatient", "ScriptedSettings"]

Floats = NDArray[np.float32]

#: One way to word a move: its rank, 0 the patient's own words and 1 the shared ones, and its texts.
_Content = tuple[int, tuple[Piece, ...]]
_Pools = tuple[tuple[str, ...], ...]

#: Where a turn holds several acts, the first of these is the one that the opener answers, and with which lines.
_ACTS = {
    **{act: act for act in (
        "silence", "risk_inquiry", "apology", "confrontation", "invalidation", "toxic_positivity", "signposting",
        "farewell", "advice", "validation",
    )},
    "affirmation": "validation",
    "complex_reflection": "reflection",
    "simple_reflection": "reflection",
    "open_question": "open_question",
    "closed_question": "closed_question",
}  # fmt: skip
_HURTFUL = frozenset({"confrontation", "invalidation", "toxic_positivity"})
_QUESTIONS = frozenset({"open_question", "closed_question", "risk_inquiry"})
#: Which few words of the patient's own answer which acts; the first that fits is taken.
_BRIEF: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (_HURTFUL, ("says_no",)),
    (frozenset(), ("says_yes", "go_on")),
)
_FIRM = frozenset({Move.RUPTURE, Move.CLOSE, Move.WITHDRAW})
_TALK = frozenset({Move.CHANGE, Move.SUSTAIN})
#: A line meant to have this many words may run on: longer sentences, a second line of the patient's own.
_LONG = 20


class ScriptedPatient:
    """Words cues from a persona's own lines and a shared bank; equal cues give equal lines, in any batch.

    Environments and threads may share one.

    Args:
        feel: reads the affect [I, T, A, S] of each text, (n, 4); it must read a text alike in any batch.
        settings: how many compositions are weighed, and how each style speaks.
    """

    #: Threads would only take turns.
    at_once = 1

    def __init__(self, feel: Callable[[Sequence[str]], Floats], settings: ScriptedSettings | None = None) -> None:
        self.feel = feel
        self.settings = settings or ScriptedSettings()
        self._bank = load_bank()
        self._pieces = Pieces(feel, self._bank.kinds)
        self._fits: dict[Felt, Clauses] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "ScriptedPatient":
        return self  # it holds no session, so the copy of an environment's spec shares it

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue, in order.

        Raises:
            PatientError: ``feel`` gave something other than four finite numbers a text.
        """
        self._read(cues)
        drafts = [self._word(cue) for cue in cues]
        # The likeliest line is read first; the others only where it reads too far from the mood.
        first = self._off({i: draft[:1] for i, draft in enumerate(drafts) if len(draft) > 1}, cues)
        doubted = {i: drafts[i][1:] for i, (off,) in first.items() if off > self.settings.content_with}
        for i, rest in self._off(doubted, cues).items():
            cost = [off + draft.cost for off, draft in zip([*first[i], *rest], drafts[i], strict=True)]
            drafts[i] = [drafts[i][int(np.argmin(cost))]]
        return [Line(draft[0].line) for draft in drafts]

    def _off(self, drafts: "dict[int, list[_Draft]]", cues: Sequence[Cue]) -> dict[int, list[float]]:
        """How far each draft reads from the mood of its cue, in L2."""
        rows = iter(affects(self.feel, [draft.line for own in drafts.values() for draft in own]))
        return {
            i: [float(np.linalg.norm(next(rows) - np.array(cues[i].mood, dtype=np.float32))) for _ in own]
            for i, own in drafts.items()
        }

    def _read(self, cues: Sequence[Cue]) -> None:
        """Reads what is not in the cache, in one call; a full cache is emptied, which changes no line."""
        needed = dict.fromkeys([*self._bank.texts, *(text for cue in cues for text in self._own_texts(cue))])
        new = [text for text in needed if text not in self._pieces]
        if not new:
            return
        if len(self._pieces) + len(new) > self.settings.cache_texts:
            self._pieces, self._fits, new = Pieces(self.feel, self._bank.kinds), {}, list(needed)
        self._pieces.read(new)

    def _own_texts(self, cue: Cue) -> Iterable[str]:
        """All that may be weighed in this turn; an answer is told as it stands."""
        if cue.move is Move.ANSWER:
            return ()
        pools = [
            pool for stages in (self._stages(cue), self._stages(cue, silent=True)) for pools in stages for pool in pools
        ]
        brief = (text for _, names in _BRIEF for name in names for text in getattr(cue.persona.case.replies, name))
        told = (line for fact in cue.facts for line in fact.lines)
        return (*(text for pool in pools for text in pool), *cue.persona.voice.express, *brief, *told)

    def _word(self, cue: Cue) -> "list[_Draft]":
        """The lines that may be spoken, all new; the likeliest first."""
        rng = np.random.default_rng([cue.seed % 2**64, heard_key(cue)])
        manner, earlier = self.settings.manner(cue.persona.style), cue.transcript.said_by("patient")
        said, words = sentences(earlier), self._length(cue, manner, rng)
        if cue.move is Move.ANSWER:
            return [_Draft(" ".join(_answer(cue)), 0.0)]
        if brief := self._brief(cue, said, words, rng):
            return [_Draft(brief, 0.0)]
        aim = Aim(
            cue.mood,
            words,
            max(words + 2, round(1.2 * words), self.settings.brief_words),
            self.settings.pace,
            self.settings.gain,
        )
        # A danger is told plainly, with nothing behind it that would draw the therapist away from it.
        plainly = cue.move is Move.WITHDRAW or any(fact.risk for fact in cue.facts)
        ends = self._ends(cue, said, manner, rng, plainly)
        contents = self._contents(cue, said, aim.limit, rng)
        clauses = _NONE if plainly else self._clauses(cue, contents, said, aim, rng)
        fill = 0.0 if plainly or cue.move in _FIRM or not cue.transcript.messages else manner.filler
        composed = self._compose(cue, ends, contents, clauses, aim)
        drafts = [draft._replace(line=led_in(draft.line, fill, rng)) for draft in composed]
        new = [draft for draft in drafts if draft.line not in earlier]
        return new[: self.settings.reads] or [_Draft(self._unheard(cue, earlier, drafts[0].line), 0.0)]

    def _length(self, cue: Cue, manner: Manner, rng: np.random.Generator) -> int:
        """How many words the line is meant to have."""
        chance = float(rng.random())
        if cue.move in _TALK:
            chance = self.settings.talk + (1.0 - self.settings.talk) * chance
        words = float(np.interp(chance, QUANTILES, manner.words))
        asked = bool(cue.acts & _QUESTIONS) or not cue.transcript.messages
        return max(1, round(words if asked else manner.unasked * words))

    def _brief(self, cue: Cue, said: frozenset[str], words: int, rng: np.random.Generator) -> str:
        """A few words that answer the therapist's act, "" where the turn calls for more."""
        fits = words <= self.settings.brief_words and cue.move is Move.EXPRESS and not cue.facts
        plain = not cue.transcript.messages or silent(cue) or senseless(cue)
        if not fits or plain or "risk_inquiry" in cue.acts:  # "A lot." must not answer that
            return ""
        asked = "open_question" in cue.acts  # of how it feels: all else is answered from the file
        if (asked or rng.random() < self.settings.brief_mood) and (feeling := self._feeling(cue, said, rng)):
            return feeling
        if asked:
            return ""
        names = next(names for acts, names in _BRIEF if acts & cue.acts or not acts)
        pool = [text for name in names for text in getattr(cue.persona.case.replies, name)]
        unused = [text for text in pool if self._new(text, said)]
        drawn = [text for text in unused if self._pieces[text].words <= words] or unused
        return drawn[int(rng.integers(len(drawn)))] if drawn else ""

    def _feeling(self, cue: Cue, said: frozenset[str], rng: np.random.Generator) -> str:
        """The mood in a few words, "" where they are used up."""
        fits = self._fitting(felt(cue.mood))
        short = np.flatnonzero((fits.words <= self.settings.brief_words) & (fits.kinds < NEUTRAL))
        drawn = [i for i in rng.permutation(short) if fits.pieces[i].key not in said][: self.settings.options]
        off = np.linalg.norm(fits.affects[drawn] - np.array(cue.mood), axis=1)
        return fits.pieces[drawn[int(off.argmin())]].text if drawn else ""

    def _ends(
        self, cue: Cue, said: frozenset[str], manner: Manner, rng: np.random.Generator, plainly: bool
    ) -> tuple[list[Piece], list[Piece]]:
        """What the line begins with, an answer to what the therapist did, and the question it ends with; if any."""
        chances = rng.random(2)
        opener = self._opener(cue, said, rng) if chances[0] < manner.opener else []
        told = not plainly and cue.move not in (*_FIRM, Move.ASK) and bool(cue.transcript.messages)
        tags = [text for text in self._bank.tags if self._new(text, said)] if told and chances[1] < manner.tag else []
        return opener, [self._pieces[tags[int(rng.integers(len(tags)))]]] if tags else []

    def _opener(self, cue: Cue, said: frozenset[str], rng: np.random.Generator) -> list[Piece]:
        acts = cue.acts & _HURTFUL if cue.move in _FIRM else cue.acts
        if not cue.transcript.messages or senseless(cue):
            return []
        act = next((lines for act, lines in _ACTS.items() if act in acts), "")
        unused = [text for text in self._bank.openers.get(act, ()) if self._new(text, said)]
        return [self._pieces[unused[int(rng.integers(len(unused)))]]] if unused else []

    def _contents(self, cue: Cue, said: frozenset[str], limit: int, rng: np.random.Generator) -> list[_Content]:
        """What the move may be worded with; never empty. Where all that fits was said, the least recent comes back."""
        reply = (" ".join(answer_lines(cue)),) if cue.items else ()
        told = [(*reply, *(fact.lines[int(rng.integers(len(fact.lines)))] for fact in cue.facts)) for _ in range(4)]
        if cue.facts and cue.move is Move.DISCLOSE:
            return [(0, self._texts(texts)) for texts in dict.fromkeys(told)]
        hushed = silent(cue) and rng.random() < 0.5
        stages, first = self._stages(cue, silent=hushed), self._texts(told[0])
        for pools in stages:
            if drawn := self._draw(pools, said, limit, rng):
                return [(rank, (*first, piece)) for rank, piece in drawn]
        joined = "\n".join(cue.transcript.said_by("patient"))
        oldest = sorted((text for pool in stages[0] for text in pool), key=joined.rfind)
        return [(0, (*first, self._pieces[text])) for text in oldest[: self.settings.options]]

    def _draw(
        self, pools: _Pools, said: frozenset[str], limit: int, rng: np.random.Generator
    ) -> list[tuple[int, Piece]]:
        """Some unused texts of each pool that are no longer than the limit, else the shortest there are."""
        unused = [[p for p in self._texts(pool) if p.key not in said] for pool in pools]
        fitting = [[p for p in pool if p.words <= limit] for pool in unused]
        if not any(fitting):
            short = sorted(((rank, p) for rank, pool in enumerate(unused) for p in pool), key=lambda row: row[1].words)
            return short[: self.settings.options]
        return [
            (rank, pool[i])
            for rank, pool in enumerate(fitting)
            for i in rng.permutation(len(pool))[: self.settings.options]
        ]

    def _stages(self, cue: Cue, *, silent: bool = False) -> list[_Pools]:
        """Pools that a move draws on, own lines first; a later stage serves where an earlier is used up."""
        if not cue.transcript.messages:
            return [(cue.persona.voice.opening,)]
        moves, fitting = self._bank.moves, self._bank.fitting(felt(cue.mood))
        replies = cue.persona.case.replies
        if cue.move is Move.CLOSE:
            own = replies.cold if cue.ending == "rupture" else _handed_over(cue) or replies.farewell
            return [(own,), (moves[f"close_{cue.ending}" if cue.ending else "close"],)]
        story = tuple(line for item in items_of(cue.persona).values() for line in item.lines if item.id in _LIFE)
        stages = [self._pools(cue), (story,), (fitting,), (self._bank.neutral,)]
        if senseless(cue) and cue.move is not Move.RUPTURE:
            return [(replies.unclear,), *stages]
        return [(replies.silence,), *stages] if silent else stages

    def _pools(self, cue: Cue) -> _Pools:
        voice, case = cue.persona.voice, cue.persona.case
        pools: dict[Move, _Pools] = {
            Move.RUPTURE: (case.replies.slip,),
            Move.WITHDRAW: (case.replies.decline, case.replies.says_no),
            Move.ASK: (voice.ask, case.asks),
            Move.CHANGE: (voice.change, case.change),
            Move.SUSTAIN: (voice.sustain, case.sustain),
        }
        return pools.get(cue.move, (voice.express,))

    def _clauses(
        self, cue: Cue, contents: Sequence[_Content], said: frozenset[str], aim: Aim, rng: np.random.Generator
    ) -> Clauses:
        """What the line may take in beside its content: clauses of the mood, sentences of none, more of its own."""
        room = aim.limit - min(sum(piece.words for piece in content) for _, content in contents)
        taken = said.union(piece.key for _, content in contents for piece in content)
        fits = self._fitting(felt(cue.mood))
        order = rng.permutation(len(fits.pieces))
        if rng.random() >= self.settings.shared:
            order = order[:0]
        unused = islice((i for i in order.tolist() if fits.pieces[i].key not in taken), self.settings.clauses)
        drawn = [i for i in unused if fits.pieces[i].words <= room]  # most lines are short, and few clauses fit
        own = cue.persona.voice.express if aim.words >= _LONG and cue.move not in _FIRM else ()
        long = (*(self._bank.elaborate if len(order) else ()), *own) if aim.words >= _LONG else ()
        more = [p for p in self._texts(long) if p.key not in taken]
        more = [more[i] for i in rng.permutation(len(more))[: self.settings.options]]
        return fits.some(drawn) if not more else Clauses.of([*(fits.pieces[i] for i in drawn), *more])

    def _fitting(self, levels: Felt) -> Clauses:
        if (fits := self._fits.get(levels)) is None:
            fits = self._fits[levels] = Clauses.of(self._texts((*self._bank.fitting(levels), *self._bank.neutral)))
        return fits

    def _compose(
        self,
        cue: Cue,
        ends: tuple[list[Piece], list[Piece]],
        contents: list[_Content],
        clauses: Clauses,
        aim: Aim,
    ) -> "list[_Draft]":
        """The lines, one a content, the likeliest to read close to the mood first."""
        opener, tag = ends
        drafts = []
        for (rank, content), made in zip(
            contents, compose([(*opener, *content, *tag) for _, content in contents], clauses, aim), strict=True
        ):
            last = cue.move in (Move.ASK, Move.CLOSE)
            body = [*made.added, *content] if last else [*content, *made.added]
            cost = made.short + self.settings.own_words * rank
            drafts.append((made.off + cost, _Draft(" ".join(p.text for p in (*opener, *body, *tag)), cost)))
        return [draft for _, draft in sorted(drafts, key=lambda pair: pair[0])]

    def _unheard(self, cue: Cue, earlier: list[str], line: str) -> str:
        """A line that was said before, made longer by clauses until it is new; the least recent clause comes first."""
        said = "\n".join(earlier)
        for clause in sorted((*self._bank.fitting(felt(cue.mood)), *self._bank.neutral), key=said.rfind):
            if (longer := f"{line} {clause}") not in earlier:
                return longer
        return self._unheard(cue, earlier, f"{line} {self._bank.neutral[0]}")

    def _texts(self, texts: Iterable[str]) -> tuple[Piece, ...]:
        return tuple(self._pieces[text] for text in texts)

    def _new(self, text: str, said: frozenset[str]) -> bool:
        return self._pieces[text].key not in said


#: What a patient tells of itself where nothing else is left.
_LIFE = frozenset((*(f"story.{name}" for name in STORY), "life.days", "life.work", "life.sleep", "life.friends"))


def _handed_over(cue: Cue) -> tuple[str, ...]:
    ladder = cue.persona.case.danger
    return ladder.handover.lines if ladder and cue.ending == "crisis" else ()


class _Draft(NamedTuple):
    """A line, and what it costs beside its distance from the mood, in L2."""

    line: str
    cost: float


_NONE = Clauses.of([])


def _answer(cue: Cue) -> list[str]:
    """What was asked for, and behind it the facts.

    Raises:
        PatientError: the cue answers and holds nothing to answer with.
    """
    if not cue.answers and not cue.facts:
        raise PatientError(f"a cue for {cue.persona.id} is to answer and holds no item, no figure and no fact")
    return [*answer_lines(cue), *(fact.lines[cue.seed % len(fact.lines)] for fact in cue.facts)]

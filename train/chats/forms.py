"""The rows of an export: whole chats, pairs of turns said in one state, or a table with a row a turn."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, state_header
from therapysim.models.chat import ChatMessage
from therapysim.rewards.matrix import DIMENSIONS, polarity
from therapysim.state import State
from therapysim.train.chats.kept import Kept
from therapysim.train.pairs.drawing import short_header

__all__ = ["COLUMNS", "Header", "chat_of", "message_rows", "pair_rows", "turn_rows"]

Header = Literal["long", "short", "none"]
Row = dict[str, Any]

#: Of the table; words first, then measures.
COLUMNS = (
    "policy", "simulator", "persona", "split", "seed", "turn", "patient_before", "therapist", "shown", "patient",
    "reward", "return", *DIMENSIONS, "polarity", "alliance", "move", "acts", "flags", "violations", "disclosed",
    "ending",
)  # fmt: skip


_EQUAL, _SILENT, _UNSAFE = "equal returns", "one turn is a silence", "the chosen turn unsafe and the other not"
_LOW = "below the least return"
_FAULTS = (_EQUAL, _SILENT, _UNSAFE, _LOW)


def chat_of(session: Kept, header: Header, turns: int) -> list[ChatMessage]:
    """What a policy reads before its turn of that number, from 0: system, patient (user), therapist (assistant).

    Earlier turns keep their header, as in training.
    """
    chat: list[ChatMessage] = [{"role": "system", "content": SYSTEM_PROMPT}]
    for i, message in enumerate(session.messages[: 2 * turns + 1]):
        if i % 2:
            chat.append({"role": "assistant", "content": message.text})
        else:
            chat.append({"role": "user", "content": _headed(session.states[i // 2], message.text, header)})
    return chat


def _headed(state: State, text: str, header: Header) -> str:
    before = {"long": state_header(state), "short": f"{short_header(state)} ", "none": ""}[header]
    return f"{before}Patient: {text}"


def message_rows(sessions: Sequence[Kept], header: Header) -> list[Row]:
    """A row a session: its chat to the therapist's last turn, whose it is, and what it earned."""
    return [
        {
            "messages": [*chat_of(own, header, len(own.turns) - 1), _answer(_said(own, len(own.turns) - 1))],
            "policy": own.policy,
            **_whose(own),
            "turns": len(own.turns),
            "ending": own.ending,
            "return": round(own.total, 5),
            "unsafe_turns": sum(bool(turn.violations) for turn in own.turns),
        }
        for own in sessions
    ]


def pair_rows(sessions: Sequence[Kept], header: Header, min_return: float) -> tuple[list[Row], dict[str, int]]:
    """A row for each two different turns in one state, the one whose sessions earned more as ``chosen``.

    One state is the same patient, seed and simulator, word for word the same session before it, and the same e_t at
    each of its turns. What a turn earned is the mean return of the sessions that went on from it.

    Args:
        sessions: of any policies.
        header: of the prompts.
        min_return: the least that the chosen side earned.

    Returns:
        The rows, and how many other pairs were dropped why.
    """
    rows: list[Row] = []
    dropped = dict.fromkeys(_FAULTS, 0)
    for turn, said in _forks(sessions):
        for one, two in combinations(said.values(), 2):
            worse, better = sorted((one, two), key=_earned)
            why = _fault(better, worse, turn, min_return)
            if why:
                dropped[why] += 1
            else:
                rows.append(_pair(better, worse, turn, header))
    return rows, dropped


def _forks(sessions: Sequence[Kept]) -> Iterator[tuple[int, dict[str, list[Kept]]]]:
    """Each state in which different turns were said: its turn from 0, and the sessions by what was said."""
    states: defaultdict[tuple[Any, ...], dict[str, list[Kept]]] = defaultdict(dict)
    for own in sessions:
        for turn in range(len(own.turns)):
            affects = tuple(state.affect for state in own.states[: turn + 1])
            place = turn, own.simulator, own.persona, own.seed, own.messages[: 2 * turn + 1], affects
            states[place].setdefault(_said(own, turn), []).append(own)
    for place, said in states.items():
        if len(said) > 1:
            yield place[0], said


def _fault(better: Sequence[Kept], worse: Sequence[Kept], turn: int, min_return: float) -> str:
    if _earned(better) == _earned(worse):
        return _EQUAL
    if not all(_said(own[0], turn).strip() for own in (better, worse)):
        return _SILENT
    if better[0].turns[turn].violations and not worse[0].turns[turn].violations:
        return _UNSAFE
    return _LOW if _earned(better) < min_return else ""


def _pair(better: Sequence[Kept], worse: Sequence[Kept], turn: int, header: Header) -> Row:
    return {
        "prompt": chat_of(better[0], header, turn),
        "chosen": [_answer(_said(better[0], turn))],
        "rejected": [_answer(_said(worse[0], turn))],
        **_whose(better[0]),
        "turn": turn + 1,
        "chosen_policies": sorted({own.policy for own in better}),
        "rejected_policies": sorted({own.policy for own in worse}),
        "chosen_return": round(_earned(better), 5),
        "rejected_return": round(_earned(worse), 5),
        "margin": round(_earned(better) - _earned(worse), 5),
    }


def turn_rows(sessions: Sequence[Kept]) -> list[Row]:
    """A row a turn, by ``COLUMNS``: its words, its reward, and the patient after it."""
    return [dict(zip(COLUMNS, _cells(own, turn), strict=True)) for own in sessions for turn in range(len(own.turns))]


def _cells(own: Kept, turn: int) -> list[Any]:
    seen, after = own.turns[turn], own.states[turn + 1]
    before, said, answer = (own.messages[2 * turn + i].text for i in range(3))
    shown = seen.shown if seen.shown != said else ""
    return [
        *(own.policy, own.simulator, own.persona, own.split, own.seed, turn + 1, before, said, shown, answer),
        *(_number(own.rewards[turn]), _number(own.total), *map(_number, after.affect)),
        *(_number(float(polarity(after.affect))), _number(seen.alliance), seen.move),
        *("; ".join(names) for names in (seen.acts, seen.flags, seen.violations, seen.disclosed)),
        own.ending,
    ]


def _number(value: float) -> float | str:
    return "" if math.isnan(value) else round(value, 5)


def _whose(own: Kept) -> Row:
    return {"simulator": own.simulator, "persona": own.persona, "split": own.split, "seed": own.seed}


def _said(own: Kept, turn: int) -> str:
    return own.messages[2 * turn + 1].text


def _earned(sessions: Sequence[Kept]) -> float:
    return math.fsum(own.total for own in sessions) / len(sessions)


def _answer(text: str) -> ChatMessage:
    return {"role": "assistant", "content": text}

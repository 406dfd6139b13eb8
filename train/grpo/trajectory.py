"""A session as GRPO sees it: tokens, who spoke each, what each turn earned; and what happened in many of them."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Literal

from accelerate.utils import gather_object

from therapysim.envs.batch import Session, Turn

__all__ = ["Trajectory", "means", "overlong", "session_return", "summary", "tally"]

#: Sums by name; and over how many they go, by name, or for what comes turn by turn by what stands before the "/".
Tally = tuple[dict[str, float], Counter[str]]
_TURN_BY_TURN = ("guard", "screen", "violation", "turns")


@dataclass(repr=False)
class Trajectory:
    """One session in the making, token by token.

    Attributes:
        prompt_ids: what the policy read before its first turn.
        session: None where the patient could not even begin.
        completion_ids, env_mask, turn_ids, logprobs: one entry a token; ``turn_ids`` is -1 where the patient speaks.
        turn_rewards, terms, sources: one entry a turn; ``sources`` says how the patient's line came about.
        flags, violations: what screen and safety gate found, over all turns.
        said, words: the therapist's newest turn in tokens, and what the patient hears of it.
        pending: the patient's answer in tokens; joins the completion only if another turn fits after it.
        cut: no further turn fitted into the budget: the session was truncated.
        cut_turns: how many turns were cut off before their end: by ``max_turn_tokens``, or by a control token.
        was_cut: whether the newest did.
        charged: what was taken from the turns' rewards for their length.
        shared: how many first turns were played for the whole group, and are nothing that this session learns from.
        until: where it is played for a group, how many turns at most.
        fork: of such a one, the newest state from which another turn can follow.
    """

    prompt_ids: list[int]
    session: Session | None
    completion_ids: list[int] = field(default_factory=list)
    env_mask: list[int] = field(default_factory=list)
    turn_ids: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    turn_rewards: list[float] = field(default_factory=list)
    terms: list[dict[str, float]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    said: list[int] = field(default_factory=list)
    words: str = ""
    pending: list[int] = field(default_factory=list)
    cut: bool = False
    cut_turns: int = 0
    was_cut: bool = False
    charged: float = 0.0
    shared: int = 0
    until: int | None = None
    fork: "Trajectory | None" = None

    def __repr__(self) -> str:
        who = f"{self.session.persona.id}, seed {self.session.seed}" if self.session else "not begun"
        return f"Trajectory({who}, {len(self.turn_rewards)} turns, {self.ending})"

    @property
    def failed(self) -> bool:
        """The patient gave no answer: the episode is neither scored nor learned from."""
        return self.session is None or self.session.failed

    @property
    def ending(self) -> Literal["failed", "goal", "rupture", "crisis", "budget", "turns"]:
        """Why it stopped."""
        if self.session is None or self.session.failed:
            return "failed"
        return self.session.ending or ("budget" if self.cut else "turns")

    @property
    def own_rewards(self) -> list[float]:
        """What its turns earned, NaN for those that it shares with its group."""
        return [math.nan] * self.shared + self.turn_rewards[self.shared :]

    def branch(self) -> "Trajectory":
        """Another session from this very state; nothing is learnt from what was said before."""
        other, count = copy(self), len(self.completion_ids)
        for name, own in vars(self).items():
            if isinstance(own, list | Counter):
                setattr(other, name, copy(own))
        other.env_mask, other.turn_ids = [0] * count, [-1] * count
        other.shared, other.until, other.fork = len(self.turn_rewards), None, None
        return other

    def parts(self) -> bool:
        """Whether its group parts here; keeps the state, in case that the session goes no further."""
        if self.until is None:
            return False
        self.fork = self.branch()
        return len(self.turn_rewards) >= self.until

    def hear(self) -> None:
        """Takes in the patient's last answer."""
        self._extend(self.pending, [0.0] * len(self.pending), mask=0, turn=-1)
        self.pending = []

    def say(
        self, ids: list[int], logprobs: Sequence[float | None], *, words: str = "", cut: bool = False, masked: int = 0
    ) -> None:
        """Takes in a therapist turn as it was sampled.

        Args:
            ids: its tokens.
            logprobs: what each was drawn with.
            words: what is said aloud.
            cut: it was cut off before its end.
            masked: how many tokens at its begin are not learned from.
        """
        self.cut_turns += cut
        self.was_cut = cut
        self.said, self.words = list(ids), words
        self._extend(ids[:masked], logprobs[:masked], mask=0, turn=len(self.turn_rewards))
        self._extend(ids[masked:], logprobs[masked:], mask=1, turn=len(self.turn_rewards))

    def note(self, turn: Turn, charge: float = 0.0) -> None:
        """Keeps what the environment made of the turn, less a charge for its length; a failed one masks the episode."""
        if turn.line is None:
            self.env_mask = [0] * len(self.env_mask)
            self.turn_ids = [-1] * len(self.turn_ids)
            return
        self.turn_rewards.append(turn.reward - charge)
        self.charged += charge
        self.terms.append(turn.terms)
        self.sources.append(turn.line.source)
        self.flags.update(turn.screen.flags)
        self.violations.update(turn.violations)

    def _extend(self, ids: list[int], logprobs: Sequence[float | None], *, mask: int, turn: int) -> None:
        self.completion_ids += ids
        self.logprobs += logprobs
        self.env_mask += [mask] * len(ids)
        self.turn_ids += [turn] * len(ids)


def overlong(tokens: int, limit: int, last: int) -> float:
    """How much of the penalty for a cut turn falls to one of so many tokens, its end included; in [0, 1].

    0 up to ``limit - last`` tokens, then evenly more with each token, 1 at ``limit``; 0 throughout where ``last`` is 0.

    Source: Yu et al. 2025, DAPO, section 3.4, equation 13 (soft overlong punishment), with a turn for the response.
    """
    return min(1.0, max(0.0, (tokens - (limit - last)) / last)) if last else 0.0


def session_return(episode: list[Trajectory], log_metric: Callable[[str, float], None], **_: Any) -> list[float | None]:
    """TRL's reward function: the sum of a session's turns, None where the patient failed; logs what happened.

    Processes tell one another sums and counts, not their sessions.
    """
    for name, value in means(gather_object([tally(episode)])).items():
        log_metric(name, value)
    return [None if e.failed else float(sum(e.turn_rewards)) for e in episode]


def summary(episodes: Sequence[Trajectory]) -> dict[str, float]:
    """What happened in some sessions, as numbers: terms a turn, shares of guarded lines and flags, turns, endings."""
    return means([tally(episodes)])


def means(tallies: Sequence[Tally]) -> dict[str, float]:
    """The summary of all sessions that were counted, whichever process counted them."""
    sums, over = defaultdict[str, float](float), Counter[str]()
    for own, counts in tallies:
        over.update(counts)
        for name, value in own.items():
            sums[name] += value
    return {name: total / max(1, over[name] or over[name.partition("/")[0]]) for name, total in sums.items()}


def tally(episodes: Sequence[Trajectory]) -> Tally:
    """Sums of what happened in some sessions, and over how many turns or sessions each goes."""
    sums, over = defaultdict[str, float](float), Counter[str]()
    for e in episodes:
        sums[f"ending/{e.ending}"] += 1
        over["ending"] += 1
        for name, value in [] if e.failed else _shares(e):
            sums[name] += value
        for name, value in [] if e.failed else _values(e):
            sums[name] += value
            over[name] += 1
        over.update({} if e.failed else dict.fromkeys(_TURN_BY_TURN, len(e.turn_rewards)))
    return dict(sums), over


def _shares(episode: Trajectory) -> Iterator[tuple[str, float]]:
    """What is told as a share of all turns."""
    counts = {"guard": Counter(episode.sources), "screen": episode.flags, "violation": episode.violations}
    yield from ((f"{kind}/{name}", n) for kind, count in counts.items() for name, n in count.items())
    yield from {"turns/cut": episode.cut_turns, "turns/charged": episode.charged}.items()


def _values(episode: Trajectory) -> Iterator[tuple[str, float]]:
    """What is told as a mean of the turns or sessions that have it."""
    yield from ((f"term/{name}", value) for terms in episode.terms for name, value in terms.items())
    yield "session/turns", len(episode.turn_rewards)
    yield "session/polarity", episode.session.state.history[-1] if episode.session else math.nan

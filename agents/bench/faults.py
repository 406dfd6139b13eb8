"""What went wrong in a benchmark: who gave no answer and why, what was not played, whose lines the script replaced."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from therapysim.agents.bench.results import SessionResult

__all__ = [
    "MOST_REPLACED", "Replaced", "failures", "replaced_lines", "replacements", "silences", "uncounted", "unplayed",
]  # fmt: skip

#: Where more than this share of a model's lines were replaced by the script, every table says so.
MOST_REPLACED = 0.1
# So many patients, or policies, are named.
_NAMED = 4


class Replaced(NamedTuple):
    """How many of the patient's lines the script replaced, of all in sessions that did not fail."""

    replaced: int
    lines: int

    @property
    def share(self) -> float:
        """In [0, 1]; 0 of none."""
        return self.replaced / self.lines if self.lines else 0.0

    @property
    def many(self) -> bool:
        """More than a tenth."""
        return self.share > MOST_REPLACED

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} % ({self.replaced} of {self.lines})" if self.lines else "–"


def replaced_lines(results: Iterable[SessionResult]) -> Replaced:
    """Of all these sessions together, their openings left out."""
    sources = [turn.source for result in results if not result.failed for turn in result.turns]
    return Replaced(sources.count("replaced"), len(sources))


def replacements(results: Sequence[SessionResult]) -> Iterator[str]:
    """A warning for each simulator more than a tenth of whose lines, with any policy, are the script's."""
    for simulator in dict.fromkeys(r.simulator for r in results):
        own = [r for r in results if r.simulator == simulator]
        found = {p: replaced_lines(r for r in own if r.policy == p) for p in dict.fromkeys(r.policy for r in own)}
        many = {policy: one for policy, one in found.items() if one.many}
        if many:
            told = ", ".join(f"{one} with {policy}" for policy, one in many.items())
            yield (
                f"The script spoke for {simulator}, whose own lines were refused or empty: {told} were replaced. "
                "These numbers are not that model's."
            )


def silences(results: Sequence[SessionResult]) -> Iterator[str]:
    """A warning for each model, as the therapist, that said nothing in more than a tenth of its turns."""
    for policy in dict.fromkeys(r.policy for r in results if not r.failed and r["tokens_read"] != 0):
        said = [turn.therapist for r in results if r.policy == policy for turn in r.turns]
        empty = sum(not text.strip() for text in said)
        if empty > MOST_REPLACED * len(said):
            yield f"{policy} said nothing in {empty} of {len(said)} turns, which count as silence: see what it answers."


def uncounted(results: Sequence[SessionResult]) -> Iterator[str]:
    """A warning for each policy of whose sessions nobody counted the tokens."""
    for policy in dict.fromkeys(r.policy for r in results):
        counts = [r["tokens_read"] for r in results if r.policy == policy and not r.failed]
        if unknown := sum(map(math.isnan, counts)):
            yield (
                f"{policy}: the tokens of {unknown} of {len(counts)} sessions are unknown, since the recording has no "
                "count of so few turns."
            )


def failures(results: Sequence[SessionResult]) -> Iterator[str]:
    """The first reason of each patient that failed; those that share one, and a simulator, in one line."""
    first: dict[tuple[str, str], str] = {}
    sessions: dict[tuple[str, str], int] = {}
    for result in results:
        if result.failed:
            key = (result.simulator, result.persona)
            first.setdefault(key, result.failure.rstrip(".") or "no reason was kept")
            sessions[key] = sessions.get(key, 0) + 1
    for simulator, reason in dict.fromkeys((key[0], why) for key, why in first.items()):
        keys = [key for key, why in first.items() if key[0] == simulator and why == reason]
        count = sum(sessions[key] for key in keys)
        yield f"{_names([who for _, who in keys])} ({count} session{'s' * (count > 1)} with {simulator}): {reason}"


def unplayed(
    reasons: Mapping[tuple[str, str], str], played: Mapping[tuple[str, str], int], whole: int
) -> Iterator[str]:
    """Why policies were not played to their end; those that share simulator, count and reason in one line.

    Args:
        reasons: (policy, simulator) -> why.
        played: the same -> sessions that are there.
        whole: how many there were to be of each.
    """
    alike: dict[tuple[str, int, str], list[str]] = {}
    for (policy, simulator), reason in reasons.items():
        if (count := played.get((policy, simulator), 0)) < whole:
            alike.setdefault((simulator, count, reason.rstrip(".")), []).append(policy)
    for (simulator, count, reason), policies in alike.items():
        whose = "each of " * (len(policies) > 1) + _names(policies)
        yield f"{count} of {whole} sessions of {whose} with {simulator} were played: {reason}"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:_NAMED])} and {rest} more"

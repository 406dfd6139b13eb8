"""How policies differ from one of them, as a table for a terminal."""

from collections.abc import Sequence

from therapysim.agents.bench.report.gaps import Gap, gaps
from therapysim.agents.bench.report.tables import number, probability, spread
from therapysim.agents.bench.results import SessionResult

__all__ = ["differences_table"]

#: By what, beside the return.
_ALSO = ("beliefs", "alliance", "safe")


def differences_table(results: Sequence[SessionResult], reference: str, simulator: str) -> str:
    """Every other policy less the reference, on common patients and seeds; "" where there is nothing to compare.

    Each difference of the return has its 95 % interval by patient, its p after Holm over the policies, and the smallest
    true difference that so many sessions would show with a power of 0.8.
    """
    names = dict.fromkeys(r.policy for r in results if r.simulator == simulator)
    held = {(p, simulator): [r for r in results if (r.policy, r.simulator) == (p, simulator)] for p in names}
    found = gaps(held, reference, simulator, "total")
    if not any(gap.difference.n_sessions for gap in found):
        return ""
    also = [{gap.policy: gap for gap in gaps(held, reference, simulator, measure)} for measure in _ALSO]
    rows = [[f"less {reference}", "pairs", "return", "p", "detectable", *_ALSO]]
    rows += [["---"] * len(rows[0])]
    rows += [
        [gap.policy, str(gap.difference.n_sessions), _shown(gap), probability(gap.p), number(gap.detectable),
         *(_shown(own[gap.policy]) for own in also)]
        for gap in found
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(gap: Gap) -> str:
    own = gap.difference.interval
    return spread(own.mean, own.low, own.high)

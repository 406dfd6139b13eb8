"""Shows sessions to a person."""

from therapysim.envs.batch import Session
from therapysim.rewards.matrix import DIMENSIONS, deficit_dimension, polarity

__all__ = ["mood_profile"]

_WIDTH = 8


def mood_profile(session: Session) -> str:
    """The mood profile as text: e_t turn by turn, each dimension as a bar around 0, and the polarity.

    ``----|    `` is -0.5 on a scale from -1 to +1; the dimension in deficit is marked with a star.
    """
    head = "turn  " + "  ".join(f"{name:<{2 * _WIDTH + 6}}" for name in DIMENSIONS) + "  polarity"
    rows = [head]
    for state in session.states:
        lowest = deficit_dimension(state.affect)
        bars = [_bar(v) + ("*" if i == lowest else " ") for i, v in enumerate(state.affect)]
        rows.append(f"{state.turn:>4}  " + "  ".join(bars) + f"  {float(polarity(state.affect)):+.2f}")
    return "\n".join(rows)


def _bar(value: float) -> str:
    size = round(abs(value) * _WIDTH)
    left, right = ("-" * size, "") if value < 0 else ("", "+" * size)
    return f"{left:>{_WIDTH}}|{right:<{_WIDTH}}{value:+.1f}"

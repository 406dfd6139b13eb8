"""A session as a picture: e_t and its polarity over the turns, and the last words. For ``render_mode="rgb_array"``.

It needs matplotlib, which the base install leaves out; nothing here is imported before it is asked for.
"""

import textwrap
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from therapysim.envs.session import Session
from therapysim.errors import ConfigError
from therapysim.rewards.matrix import DIMENSIONS, polarity

__all__ = ["HEIGHT", "WIDTH", "mood_frame", "require_matplotlib"]

#: Of a frame, in pixels; even, as video codecs want it.
WIDTH, HEIGHT = 800, 480

_DPI = 100
#: Okabe & Ito's colours, told apart with any eyes, as in a mood profile; black is the polarity.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_LETTERS, _LINES = 100, 2


def require_matplotlib() -> None:
    """Refuses where nothing could be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "render_mode 'rgb_array' needs matplotlib, which is not installed; run: pip install \"therapysim[report]\" "
            "or take render_mode 'ansi'"
        )


def mood_frame(session: Session | None, max_turns: int) -> NDArray[np.uint8]:
    """The picture of a session as it stands; of none, the empty axes. Equal sessions give equal pictures.

    Args:
        session: the session.
        max_turns: turns that the axis has room for.

    Returns:
        Shape (``HEIGHT``, ``WIDTH``, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0.1, 0.34, 0.87, 0.58))
    axes.set(xlim=(-0.4, max_turns + 0.4), ylim=(-1.05, 1.05), xlabel="therapist turns", ylabel="e$_t$ and polarity")
    axes.axhline(0, color="#666666", linewidth=0.6)
    moods = np.array([state.affect for state in session.states]) if session else np.zeros((0, len(DIMENSIONS)))
    polarities = [polarity(state.affect) for state in session.states] if session else []
    for values, name, colour in zip((*moods.T, polarities), (*DIMENSIONS, "polarity"), _COLOURS, strict=True):
        width = 2.4 if name == "polarity" else 1.3
        axes.plot(range(len(values)), values, color=colour, marker="o", markersize=3, linewidth=width, label=name)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False, fontsize=8)
    if session:
        figure.text(0.02, 0.2, _words(session), fontsize=9, verticalalignment="top", parse_math=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _words(session: Session) -> str:
    """The last turn of each, cut to two lines, and how the session ended."""
    told = [_cut(f"{m.speaker.capitalize()}: {m.text}") for m in session.messages[-2:]]
    return "\n".join([*told, *([f"The patient closes the session: {session.ending}."] if session.ending else [])])


def _cut(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _LETTERS, max_lines=_LINES, placeholder=" …"))

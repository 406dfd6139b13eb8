"""Figures, drawn the same way each time: the same data gives the same file, byte for byte, in PNG and in SVG."""

from pathlib import Path
from typing import TYPE_CHECKING

from therapysim.errors import ConfigError
from therapysim.files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "figure", "save"]

#: Okabe & Ito's colours, told apart with any eyes; for policies in the order they come.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_FORMATS = (".png", ".svg")


def figure(width: float = 8.0, height: float = 4.5) -> "Figure":
    """An empty figure of ``width`` × ``height`` inches. No window, no global state: matplotlib's pyplot is not used."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: "Figure", path: str | Path) -> Path:
    """Writes a figure whole or not at all, as its ending says.

    Raises:
        ConfigError: the ending is neither .png nor .svg, or the file cannot be written.
    """
    import matplotlib

    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ConfigError(f"the figure's file {str(path)!r} ends in {target.suffix!r}, expected .png or .svg")
    metadata = {"Date": None} if target.suffix.lower() == ".svg" else {"Software": None}
    try:
        with whole(target) as part, matplotlib.rc_context({"svg.hashsalt": "therapysim", "svg.fonttype": "none"}):
            drawn.savefig(part, format=target.suffix.lower()[1:], dpi=150, metadata=metadata)
    except OSError as error:
        raise ConfigError(
            f"figure {str(path)!r} cannot be written: {error.strerror or error}; choose another path"
        ) from error
    return target

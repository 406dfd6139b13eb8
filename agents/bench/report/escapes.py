"""Any text in one line of Markdown or LaTeX, with nothing left in it that could become markup or break a table."""

import re

__all__ = ["latex", "markdown"]

_MARKS = re.compile(r"[\\|*`]")
# "<" begins a tag only before one of these, "&" stands for another sign only where a name and ";" follow.
_TAG = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w{1,31};)")
_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "–": "--", "−": "$-$", "Δ": r"$\Delta$", "→": r"$\rightarrow$",
    "×": r"$\times$", "∞": r"$\infty$",
}  # fmt: skip
_MINUS = re.compile(r"(?<![\w-])-(?=[\d∞])")


def markdown(text: str) -> str:
    """The text with a backslash before each mark, and a space behind what would begin a tag or an entity.

    No renderer takes ``< b>`` for a tag, while not all know a backslash before it; as it stands it can be read too.
    """
    return " ".join(_TAG.sub(r"\g<0> ", _MARKS.sub(r"\\\g<0>", _writable(text))).split())


def latex(text: str) -> str:
    """The text for LaTeX with UTF-8 and T1 fonts; a minus before a figure is set as one."""
    signed = _MINUS.sub("−", _writable(text))
    return " ".join("".join(_LATEX.get(sign, sign) for sign in signed).split())


def _writable(text: str) -> str:
    """Half a letter becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")

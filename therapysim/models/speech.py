"""What of a sampled text is said aloud: none of its reasoning, and nothing behind a control token."""

import re

__all__ = ["CONTROL", "MARKS", "REASONING", "leaves_open", "say", "say_behind_server"]

#: What begins reasoning and what ends it: Qwen, GLM, DeepSeek, Nemotron and LFM; Gemma 4; Cohere; Mistral.
MARKS = (
    ("<think>", "</think>"),
    ("<|channel>", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("[THINK]", "[/THINK]"),
)
#: Either of them, as its group ``begin`` or ``end``.
REASONING = re.compile(
    f"(?P<begin>{'|'.join(re.escape(b) for b, _ in MARKS)})|(?P<end>{'|'.join(re.escape(e) for _, e in MARKS)})"
)
#: What a control token looks like, in any family.
CONTROL = re.compile(r"<[^\s<>]+>|\[/?[A-Za-z_]+\]")

# Of a model behind a server nobody knows the tokens: these are the shapes of turns in the families at large.
_TURN = re.compile(r"<[|｜][^<>\s]+[|｜]>|<(?:start|end)_of_turn>|<\|?turn\|?>|</?s>|\[/?INST\]")


def say(text: str, *, reasons: bool = False) -> str:
    """The words of a sampled text without its reasoning, stripped; "" where reasoning was begun and not ended.

    Args:
        text: as it was sampled, control tokens and all.
        reasons: the prompt has begun the reasoning already.
    """
    said, at = list[str](), 0
    for mark in REASONING.finditer(text):
        if not reasons:
            said.append(text[at : mark.start()])
        if mark["end"] and not reasons:  # its begin was not sampled, and all before it is reasoning
            said.clear()
        reasons, at = mark["begin"] is not None, mark.end()
    parts = [] if reasons else [*said, text[at:]]
    return " ".join(part.strip() for part in parts if part.strip())  # apart, so that no two make a new mark


def leaves_open(text: str) -> bool:
    """Whether a text begins reasoning that it does not end."""
    marks = list(REASONING.finditer(text))
    return bool(marks) and marks[-1]["begin"] is not None


def say_behind_server(text: str) -> str:
    """The same of a server's answer, whose control tokens come as text where they come at all."""
    return _TURN.split(say(text), maxsplit=1)[0].strip()

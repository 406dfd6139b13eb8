"""What of a text is speech: without a policy's reasoning, a tokenizer's special tokens, a chat template's marks."""

import re
from functools import lru_cache

__all__ = ["noise", "speech"]

_REASONING = re.compile(r"<(think|thinking|reasoning|scratchpad|reflection)>.*?(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?(?:s|unk|pad|eos|bos|mask|think|thinking|reasoning|scratchpad|end_of_turn|start_of_turn)>|"
    r"\[/?(?:INST|SYS|PAD|UNK|CLS|SEP|MASK)\]|<</?SYS>>|\ufffd",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)  # asked for by the reading and by the measures of one turn
def speech(text: str) -> str:
    """The words that would be heard.

    Example: "<think>Be kind.</think>I hear you.<unk><unk>" is "I hear you."
    """
    return (
        " ".join(_TOKEN.sub(" ", _REASONING.sub(" ", text)).split())
        if "<" in text or "[" in text or "\ufffd" in text
        else text
    )


def noise(text: str) -> float:
    """Share of a text that is no speech, in [0, 1], by its words: each special token is one.

    Example: "I hear you.<unk><unk>" is 0.4.
    """
    reasoning = sum(len(found[0].split()) for found in _REASONING.finditer(text))
    tokens = len(_TOKEN.findall(_REASONING.sub(" ", text)))
    said = len(speech(text).split())
    return (reasoning + tokens) / max(1, reasoning + tokens + said)

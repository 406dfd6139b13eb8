"""A session to copy as one row of tokens, laid out exactly as GRPO's rollouts and a benchmark's prompts are."""

from collections.abc import Mapping, Sequence
from typing import Any

from therapysim.errors import ConfigError
from therapysim.models.chat_template import TurnTemplate
from therapysim.models.rendering import TemplateValue
from therapysim.train.sft.examples import Example

__all__ = ["IGNORED", "row_of", "rows_of"]

#: The label of a token that is read and not learned from.
IGNORED = -100


def rows_of(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    max_tokens: int,
    max_turn_tokens: int,
    chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
) -> list[dict[str, list[int]]]:
    """A row a session: ``input_ids``, and ``labels`` that are the ids at the therapist's tokens, else ``IGNORED``.

    Raises:
        ConfigError: no session leaves a turn to learn from, the chat template begins turns with reasoning, or it has no
            variable of a name.
        ModelError: the chat template does not suit sessions of many turns.
    """
    template = TurnTemplate(tokenizer, chat_template_kwargs)
    if template.reasons:
        raise ConfigError(
            "the chat template begins each turn with reasoning, and what others said has none to learn from; set "
            "chat_template_kwargs enable_thinking=false"
        )
    rows = [row_of(e, template, max_tokens=max_tokens, max_turn_tokens=max_turn_tokens) for e in examples]
    sound = [row for row in rows if any(label != IGNORED for label in row["labels"])]
    if examples and not sound:
        raise ConfigError(
            f"max_tokens is {max_tokens} and max_turn_tokens {max_turn_tokens}, and no therapist turn of "
            f"{len(examples)} sessions fits; raise them"
        )
    return sound


def row_of(example: Example, template: TurnTemplate, *, max_tokens: int, max_turn_tokens: int) -> dict[str, list[int]]:
    """One session's row; it ends before the first turn that does not fit, and a turn that is too long is only read."""
    messages = example.messages
    ids = template.opening(messages[:2])
    labels, said = [IGNORED] * len(ids), list[int]()
    for patient, therapist in zip(messages[1::2], messages[2::2], strict=False):
        heard = template.between(patient["content"], said) if said else []
        said = template.turn(therapist["content"])
        if len(ids) + len(heard) + len(said) > max_tokens:
            break
        ids += heard + said
        labels += [IGNORED] * len(heard) + (said if len(said) <= max_turn_tokens else [IGNORED] * len(said))
    return {"input_ids": ids, "labels": labels}

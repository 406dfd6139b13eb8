"""A session to copy as one row of tokens, laid out exactly as GRPO's rollouts and a benchmark's prompts are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage
from therapysim.models.chat_template import TurnTemplate
from therapysim.models.rendering import TemplateValue
from therapysim.train.sft.examples import Example

__all__ = ["IGNORED", "Row", "row_of", "rows_of"]

#: The label of a token that is read and not learned from.
IGNORED = -100


@dataclass(frozen=True)
class Row:
    """A session in tokens.

    Attributes:
        input_ids: up to the end of the last turn that fits.
        labels: as many; the ids at the tokens to learn from, else ``IGNORED``.
        learned: therapist turns to learn from.
        too_long: turns that are only read.
        left_out: turns behind the last that fits.
    """

    input_ids: list[int]
    labels: list[int]
    learned: int
    too_long: int
    left_out: int

    def then(self, read: list[int], said: list[int], *, learn: bool) -> "Row":
        """With one more turn, and what was read before it."""
        labels = [IGNORED] * len(read) + (said if learn else [IGNORED] * len(said))
        return Row(
            self.input_ids + read + said,
            self.labels + labels,
            self.learned + learn,
            self.too_long + (not learn),
            self.left_out - 1,
        )


def rows_of(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    max_tokens: int,
    max_turn_tokens: int,
    chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
) -> list[Row]:
    """A row a session, those without a turn to learn from too.

    Raises:
        ConfigError: there is no turn to learn from in any of them, the chat template begins turns with reasoning, or it
            has no variable of a name.
        ModelError: the chat template does not suit sessions of many turns.
    """
    template = TurnTemplate(tokenizer, chat_template_kwargs)
    if template.reasons:
        raise ConfigError(
            "the chat template begins each turn with reasoning, and what others said has none to learn from; set "
            "chat_template_kwargs enable_thinking=false"
        )
    rows = [row_of(e, template, max_tokens=max_tokens, max_turn_tokens=max_turn_tokens) for e in examples]
    if rows and not any(row.learned for row in rows):
        raise ConfigError(
            f"max_tokens is {max_tokens} and max_turn_tokens {max_turn_tokens}, and no therapist turn of "
            f"{len(examples)} sessions fits; raise them"
        )
    return rows


def row_of(example: Example, template: TurnTemplate, *, max_tokens: int, max_turn_tokens: int) -> Row:
    """One session's row: its therapist's tokens are learned from, each turn's end token among them.

    It ends before the first turn that does not fit into ``max_tokens``; of a turn of more than ``max_turn_tokens``, its
    end token included, nothing is learned.
    """
    row = Row([], [], 0, 0, len(example.messages) // 2)
    for read, said in _exchanges(example.messages, template):
        if len(row.input_ids) + len(read) + len(said) > max_tokens:
            break
        row = row.then(read, said, learn=len(said) <= max_turn_tokens)
    return row


def _exchanges(messages: Sequence[ChatMessage], template: TurnTemplate) -> Iterator[tuple[list[int], list[int]]]:
    """What is read before each therapist turn, from the last on, and the turn with its end token."""
    said: list[int] = []
    for i in range(2, len(messages), 2):
        heard = template.between(messages[i - 1]["content"], said)
        read = heard if i > 2 else template.opening(messages[:2])
        said = template.turn(messages[i]["content"])
        yield read, said

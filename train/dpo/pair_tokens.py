"""A pair as three rows of tokens, laid out exactly as GRPO's rollouts and a benchmark's prompts are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from therapysim.errors import ConfigError
from therapysim.models.chat_template import TurnTemplate
from therapysim.models.rendering import TemplateValue
from therapysim.train.dpo.pairs import Pair

__all__ = ["PairRow", "Told", "fitting", "pair_rows"]


@dataclass(frozen=True)
class PairRow:
    """A pair in tokens.

    Attributes:
        prompt_ids: up to where the therapist begins to speak.
        chosen_ids, rejected_ids: a whole turn each, with the token that ends it.
    """

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True)
class Told:
    """How many pairs are learned from, and how many not.

    Attributes:
        used: those that fit.
        too_long: those of more than ``max_tokens``.
        cut: those whose chosen answer has more than ``max_turn_tokens``: a policy would be cut off before its end.
        same: those whose answers are the same tokens.
    """

    used: int
    too_long: int
    cut: int
    same: int


def pair_rows(
    pairs: Sequence[Pair], tokenizer: Any, chat_template_kwargs: Mapping[str, TemplateValue] | None = None
) -> list[PairRow]:
    """A row a pair, of any length.

    Raises:
        ConfigError: the chat template begins turns with reasoning, or it has no variable of a name.
        ModelError: the chat template does not suit sessions of many turns.
    """
    template = TurnTemplate(tokenizer, chat_template_kwargs)
    if template.reasons:
        raise ConfigError(
            "the chat template begins each turn with reasoning, and the answers of pairs have none to learn from; set "
            "chat_template_kwargs enable_thinking=false"
        )
    return [
        PairRow(
            template.prompt(pair.prompt),
            template.turn(pair.chosen[0]["content"]),
            template.turn(pair.rejected[0]["content"]),
        )
        for pair in pairs
    ]


def fitting(rows: Sequence[PairRow], *, max_tokens: int, max_turn_tokens: int) -> tuple[list[PairRow], Told]:
    """The rows that fit, none of them cut, and how many do not.

    Raises:
        ConfigError: none does.
    """
    short = [row for row in rows if row.length <= max_tokens]
    whole = [row for row in short if len(row.chosen_ids) <= max_turn_tokens]
    unlike = [row for row in whole if row.chosen_ids != row.rejected_ids]
    if not unlike:
        raise ConfigError(
            f"max_tokens is {max_tokens} and max_turn_tokens {max_turn_tokens}, and none of {len(rows)} pairs fits; "
            "raise them"
        )
    told = Told(len(unlike), len(rows) - len(short), len(short) - len(whole), len(whole) - len(unlike))
    return unlike, told

"""A tokenizer's chat template taken apart: what stands before the first therapist turn, and between two of them."""

from collections.abc import Collection, Sequence
from typing import Any

from therapysim.errors import ModelError
from therapysim.models.chat import ChatMessage

__all__ = ["TurnTemplate"]

# Stands where the therapist speaks; what the template puts after it is what lies between two turns.
_MARK = "THERAPISTSPEAKS"
_SYSTEM = "A system message."  # what it says makes no difference: the cut lies behind it


class TurnTemplate:
    """Renders a growing session piece by piece, so that tokens once sampled are never tokenised again.

    The pieces come from the template itself: a session with a marked therapist turn is rendered, and what follows the
    mark is cut out. That is right only for a template that appends, one whose text for n turns begins its text for
    n + 1 turns; the constructor checks it.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Take the template apart.

        Raises:
            ModelError: there is no chat template, it takes no system message, or it rewrites earlier turns.
        """
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise ModelError(f"{self._name}: it has no chat template; choose an instruction-tuned model")
        self._check_append_only()

    def opening(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Token ids of the messages so far, up to where the therapist begins to speak."""
        return self._encode(self._render(messages))

    def between(self, patient: str, said: Sequence[int], ends: Collection[int]) -> list[int]:
        """Token ids from the end of one therapist turn to the begin of the next.

        Args:
            patient: the patient's message as the policy reads it.
            said: the ids of the turn before; if it was cut short, its end token is among those returned.
            ends: ids of all tokens that end a turn.
        """
        text = self._render([*_marked("-"), {"role": "user", "content": patient}])
        ids = self._encode(text[text.index(_MARK) + len(_MARK) :])
        ended = bool(said) and said[-1] in ends and ids[:1] == [said[-1]]
        return ids[1:] if ended else ids

    def turn(self, text: str) -> list[int]:
        """Token ids of a whole therapist turn, with the token that the template ends it with."""
        return self._encode(text) + self.between("", (), ())[:1]

    @property
    def _name(self) -> str:
        return f"tokenizer '{self.tokenizer.name_or_path}'"

    def _encode(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        try:
            return str(self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False))
        except Exception as error:  # jinja2 raises errors of its own, templates any they like
            raise ModelError(
                f"{self._name}: its chat template cannot render system, user and assistant messages: {error}"
            ) from error

    def _check_append_only(self) -> None:
        """The text of one, two and three patient messages: each must begin the next."""
        messages, before = list(_marked("one")[:2]), ""
        for turn in ("two", "three", "end"):
            text = self._render(messages)
            if not text.startswith(before):
                raise ModelError(
                    f"{self._name}: its chat template rewrites earlier turns when a session goes on, so sampled tokens "
                    f"would no longer be what the policy reads. Expected a template that only appends; found\n"
                    f"{text[: len(before)]!r}\nwhere it had written\n{before!r}"
                )
            before = f"{text}{_MARK}{turn}"
            messages += [{"role": "assistant", "content": f"{_MARK}{turn}"}, {"role": "user", "content": turn}]


def _marked(patient: str) -> list[ChatMessage]:
    """A session of one exchange, with the mark where the therapist speaks."""
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": patient},
        {"role": "assistant", "content": _MARK},
    ]

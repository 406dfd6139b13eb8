"""A tokenizer's chat template taken apart: what stands before the first therapist turn, and between two of them."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from therapysim.agents.therapist import SYSTEM_PROMPT
from therapysim.chat import ChatMessage
from therapysim.errors import ModelError

__all__ = ["TurnTemplate"]

# Stands where the therapist speaks; what the template puts after it is what lies between two turns.
_MARK = "THERAPISTSPEAKS"
# Stands where the patient speaks.
_PATIENT = "PATIENTSPEAKS"
# What a patient might say, and a template might make something else of than the words themselves.
_PROBES = (
    "",
    "-",
    " lines\n\nof  their own \r\n",
    "\u00a0Don't <b>\u201cgo\u201d</b> & {{ m }} {% if x %}",
    "<think>no</think> [INST] </s> <tool_response>x</tool_response>",
    "[USER STATE]\nDiagnosis: x\n---\nPatient: Well.",
)


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
        self._splice = self._find_splice()

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
        ids = self._encode(self._splice(patient) if self._splice else self._answer(patient))
        ended = bool(said) and said[-1] in ends and ids[:1] == [said[-1]]
        return ids[1:] if ended else ids

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

    def _answer(self, patient: str) -> str:
        """What the template writes after a therapist turn, up to where the next one begins."""
        text = self._render([*_marked("-"), {"role": "user", "content": patient}])
        return text[text.index(_MARK) + len(_MARK) :]

    def _find_splice(self) -> Callable[[str], str] | None:
        """Does as ``_answer`` without rendering, by setting the patient's words, or these stripped, into its text.

        None for a template that makes more of the words; and whatever one does, it must do alike to all that is tried.
        """
        before, mark, after = self._answer(_PATIENT).partition(_PATIENT)
        probes = (*_PROBES, f" {' '.join(self.tokenizer.all_special_tokens)} ")
        for wording in (str, str.strip):

            def splice(patient: str, wording: Callable[[str], str] = wording) -> str:
                return before + wording(patient) + after

            if mark and all(self._agrees(splice, probe) for probe in probes):
                return splice
        return None

    def _agrees(self, splice: Callable[[str], str], probe: str) -> bool:
        try:
            return splice(probe) == self._answer(probe)
        except ModelError:  # a template may refuse some texts, which are then to be refused when they come
            return False

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
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": patient},
        {"role": "assistant", "content": _MARK},
    ]

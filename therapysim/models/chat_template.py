"""A tokenizer's chat template taken apart: what stands before the first therapist turn, and between two of them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from therapysim.errors import ConfigError, ModelError
from therapysim.models.rendering import HERE, ChatMessage, Rendering, TemplateValue
from therapysim.models.speech import MARKS, REASONING

__all__ = ["TurnTemplate"]

# Settings of templates that decide how earlier turns are shown; tried where a template will not do, to say which does.
_REMEDIES: tuple[dict[str, TemplateValue], ...] = (
    {"enable_thinking": False},
    {"preserve_thinking": False},
    {"preserve_thinking": True},
    {"date_string": "26 Jul 2024"},
)
_JOINED = "its tokenizer joins the end of a message with what follows it, so that no turn keeps its tokens"
_SYSTEM, _PATIENT = "A system message.", "PATIENTSPEAKS"


class TurnTemplate(Rendering):
    """Renders a growing session piece by piece, so that tokens once sampled are never tokenised again.

    The pieces come from the template itself: a session with a marked therapist turn is rendered, and what follows the
    mark is cut out. They are right where a session's text, rendered whole for the next turn, begins with what the turn
    before was sampled after, and with the turn; the constructor plays that through, token by token.

    Args:
        tokenizer: of the policy.
        kwargs: variables of its template.

    Raises:
        ConfigError: the template has no variable of a name.
        ModelError: there is no chat template, it takes no system message, it rewrites earlier turns, or no token of
            its own ends a turn; says what to do.
    """

    def __init__(
        self, tokenizer: Any, kwargs: Mapping[str, TemplateValue] | None = None, *, advise: bool = True
    ) -> None:
        super().__init__(tokenizer, kwargs)
        #: Whether an earlier turn's reasoning stays where it was; else reasoning breaks a turn off.
        self.keeps_reasoning = True
        if fault := self._fault():
            raise ModelError(f"{self.name}: {fault}{self._remedy() if advise else ''}")

    def opening(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Token ids of the messages so far, up to where the therapist begins to speak."""
        return self.prompt(messages)

    def between(self, patient: str, said: Sequence[int]) -> list[int]:
        """Token ids from the end of one therapist turn to the begin of the next.

        Args:
            patient: the patient's message as the policy reads it.
            said: the ids of the turn before; if it was cut short, its end token is among those returned.
        """
        ids = self.encode(self.text(_exchange(HERE, patient)).partition(HERE)[2])
        return ids[1:] if said and said[-1] == self.closing == ids[0] else ids

    def turn(self, text: str) -> list[int]:
        """Token ids of a whole therapist turn, with the token that the template ends it with."""
        before, whole = self.text(_exchange("-")[:2]), self.text(_exchange(text))
        behind = self.text(_exchange(HERE)).partition(HERE)[2]
        return self._after(before, whole[len(before) : len(whole) - len(behind)]) + self.encode(behind)[:1]

    def thought(self, ids: Sequence[int]) -> int:
        """How many of a turn's first tokens are reasoning, its end mark included."""
        body = list(ids[:-1]) if ids and ids[-1] == self.closing else list(ids)
        text = self.decode(body)
        marks = list(REASONING.finditer(text))
        unfinished = marks[-1]["begin"] is not None if marks else self.reasons
        behind = len(text) if unfinished else (marks[-1].end() if marks else 0)
        return next((n for n in range(len(body) + 1) if len(self.decode(body[:n])) >= behind), len(body))

    def broken_by(self, text: str) -> Any:
        """As a benchmark's; and reasoning, where the template would drop it from earlier turns."""
        marks = [super().broken_by(text), None if self.keeps_reasoning else REASONING.search(text)]
        return min((m for m in marks if m), key=lambda m: m.start(), default=None)

    def _after(self, before: str, text: str) -> list[int]:
        """Token ids of a text where it stands: some tokenizers write the begin of a text otherwise."""
        return self.encode(before + text)[len(self.encode(before)) :]

    def _fault(self) -> str:
        """Why the template does not suit sessions of many turns; "" where it does."""
        try:
            self.text(_exchange("-"))
        except ModelError as error:
            return str(error).removeprefix(f"{self.name}: ")
        lead = self.before[len(self.prompted) :] if self.before.startswith(self.prompted) else ""
        if lead.strip():
            return (
                f"before an earlier turn its chat template writes {lead!r}, whatever the policy sampled there itself, "
                "so that no row of tokens is what the next turn reads"
            )
        if self._asks_for_day():
            return "its chat template writes the day of the run into the prompt, and no two days would prompt alike"
        fault = "" if self.reasons else self._unlike(f"{lead}And one.", f"{lead}And two.")
        return fault or self._ending_fault() or self._reasoning_fault(lead)

    def _asks_for_day(self) -> bool:
        """Whether a prompt hangs on the date: a clock that nobody can read breaks such a template."""
        if "strftime_now" not in self.source:
            return False
        try:
            self.text(_exchange("-"), strftime_now="")
        except ModelError:
            return True
        return False

    def _ending_fault(self) -> str:
        """Whether one token ends a turn, and stays there."""
        if self.closing is None:
            return (
                "no token of its own ends a turn in its chat template, so that no policy could learn to stop; expected "
                "one such as <|im_end|>"
            )
        if self.encode(self.behind)[0] != self.closing:
            said, kept = self.decode([self.closing]), self.decode(self.encode(self.behind)[:1])
            return f"a turn ends with {said} in its chat template, and once another follows, with {kept}"
        return ""

    def _reasoning_fault(self, lead: str) -> str:
        """A template that drops reasoning from earlier turns will do where none is to be expected."""
        begin, end = next((pair for pair in MARKS if pair[1] in self.source), MARKS[0])
        begun = "" if self.reasons else f"{lead}{begin}"
        turns = (f"{begun}A thought.{end}And one.", f"{begun}Another.{end}And two.", f"{begun}One that came to no word")
        if not self._unlike(*turns):
            return ""
        self.keeps_reasoning = False
        if self.reasons or self.kwargs.get("enable_thinking") is True:
            return (
                "its chat template has a policy reason before each turn and drops that from earlier turns, so that no "
                "row of tokens is what the next turn reads"
            )
        return ""

    def _unlike(self, *turns: str) -> str:
        """Where a session in which these turns are sampled, laid out piece by piece, is not what it is rendered whole.

        Source: what a benchmark does, ``Rendering.prompt`` of the messages so far.
        """
        chat = _exchange("")[:2]
        row = self.opening(chat)
        for turn in turns:
            before = self.text(chat) + turn
            if self.encode(before)[: len(row)] != row:
                return _JOINED
            said = [*self._after(self.text(chat), turn), *([] if self.closing is None else [self.closing])]
            row += said + self.between(_PATIENT, said)
            chat += [self.read(said, said[-1:] if self.closing is not None else ()).message, *_exchange("")[:2][1:]]
            whole = self.text(chat)
            if not whole.startswith(before):
                return _rewritten(before, whole)
            if self.closing is not None and row != self.prompt(chat):
                return _JOINED
        return ""

    def _remedy(self) -> str:
        """What to do about it: a setting of the template with which it would do, or another model."""
        for more in _REMEDIES:
            if all(name in self.source and self.kwargs.get(name) != value for name, value in more.items()):
                with suppress(ConfigError, ModelError):
                    TurnTemplate(self.tokenizer, {**self.kwargs, **more}, advise=False)
                    told = " ".join(f"{name}={json.dumps(value)}" for name, value in more.items())
                    return f". It will do with chat_template_kwargs {told}"
        return ". Choose a model with another template"


def _rewritten(before: str, found: str) -> str:
    return (
        "its chat template rewrites earlier turns when a session goes on, so sampled tokens would no longer be what "
        f"the policy reads. Expected a template that only appends; found\n{found[: len(before)]!r}\nwhere it had "
        f"written\n{before!r}"
    )


def _exchange(therapist: str, patient: str = _PATIENT) -> list[ChatMessage]:
    """A session up to the patient's second message."""
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": _PATIENT},
        {"role": "assistant", "content": therapist},
        {"role": "user", "content": patient},
    ]

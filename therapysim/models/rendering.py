"""Chats as a model reads them, and what it said read back: one way for training and benchmark."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from therapysim.errors import ConfigError, ModelError
from therapysim.models.speech import CONTROL, REASONING, leaves_open, say
from therapysim.records import hint

__all__ = ["ChatMessage", "Rendering", "Spoken", "TemplateValue"]

#: What a variable of a chat template may be set to.
TemplateValue = bool | int | float | str

# Stands where the assistant speaks; what the template puts around it is what lies around a turn.
HERE = "THERAPISTSPEAKS"
_PATIENT = "PATIENTSPEAKS"


class ChatMessage(TypedDict):
    """One message of a chat, as chat templates and chat servers take it.

    ``sampled`` is what a model sampled, its reasoning and white space included, where ``content`` is not all of it.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    sampled: NotRequired[str]


@dataclass(frozen=True)
class Spoken:
    """A sampled turn, read.

    Attributes:
        ids: what is kept of it: up to its end token, or to where a control token broke it off.
        words: what is said aloud.
        sampled: the text of ``ids`` without the end token, where it is more than the words: reasoning, white space.
        ended: it came to an end token.
    """

    ids: list[int]
    words: str
    sampled: str
    ended: bool

    @property
    def message(self) -> ChatMessage:
        """The turn as a chat goes on from it."""
        said: ChatMessage = {"role": "assistant", "content": self.words}
        return {**said, "sampled": self.sampled} if self.sampled else said


class Rendering:
    """A tokenizer's chat template with its settings.

    An earlier turn is shown as it was sampled, its reasoning included, as far as the template lets it: a row of tokens
    cannot take back what a later turn was sampled after. What a generation prompt adds to a turn's beginning, such as
    an empty reasoning where thinking is off, stays there too. Control tokens spelt out in a message are broken up.

    Args:
        tokenizer: with a chat template.
        kwargs: variables of the template, such as ``{"enable_thinking": False}``.

    Raises:
        ConfigError: the template has no variable of a name.
        ModelError: there is no chat template.
    """

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, TemplateValue] | None = None) -> None:
        self.tokenizer, self.kwargs = tokenizer, dict(kwargs or {})
        self.name = f"tokenizer '{tokenizer.name_or_path}'"
        if not tokenizer.chat_template:
            raise ModelError(f"{self.name}: it has no chat template; choose an instruction-tuned model")
        self.source = str(tokenizer.chat_template)
        self._check_names()
        self.kept = ""  # what of the generation prompt stays in front of an earlier turn
        self._control: re.Pattern[str] | None = None
        self.prompted, self.before, self.behind = self._take_apart()
        self._keep_prompted()
        self.reasons = leaves_open(self.prompted.rpartition(_PATIENT)[2])
        self.address = self._address()
        self._control = _any_of({*self._special(), *self._framing()})

    def text(self, messages: Iterable[ChatMessage], *, prompt: bool = True, **more: Any) -> str:
        """A chat as text; ``prompt`` adds what an answer begins behind.

        Raises:
            ModelError: the template cannot lay these messages out.
        """
        chat = [self._laid_out(message) for message in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat, add_generation_prompt=prompt, tokenize=False, **self.kwargs, **more
                )
            )
        except Exception as error:  # jinja2 raises errors of its own, templates any they like
            raise ModelError(
                f"{self.name}: its chat template cannot render system, user and assistant messages: {error}"
            ) from error

    def prompt(self, messages: Iterable[ChatMessage]) -> list[int]:
        """Token ids of a chat, up to where the assistant begins to speak."""
        return self.encode(self.text(messages))

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text, in which control tokens are what they say."""
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, control tokens too."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def ends(self, known: int | Iterable[int] | None) -> list[int]:
        """Ids of every token that ends a turn, in order; the tokenizer's own end may be a wrong one, and is no harm.

        Args:
            known: what the model's generation settings end a text with.
        """
        also = [known] if isinstance(known, int) else list(known or ())
        own = self.tokenizer.eos_token_id
        if own is not None and CONTROL.fullmatch(str(self.tokenizer.eos_token)):
            also.append(own)
        return sorted({*also, *([] if self.closing is None else [self.closing])})

    @cached_property
    def closing(self) -> int | None:
        """The id of the token that the template ends a turn with; None where there is none."""
        return self._single(self._final()) if self._final() else self._single(self.behind)

    def read(self, ids: Sequence[int], ends: Collection[int]) -> Spoken:
        """What a sampled turn says.

        A control token that is no end breaks the turn off: it and all behind it are left out. So is an end token that
        the template does not write itself, since no later turn would read it.
        """
        stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        body, text = self._unbroken(list(ids[:stop]))
        ended = len(body) == stop < len(ids)
        closed = [*body, ids[stop]] if ended and ids[stop] == self.closing else body
        if self.address:
            return Spoken(closed, self._addressed(text), "", ended)
        words = say(text, reasons=self.reasons)
        return Spoken(closed, words, text if text != words else "", ended)

    def plain(self, text: str) -> str:
        """A message's text with the control tokens that it spells out broken up: ``< |im_end|>``."""
        broken = self._control.sub(_broken, text) if self._control else text
        return REASONING.sub(_broken, broken)

    def broken_by(self, text: str) -> "re.Match[str] | None":
        """The first thing in a sampled text that no turn may hold."""
        return self._control.search(text) if self._control else None

    def _unbroken(self, ids: list[int]) -> tuple[list[int], str]:
        """The tokens before the first control token, sampled as one or spelt out, and their text."""
        text = self.decode(ids)
        mark = None if self.address else self.broken_by(text)
        if mark is None:
            return ids, text
        for n in range(len(ids), -1, -1):
            part = self.decode(ids[:n])
            if len(part) <= mark.start() and text.startswith(part):
                break
        return ids[:n], part

    def _addressed(self, text: str) -> str:
        """The part that goes to the user, where a template has several addressees in a turn."""
        _, found, words = text.partition(self.address)
        mark = self.broken_by(words)
        return (words[: mark.start()] if mark else words).strip() if found else ""

    def _laid_out(self, message: ChatMessage) -> dict[str, str]:
        words, sampled = self.plain(message["content"]), message.get("sampled", "")
        if message["role"] != "assistant":
            return {"role": message["role"], "content": words}
        if sampled or not leaves_open(self.kept):
            words = self.kept + (sampled or words)
        said = {"role": "assistant", "content": words}
        # Given a reasoning, though an empty one, the templates look for none in the content, and leave it whole.
        return {**said, "reasoning_content": ""} if sampled or self.kept else said

    def _take_apart(self) -> tuple[str, str, str]:
        """A prompt; the same with an answer in it, before the answer, and behind it."""
        for head in ([_said("system", "A system message.")], []):  # some templates take no system message
            chat = [*head, _said("user", _PATIENT)]
            more = [*chat, _said("assistant", HERE), _said("user", _PATIENT)]
            try:
                before, _, behind = self.text(more).partition(HERE)
                return self.text(chat), before, behind
            except ModelError:
                continue
        return "", "", ""

    def _keep_prompted(self) -> None:
        """Leaves what a turn begins with in its place, unless the template will not have it there."""
        if not self.prompted.startswith(self.before):
            return
        self.kept = self.prompted[len(self.before) :]
        if not leaves_open(self.kept):
            kept = self._take_apart()
            if kept[1] == self.prompted:
                self.before = self.prompted
            else:
                self.kept = ""

    def _final(self) -> str:
        """What follows the last word of a chat that ends with it."""
        try:
            chat = [_said("system", "A system message."), _said("user", _PATIENT), _said("assistant", HERE)]
            return self.text(chat, prompt=False).partition(HERE)[2]
        except ModelError:
            return ""

    def _single(self, text: str) -> int | None:
        """The first token of a text, where it is a control token."""
        first = self.encode(text)[:1]
        return first[0] if first and CONTROL.fullmatch(self.decode(first)) else None

    def _address(self) -> str:
        """What a model has to write before its words itself: a template's channel or addressee."""
        lead = self.before[len(self.prompted) :] if self.before.startswith(self.prompted) else ""
        return "" if REASONING.search(lead) else lead.strip()

    def _special(self) -> set[str]:
        known = {str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        return {t for t in {*known, *map(str, self.tokenizer.all_special_tokens)} if CONTROL.fullmatch(t)}

    def _framing(self) -> set[str]:
        """What the template itself writes around messages that looks like a control token."""
        return {mark[0] for mark in CONTROL.finditer(self.prompted + self.behind + self._final())}

    def _check_names(self) -> None:
        for name in self.kwargs:
            if not re.search(rf"\b{re.escape(name)}\b", self.source):
                read = sorted(set(re.findall(r"\b(\w+) is (?:not )?(?:un)?defined", self.source)))
                raise ConfigError(
                    f"chat_template_kwargs has {name!r}, and the chat template of {self.name} reads nothing of that "
                    f"name{hint(name, read)}; it asks for {', '.join(read) or 'no settings'}"
                )


def _said(role: Literal["system", "user", "assistant"], content: str) -> ChatMessage:
    return {"role": role, "content": content}


def _any_of(texts: Iterable[str]) -> "re.Pattern[str] | None":
    """Finds any of the texts but marks of reasoning; the longest first."""
    wanted = sorted((t for t in texts if not REASONING.fullmatch(t)), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, wanted))) if wanted else None


def _broken(mark: "re.Match[str]") -> str:
    return f"{mark[0][0]} {mark[0][1:]}"

"""A patient worded by a language model: prompt, guard, another draw, and the scripted line where all else fails."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from therapysim.errors import ConfigError, ModelError, PatientError
from therapysim.models.chat import ChatMessage, ChatModel, Sampling, calls_at_once, count_tokens, interrupt
from therapysim.personas.llm.guard import Feel, GuardSettings, Verdict, inspect
from therapysim.personas.llm.prompts import PROMPTS, Prompt, chat_for, instructions
from therapysim.personas.patient import Cue, Line, NoLine, Patient
from therapysim.visible import visible

__all__ = ["LLMPatient", "LLMPatientSettings"]


@dataclass(frozen=True, slots=True)
class LLMPatientSettings:
    """How lines are drawn and judged.

    Attributes:
        max_draws: lines drawn for one cue before the scripted line replaces them; the first draw counts.
        draws_at_once: how many of these are asked for in one call. 1 wastes nothing; more spare a slow server's round
            trips. The line is the same: the earliest draw that the guard accepts.
        max_chars: a longer reply is cut there before anything reads it: a server may answer without end.
        context_chars: the model sees the newest messages of so many characters together; a brief prompt shows two.
        prompt: "full", or "brief", which the shipped adapter was trained on.
        sampling: how each line is drawn.
        guard: what is refused.
    """

    max_draws: int = 3
    draws_at_once: int = 1
    max_chars: int = 4_000
    context_chars: int = 12_000
    prompt: Prompt = "full"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=64, temperature=0.5, top_p=0.9))
    guard: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        for name in ("max_draws", "draws_at_once", "max_chars", "context_chars"):
            if getattr(self, name) < 1:
                raise ConfigError(f"LLMPatientSettings: {name} is {getattr(self, name)}, expected at least 1")
        if self.prompt not in PROMPTS:
            raise ConfigError(f"LLMPatientSettings: prompt is {self.prompt!r}, expected one of {', '.join(PROMPTS)}")


class LLMPatient:
    """A patient whose words a chat model finds, and a guard accepts.

    Equal cues give equal lines, as far as the model answers equal seeds equally. Each ``Line`` says how it came
    about: its source, and the first fault of every draw that was refused.
    """

    def __init__(
        self, model: ChatModel, fallback: Patient, feel: Feel, settings: LLMPatientSettings | None = None
    ) -> None:
        """A patient.

        Args:
            model: draws the lines.
            fallback: words a cue when every draw was refused.
            feel: reads texts into affect, shape (n, 4).
            settings: how lines are drawn and judged; None takes the defaults.
        """
        self.model = model
        self.fallback = fallback
        self.feel = feel
        self.settings = settings or LLMPatientSettings()

    def __deepcopy__(self, memo: dict[int, Any]) -> "LLMPatient":
        return self  # it holds no session, so the copy of an environment's spec shares it, and its model or client

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue, in order; refused lines of the whole batch are drawn again together.

        Raises:
            PatientError: the model gave no answer; where it answered some of the cues, the error holds their lines.
        """
        drawn = _Drawn(cues)
        for first in range(0, self.settings.max_draws, self.settings.draws_at_once):
            draws = range(first, min(first + self.settings.draws_at_once, self.settings.max_draws))
            self._draw(drawn, [(i, draw) for draw in draws for i in drawn.waiting])
        return self._fill(drawn)

    @property
    def at_once(self) -> int:
        """How many calls from threads the model takes at once."""
        return calls_at_once(self.model)

    def interrupt(self) -> None:
        """Breaks off what the model is asked, where it can be."""
        interrupt(self.model)

    def _draw(self, drawn: "_Drawn", asked: Sequence[tuple[int, int]]) -> None:
        """Another line for each (cue, draw), all in one call; judged, and kept where the guard accepts it."""
        if not asked:
            return
        cues = [drawn.cues[i] for i, _ in asked]
        chats = [chat_for(cue, self.settings.prompt, self.settings.context_chars) for cue in cues]
        texts, reasons = self._reply(drawn, chats, [_seed(drawn.cues[i].seed, draw) for i, draw in asked])
        answered = [k for k, text in enumerate(texts) if text is not None]
        # The guard judges what will be heard: a sign that nobody sees could part a word that it looks for.
        said = [visible(str(texts[k])[: self.settings.max_chars]) for k in answered]
        meant = [cues[k] for k in answered]
        for k, (read, written) in zip(
            answered, count_tokens(self.model, [chats[k] for k in answered], said), strict=True
        ):
            drawn.count(asked[k][0], read, written)
        verdicts = inspect(said, meant, self.feel, self.settings.guard, [instructions(cue) for cue in meant])
        judged = dict(zip(answered, verdicts, strict=True))
        for k, (i, _) in enumerate(asked):
            drawn.take(i, judged.get(k), reasons[k])

    def _reply(
        self, drawn: "_Drawn", chats: Sequence[Sequence[ChatMessage]], seeds: Sequence[int]
    ) -> tuple[Sequence[str | None], Sequence[str]]:
        """A text a chat, or None and why there is none."""
        reasons: Sequence[str] = [""] * len(chats)
        try:
            texts: Sequence[str | None] = self.model.reply(chats, self.settings.sampling, seeds)
        except ModelError as error:
            if error.replies is None:  # as a whole: the session's batch tries each cue by itself
                raise PatientError(f"LLM patient: the model gave no line for {len(chats)} cues: {error}") from error
            drawn.error, texts, reasons = error, error.replies, error.reasons
        if len(texts) != len(chats) or len(reasons) != len(chats):
            raise PatientError(f"LLM patient: the model gave {len(texts)} lines for {len(chats)} cues")
        return texts, reasons

    def _fill(self, drawn: "_Drawn") -> list[Line]:
        """All lines in order, scripted ones where the model's were refused."""
        missing = drawn.waiting
        scripted = self.fallback.speak([drawn.cues[i] for i in missing]) if missing else []
        for i, line in zip(missing, scripted, strict=True):
            drawn.lines[i] = Line(line.text, "replaced", drawn.refused[i], *drawn.tokens[i])
        if drawn.lost:
            names = ", ".join(sorted({drawn.cues[i].persona.id for i in drawn.lost}))
            raise PatientError(
                f"LLM patient: the model gave no line for {len(drawn.lost)} of {len(drawn.cues)} cues ({names}): "
                f"{drawn.error}",
                lines=[drawn.lines.get(i) or NoLine(drawn.lost[i]) for i in range(len(drawn.cues))],
            ) from drawn.error
        return [drawn.lines[i] for i in range(len(drawn.cues))]


class _Drawn:
    """What became of each cue so far: a line, faults of refused ones, or no answer at all."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self.cues = cues
        self.lines: dict[int, Line] = {}
        self.refused: dict[int, tuple[str, ...]] = dict.fromkeys(range(len(cues)), ())
        self.tokens: dict[int, tuple[int, int]] = dict.fromkeys(range(len(cues)), (0, 0))
        self.lost: dict[int, str] = {}  # and why
        self.error: ModelError | None = None

    @property
    def waiting(self) -> list[int]:
        """Cues that have no line yet, and may get one."""
        return [i for i in range(len(self.cues)) if i not in self.lines and i not in self.lost]

    def count(self, i: int, read: int, written: int) -> None:
        """Adds what one draw of a cue cost."""
        self.tokens[i] = self.tokens[i][0] + read, self.tokens[i][1] + written

    def take(self, i: int, verdict: Verdict | None, reason: str) -> None:
        """Keeps the first accepted line of a cue; None is no answer, for that reason."""
        if i in self.lines or i in self.lost:
            return
        if verdict is None:
            self.lost[i] = reason or str(self.error)
        elif verdict.fault:
            self.refused[i] += (verdict.fault,)
        else:
            self.lines[i] = Line(verdict.line, "llm", self.refused[i], *self.tokens[i])


def _seed(seed: int, draw: int) -> int:
    """A sampling seed of its own for each draw of each cue."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])

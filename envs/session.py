"""What a session is made of: its settings, its start, its state after each turn, and what a turn brought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from therapysim.envs.dynamics import DynamicsSettings
from therapysim.envs.latent import Latent
from therapysim.envs.screen import Screened, ScreenSettings
from therapysim.errors import ActionError, EpisodeError, PersonaError, require_count, require_number
from therapysim.messages import Message, Transcript
from therapysim.personas.load import open_persona
from therapysim.personas.own import is_file_name
from therapysim.personas.patient import Line
from therapysim.personas.schema import SPLITS, Persona
from therapysim.rewards.rubric import Score
from therapysim.state import Ending, Reading, State, Transition

__all__ = ["Session", "SessionConfig", "Start", "Turn", "require_texts"]


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Settings of a session.

    Attributes:
        max_turns: therapist turns until the session is cut off.
        kappa: κ in [0, 1], how far e_t follows the matrix's reading of the patient's words (1) rather than the
            mood that the dynamics committed to (0).
        screen, dynamics: settings of those parts.
    """

    max_turns: int = 20
    kappa: float = 0.5
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    dynamics: DynamicsSettings = field(default_factory=DynamicsSettings)

    def __post_init__(self) -> None:
        require_count("max_turns", self.max_turns, 1)
        require_number("kappa", self.kappa, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Start:
    """How one session begins.

    Attributes:
        seed: at least 0; the session's only source of chance.
        persona: an id, a patient of one's own, which is met under the id that ``personas.load.open_persona`` gives it,
            or None for one drawn from ``split`` by the seed.
        split: train, dev or test; nothing else, so that no session meets a test patient unasked.
        vary: a variant of the training patient, drawn by the seed, in its place; see ``personas.vary``.
    """

    seed: int
    persona: str | Persona | None = None
    split: str = "train"
    vary: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise PersonaError(f"persona split is {self.split!r}, expected one of {', '.join(SPLITS)}")

    @classmethod
    def meeting(cls, seed: int, named: str, *, vary: bool = False) -> Self:
        """A session with a patient as settings name it: an id, or a file of one's own, which is read here.

        Names from outside the process are no settings: give ids alone to whoever sends them.

        Raises:
            PersonaError: the file is wrong, or says something else than it did.
        """
        return cls(seed, open_persona(named) if is_file_name(named) else named, vary=vary)

    @property
    def patient(self) -> str | None:
        """The id of the patient that is named; None where the seed draws one."""
        return self.persona.id if isinstance(self.persona, Persona) else self.persona


@dataclass(frozen=True, slots=True)
class Session:
    """One session, complete and unchanging: a turn makes a new one. Keep it to branch from it later.

    Attributes:
        transcript: what both said.
        patient_view: the same as the patient was shown it, attacks neutralised; all that a patient ever reads.
        states: s_0 … s_t, one for each of the patient's turns.
        latent: mood, alliance and facts told, which no policy is shown.
        patient_reading: of the patient's last words.
        done: no further turn can be taken.
        failed: the patient could not answer; such a session has no score.
        failure: why, in a line without secrets; "" while it has not failed.
        asked, reflected: turns so far that held a question, a reflection.
        copy: 0; of n equal starts of one ``reset``, 0 to n - 1. Two copies that are told the same are equal.
    """

    persona: Persona
    seed: int
    transcript: Transcript
    patient_view: Transcript
    states: tuple[State, ...]
    latent: Latent
    patient_reading: Reading
    ending: Ending = ""
    done: bool = False
    failed: bool = False
    asked: int = 0
    reflected: int = 0
    failure: str = ""
    copy: int = field(default=0, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, int, int]:
        """Persona, seed and copy: the same in every turn, and another for each session of one ``reset``.

        For a policy that keeps something of a session: a turn makes a new object, and Python gives its ``id`` again.
        A branch has the key of the session that it parts from, and a session that is begun anew the key that it had:
        compare the transcript too.
        """
        return self.persona.id, self.seed, self.copy

    @property
    def state(self) -> State:
        """The newest state."""
        return self.states[-1]

    @property
    def messages(self) -> tuple[Message, ...]:
        """What both said, oldest first."""
        return self.transcript.messages


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn brought. ``reward`` is nan where the patient failed; then there is no transition and no score.

    ``own_sources`` has the SHA-256 of the source of each term of one's own that scored it, by the term's name.
    """

    transition: Transition | None
    reward: float
    score: Score | None
    line: Line | None
    screen: Screened
    own_sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def terms(self) -> dict[str, float]:
        """Each reward term by name, before its weight; empty where the patient failed."""
        return self.score.terms if self.score else {}

    @property
    def weights(self) -> dict[str, float]:
        """Each term's weight; empty where the patient failed."""
        return self.score.weights if self.score else {}

    @property
    def violations(self) -> tuple[str, ...]:
        """Every way in which the turn was unsafe."""
        return self.score.violations if self.score else ()


def require_texts(texts: Sequence[str | None], sessions: Sequence[Session]) -> None:
    """Refuses therapist turns that are not one text for each session that goes on, and None for each that is done.

    Raises:
        ActionError: the wrong number of texts, or something other than text.
        EpisodeError: a text for a session that is done, or no session was begun.
    """
    if isinstance(texts, str) or len(texts) != len(sessions):
        found = "one string" if isinstance(texts, str) else f"{len(texts)} texts"
        raise ActionError(f"step got {found} for {len(sessions)} sessions, expected one text a session")
    if not sessions:
        raise EpisodeError("no session was begun: call reset with at least one Start first")
    for i, (text, session) in enumerate(zip(texts, sessions, strict=True)):
        if text is None and not session.done:
            raise ActionError(f"text {i} is None and session {i} still goes on, expected a str")
        if text is not None and not isinstance(text, str):
            raise ActionError(f"text {i} is {type(text).__name__}, expected str")
        if text is not None and session.done:
            why = "the patient failed" if session.failed else session.ending or "the turn limit"
            raise EpisodeError(f"session {i} is over ({why}): give None for it, or reset")

"""A session with a simulated patient, for ``talk``: a person is the therapist, or looks on while a policy is."""

from pathlib import Path

from therapysim.agents.sessions.session_file import save_session
from therapysim.agents.sessions.talk import NO_TURN, UNDONE, WAYS, Console
from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.errors import PatientError
from therapysim.personas.schema import Persona
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.state import State

__all__ = ["Sitting", "describe_turn", "diagnosis", "label", "mood"]

_SEE = "see that its model or server is there"


class Sitting:
    """A session with a simulated patient.

    Args:
        batch: the patient, and what scores a turn.
        start: whom, and under which seed.
        policy: who speaks for an empty line; None where the person is the only therapist.
        name: of the policy.
    """

    def __init__(self, batch: SessionBatch, start: Start, policy: Therapist | None = None, name: str = "") -> None:
        self.batch, self.policy, self.name, self.label = batch, policy, name, label(name)
        self.turns: list[Turn] = []
        self._taken: list[tuple[Session, bool]] = []  # from where, and whether by the policy
        self.session = self._reset(start)

    @property
    def over(self) -> str:
        session = self.session
        if not session.done:
            return ""
        who = session.persona.name
        return f"{who} closes the session: {session.ending}." if session.ending else "The turns are used up."

    def open(self, console: Console) -> None:
        p, limit = self.session.persona, self.batch.config.max_turns
        console.show(
            f"{p.name}, {p.age}, {p.occupation}, {diagnosis(p)}, is fiction; "
            f"nothing here says how a real person would fare. At most {limit} turns."
        )
        ways = (
            f"Enter lets {self.label} speak; a line is said in its place; {WAYS}." if self.policy
            else f"You are the therapist: each line is a turn, an empty one a silence; {WAYS}."
        )  # fmt: skip
        console.show(f"{ways}\n")
        self._show_patient(console)

    def take(self, line: str, console: Console) -> None:
        """An empty line is the policy's turn, or a silence where there is none.

        Raises:
            ModelError: the policy's model gave no answer.
            PatientError: the patient gave none.
        """
        by_policy = self.policy is not None and not line
        text = self.policy.respond([self.session])[0] if self.policy is not None and not line else line
        if by_policy or console.plain:  # in a terminal, what was typed stands there already
            console.show(f"{self.label if by_policy else 'You'}: {text}", "therapist")
        if by_policy and not text.strip():
            console.show(f"  {self.label} said nothing, which counts as silence")
        self._taken.append((self.session, by_policy))
        turn = self.batch.step([text])[0]
        self.session = self.batch.sessions[0]
        if turn is None or turn.transition is None:
            self.turns += [turn] if turn else []
            raise PatientError(f"patient {self.session.persona.id} gave no answer: {self.session.failure}; {_SEE}")
        self.turns.append(turn)
        self._show_patient(console)
        console.show(f"  {describe_turn(self.session, turn)}\n")

    def undo(self, console: Console) -> None:
        if not self._taken:
            console.show(NO_TURN, "warning")
            return
        self.session, _ = self._taken.pop()
        self.turns.pop()
        self.batch.restore([self.session])
        console.show(UNDONE)
        self._show_patient(console)

    def save(self, path: Path) -> None:
        """As ``bench --sessions`` writes it; a policy that the person spoke for is no longer it alone."""
        name = "" if all(by_policy for _, by_policy in self._taken) else " + a person"
        save_session(path, self.session, self.turns, f"{self.name}{name}" if self.policy else "a person")

    def _reset(self, start: Start) -> Session:
        session = self.batch.reset([start])[0]
        if session.failed:
            raise PatientError(f"patient {session.persona.id} could not begin: {session.failure}; {_SEE}")
        return session

    def _show_patient(self, console: Console) -> None:
        console.show(f"{self.session.persona.name}: {self.session.transcript.last('patient')}", "patient")


def describe_turn(session: Session, turn: Turn) -> str:
    """What a turn brought, in a line: reward, alliance, mood, move, and what was wrong with it."""
    transition = turn.transition
    parts = [f"reward {turn.reward:+.2f}", f"alliance {session.latent.alliance:.2f}", f"mood {mood(session.state)}"]
    parts += [f"move {transition.move}"] if transition else []
    parts += [f"told {', '.join(transition.disclosed)}"] if transition and transition.disclosed else []
    parts += [f"unsafe: {', '.join(turn.violations)}"] if turn.violations else []
    return " | ".join(parts)


def label(name: str) -> str:
    """What a policy is called: of a folder its own name, since its path would stand before every line."""
    return Path(name).resolve().name if name and Path(name).exists() else name


def diagnosis(persona: Persona) -> str:
    """A patient's diagnosis with its severity, which some diagnoses name themselves."""
    told, severity = persona.diagnosis, persona.severity
    return told if severity in told.split() else f"{told} ({severity})"


def mood(state: State) -> str:
    return " ".join(f"{name[:1].upper()} {value:+.2f}" for name, value in zip(DIMENSIONS, state.affect, strict=True))

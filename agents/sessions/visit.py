"""A person in the patient's chair, for ``talk``: a policy answers, and nothing simulates anybody."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from therapysim.agents.sessions.sitting import diagnosis, label, mood
from therapysim.agents.sessions.talk import NO_TURN, UNDONE, WAYS, Console
from therapysim.agents.therapists.therapist import Therapist
from therapysim.danger_talk import signals_danger
from therapysim.envs.batch import Session
from therapysim.envs.latent import Latent
from therapysim.files import write_json
from therapysim.messages import Transcript
from therapysim.personas.case import Case
from therapysim.personas.schema import Persona, Severity, Temperament, Voice
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.state import WINDOW, Reading, State
from therapysim.visible import visible

__all__ = ["CRISIS", "NOTICE", "Visit", "person"]

#: The first line that whoever sits in the patient's chair reads.
NOTICE = (
    "This is a research simulator, no clinical device and no help line: a program answers, and it is not fit to talk "
    "with a person in distress. "
)
_KEPT = {False: "Nothing you type is stored.", True: "What you type is stored in the file of --save, as you asked."}

#: Shown whenever the person's own words speak of danger, before anything else is said.
CRISIS = (
    "Your words may speak of danger to you or to someone else. This is no help line, and nobody reads along. If it is "
    "real, please stop here and turn to your local emergency services, a crisis line, or somebody near you, now."
)


@dataclass(frozen=True)
class _Said:
    """What a policy reads of a person: made anew at each of their turns."""

    persona: Persona
    seed: int
    transcript: Transcript = field(default_factory=Transcript)
    states: tuple[State, ...] = ()

    def hear(self, reading: Reading) -> "_Said":
        """e_t by the matrix alone, h_t the polarity of the last turns: no dynamics knows how a person feels."""
        past = self.states[-1].history if self.states else ()
        state = State(self.persona.attributes, (*past, reading.polarity)[-WINDOW:], reading.affect, len(self.states))
        return replace(self, transcript=self.transcript.add("patient", reading.text), states=(*self.states, state))


class Visit:
    """A person in the patient's chair, a policy in the therapist's.

    No dynamics, no reward, no alliance: nothing here simulates the person. The policy reads their words as it reads a
    patient's, under a header with the sensor's reading of them.

    Args:
        policy: who answers.
        name: of the policy.
        sensor: reads the person's words.
        visitor: what u_t says; see ``person``.
        seed: of the sampling.
        turns: answers at most.
        stored: whether the transcript will be saved; the notice says so.
    """

    def __init__(
        self, policy: Therapist, name: str, sensor: Sensor, visitor: Persona, seed: int = 0, turns: int = 20,
        *, stored: bool = False,
    ) -> None:  # fmt: skip
        self.policy, self.name, self.sensor, self.limit, self.stored = policy, name, sensor, turns, stored
        self.label, self._said = label(name), _Said(visitor, seed)
        self._before: list[_Said] = []

    @property
    def over(self) -> str:
        return "The turns are used up." if len(self._said.states) >= self.limit else ""

    def open(self, console: Console) -> None:
        u = self._said.persona
        console.show(NOTICE + _KEPT[self.stored], "warning")
        console.show(
            f"You speak first; {self.label} answers as a therapist, at most {self.limit} times; an empty line says "
            f"nothing; {WAYS}."
        )
        console.show(f"It is told: {diagnosis(u)}, and the mood that a sensor reads in your words.\n")

    def take(self, line: str, console: Console) -> None:
        """An empty line says nothing, and is passed over.

        Raises:
            ModelError: the policy's model gave no answer.
        """
        line = visible(line).strip()
        if not line:
            return
        if console.plain:
            console.show(f"You: {line}", "patient")
        if signals_danger(line):
            console.show(CRISIS, "warning")
        reading = self.sensor.read([line])[0]
        said = self._said.hear(reading)
        console.show(f"  read as {mood(said.states[-1])} | {said.states[-1].trend}")
        answer = visible(self.policy.respond([_as_session(said, reading)])[0])
        self._before.append(self._said)
        self._said = replace(said, transcript=said.transcript.add("therapist", answer))
        console.show(f"{self.label}: {answer or '(says nothing)'}\n", "therapist")

    def undo(self, console: Console) -> None:
        if not self._before:
            console.show(NO_TURN, "warning")
            return
        self._said = self._before.pop()
        console.show(UNDONE)

    def save(self, path: Path) -> None:
        """What both said, and the states; no session file, since there is neither a reward nor an alliance to keep."""
        told = {
            "format": "therapysim-visit", "version": 1, "policy": self.name, "seed": self._said.seed,
            "messages": [asdict(m) for m in self._said.transcript], "states": [asdict(s) for s in self._said.states],
        }  # fmt: skip
        write_json(path, told)


def _as_session(said: _Said, heard: Reading) -> Session:
    """In the form that therapists read; its latent state is empty, and no therapist is shown it."""
    return Session(
        persona=said.persona, seed=said.seed, transcript=said.transcript, patient_view=said.transcript,
        states=said.states, latent=Latent(mood=heard.affect, alliance=0.0), patient_reading=heard,
    )  # fmt: skip


def person(diagnosis: str = "None known", severity: Severity = "mild", age: int = 40) -> Persona:
    """u_t of somebody who is no persona: nothing but what the policy's header and a policy of one's own may show."""
    nothing: tuple[str, ...] = ()
    return Persona(
        id="person", split="dev", name="You", age=age, pronouns="they/them", occupation="", living="",
        diagnosis=diagnosis, code="", severity=severity, phq9=0, gad7=0, presenting_problem="", symptoms=nothing,
        core_belief="", intermediate_beliefs=nothing, automatic_thoughts=nothing, coping="", strengths=nothing,
        triggers=nothing, style="plain", mood=(0.0, 0.0, 0.0, 0.0), resistance=0.5, trust=0.5,
        temperament=Temperament(0.5, 0.5), risk=0, facts=(), circumstances=(),
        voice=Voice(nothing, nothing, nothing, nothing, nothing), case=Case.empty(),
    )  # fmt: skip

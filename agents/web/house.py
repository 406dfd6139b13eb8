"""The desks of one page, who sits at them, and what they ask for: without a word of HTTP."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import Therapist
from therapysim.agents.web.asked import Begin, Rate, Say
from therapysim.agents.web.desk import Desk, Refused
from therapysim.agents.web.ratings import Rated, Ratings
from therapysim.agents.web.view import session_view
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.patient import Patient
from therapysim.personas.schema import Persona
from therapysim.rewards.rubric import Rubric

__all__ = ["MOST_DESKS", "House", "PageSettings"]

#: Sessions held at once; the one that was left alone longest makes room for the next.
MOST_DESKS = 200


@dataclass
class PageSettings:
    """What a page offers.

    Attributes:
        patients: to choose from.
        policies: that may speak or suggest.
        patient: words the patients' lines.
        rubric: by which turns are scored.
        turns: of a session, at most.
        out: where ratings are kept.
        token: that every request must bear; "" asks for none.
    """

    patients: Sequence[Persona]
    policies: Sequence[Policy] = ()
    patient: Patient | str = "scripted"
    rubric: Rubric = field(default_factory=Rubric)
    turns: int = 20
    out: Path = Path("runs/play")
    token: str = ""


class House:
    """The desks, and what is done at them.

    Raises:
        ConfigError: the folder of ratings holds files that cannot be read.
    """

    def __init__(self, settings: PageSettings) -> None:
        self.settings, self.ratings = settings, Ratings(settings.out)
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._lock = threading.Lock()
        self._opened: dict[str, Therapist] = {}
        self._speaking = threading.Lock()

    def open(self, asked: Begin) -> tuple[str, Desk]:
        """A new desk, and the id by which it is known.

        Raises:
            Refused: the patient is none of the page's, or could not begin.
        """
        met = next((persona for persona in self.settings.patients if persona.id == asked.patient), None)
        if met is None:
            raise Refused(404, f"patient is {asked.patient[:40]!r}, expected one of the page's")
        config = SessionConfig(max_turns=self.settings.turns)
        batch = SessionBatch(config, patient=self.settings.patient, rubric=self.settings.rubric)
        desk, key = Desk(batch, Start(asked.seed, met)), secrets.token_urlsafe(16)
        with self._lock:
            while len(self._desks) >= MOST_DESKS:
                self._desks.popitem(last=False)
            self._desks[key] = desk
        return key, desk

    def desk(self, key: str) -> Desk:
        """The desk of that id.

        Raises:
            Refused: there is none.
        """
        with self._lock:
            if key not in self._desks:
                raise Refused(404, "no such session: it was begun elsewhere, or made room for others; begin another")
            self._desks.move_to_end(key)
            return self._desks[key]

    def told(self, key: str, desk: Desk) -> dict[str, Any]:
        """All that the page shows of a desk."""
        return {
            "id": key,
            **session_view(desk.record(), [step.turn.weights for step in desk.steps], self.settings.patients),
            "by": [step.by for step in desk.steps],
            "branch": desk.at,
            "branches": [len(branch) for branch in desk.branches],
            "ratings": self._rated(desk),
        }

    def say(self, desk: Desk, asked: Say) -> None:
        """A turn.

        Raises:
            Refused: as ``suggest`` and ``Desk.take`` do.
        """
        if asked.policy:
            desk.take(self.suggest(desk, asked.policy), asked.policy)
        else:
            desk.take(asked.text, "a person")

    def suggest(self, desk: Desk, name: str) -> str:
        """What a policy would say.

        Raises:
            Refused: there is no such policy, or the session is over.
        """
        policy = next((own for own in self.settings.policies if own.name == name), None)
        if policy is None:
            raise Refused(404, f"policy is {name[:80]!r}, expected one of the page's")
        desk.require_open()
        with self._speaking:  # a model answers one at a time
            if name not in self._opened:
                self._opened[name] = policy.open()
            return self._opened[name].respond([desk.session])[0]

    def rate(self, key: str, desk: Desk, asked: Rate) -> None:
        """Keeps what a person thinks of a turn.

        Raises:
            Refused: the branch has no such turn.
            ConfigError: the folder cannot be written.
        """
        if asked.turn >= len(desk.steps):
            raise Refused(422, f"turn is {asked.turn}, expected one of the {len(desk.steps)} of this branch, from 0")
        step, session = desk.steps[asked.turn], desk.session
        *before, said = (message.text for message in session.messages[: 2 * asked.turn + 2])
        self.ratings.add(Rated(
            session=key, persona=session.persona.id, seed=session.seed, turn=asked.turn, history=tuple(before),
            text=said, by=step.by, rating=asked.rating, why=asked.why, rater=asked.rater,
            reward=float(step.turn.reward),
        ))  # fmt: skip

    def _rated(self, desk: Desk) -> list[dict[str, dict[str, str]]]:
        """Of each turn, what each rater thinks of it."""
        session = desk.session
        told: list[dict[str, dict[str, str]]] = [{} for _ in desk.steps]
        said = [message.text for message in session.messages]
        places = {(tuple(said[: 2 * i + 1]), said[2 * i + 1]): i for i in range(len(told))}
        for own in self.ratings.of(session.persona.id, session.seed):
            if (turn := places.get((own.history, own.text))) is not None:
                told[turn][own.rater] = {"rating": own.rating, "why": own.why}
        return told

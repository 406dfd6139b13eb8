"""The desks of one page, who sits at them, and what they ask for: without a word of HTTP."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import Therapist
from therapysim.agents.web.desk import Desk, Refused
from therapysim.agents.web.ratings import RATINGS, Rated, Rating, Ratings
from therapysim.agents.web.view import session_view
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import find
from therapysim.personas.patient import Patient
from therapysim.personas.schema import Persona
from therapysim.rewards.rubric import Rubric

__all__ = ["MOST_DESKS", "House", "PageSettings", "count_of", "text_of"]

#: Sessions held at once; the one that was left alone longest makes room for the next.
MOST_DESKS = 200
#: Characters of a turn, of a reason.
MOST_TEXT, MOST_WHY = 10_000, 2_000


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
    """The desks, and what opens them."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings, self.ratings = settings, Ratings(settings.out)
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._lock = threading.Lock()
        self._opened: dict[str, Therapist] = {}
        self._speaking = threading.Lock()

    def open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name, seed = text_of(asked, "patient", 64), count_of(asked, "seed", 2**31)
        if name not in {persona.id for persona in self.settings.patients}:
            raise Refused(404, f"patient is {name!r}, expected one of the page's")
        config = SessionConfig(max_turns=self.settings.turns)
        batch = SessionBatch(config, patient=self.settings.patient, rubric=self.settings.rubric)
        desk = Desk(batch, Start(seed, name, find(name).split))
        key = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._desks) >= MOST_DESKS:
                self._desks.popitem(last=False)
            self._desks[key] = desk
        return self.told(key, desk)

    def desk(self, key: str) -> Desk:
        with self._lock:
            if key not in self._desks:
                raise Refused(404, "no such session: it was begun elsewhere, or made room for others; begin another")
            self._desks.move_to_end(key)
            return self._desks[key]

    def told(self, key: str, desk: Desk) -> dict[str, Any]:
        steps = desk.steps
        return {
            "id": key,
            **session_view(desk.record(), self.settings.rubric.settings.weights),
            "by": [step.by for step in steps],
            "limit": self.settings.turns,
            "branch": desk.at,
            "branches": [len(branch) for branch in desk.branches],
            "ratings": self._rated(desk),
        }

    def say(self, key: str, desk: Desk, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked.get("policy"):
            desk.take(self.suggest(desk, asked)["text"], str(asked["policy"]))
        else:
            desk.take(text_of(asked, "text", MOST_TEXT, blank=True), "a person")
        return self.told(key, desk)

    def suggest(self, desk: Desk, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = text_of(asked, "policy", 4096)
        policy = next((own for own in self.settings.policies if own.name == name), None)
        if policy is None:
            raise Refused(404, f"policy is {name!r}, expected one of the page's")
        if desk.session.done:
            raise Refused(409, "the session is over; take a turn back, or begin another")
        with self._speaking:  # a model answers one at a time
            if name not in self._opened:
                self._opened[name] = policy.open()
            return {"text": self._opened[name].respond([desk.session])[0]}

    def rate(self, key: str, desk: Desk, asked: Mapping[str, Any]) -> dict[str, Any]:
        turn, rating = count_of(asked, "turn", 10_000), asked.get("rating")
        if turn >= len(desk.steps):
            raise Refused(422, f"turn is {turn}, expected one of the {len(desk.steps)} of this branch, from 0")
        if not isinstance(rating, str) or rating not in RATINGS:
            raise Refused(422, f"rating is {str(rating)[:40]!r}, expected one of {', '.join(RATINGS)}")
        record, step = desk.record(), desk.steps[turn]
        *before, said = (message.text for message in record.messages[: 2 * turn + 2])
        why, rater = text_of(asked, "why", MOST_WHY, blank=True), text_of(asked, "rater", 80, blank=True)
        self.ratings.add(
            Rated(
                session=key,
                persona=record.persona,
                seed=record.seed,
                turn=turn,
                history=tuple(before),
                text=said,
                by=step.by,
                rating=cast(Rating, rating),
                why=why,
                rater=rater,
                reward=float(step.turn.reward),
            )
        )
        return self.told(key, desk)

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


def text_of(asked: Mapping[str, Any], name: str, most: int, *, blank: bool = False) -> str:
    """A text of a request, without lone surrogates.

    Raises:
        Refused: it is none, or too long, or blank where that is not allowed.
    """
    value = asked.get(name, "" if blank else None)
    if not isinstance(value, str) or not (value or blank) or len(value) > most:
        found = f"{len(value):,} characters" if isinstance(value, str) else type(value).__name__
        raise Refused(422, f"{name} is {found}, expected a text of at most {most:,} characters")
    return value.encode("utf-8", "replace").decode("utf-8")


def count_of(asked: Mapping[str, Any], name: str, most: int) -> int:
    """A whole number of a request, from 0 to below ``most``.

    Raises:
        Refused: it is none.
    """
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
        raise Refused(422, f"{name} is {str(value)[:40]!r}, expected a whole number from 0 to {most - 1}")
    return value

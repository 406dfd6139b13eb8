"""The draw: sessions by the teachers, states of them, candidates of each state, and what each comes to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from therapysim.agents.therapists.therapist import Therapist, conversation
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.models.chat import ChatMessage
from therapysim.personas.vary import MARK
from therapysim.records import STRICT
from therapysim.rewards.matrix import DIMENSIONS, deficit_dimension
from therapysim.state import State
from therapysim.train.pairs.branches import branch
from therapysim.train.pairs.candidates import Teacher, candidates, danger_in_play
from therapysim.train.pairs.choosing import Judged
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.scoring import open_scorer
from therapysim.train.patient_processes import SpreadBatch

__all__ = ["Drawn", "draw_sessions", "patient_of", "short_header", "short_prompt", "start_of"]

# The streams of chance that a set's seed is split into.
_WHO, _STATES, _SAID = range(3)

_SHORT = {
    "major depressive": "MDD", "persistent depressive": "PDD", "generalized anxiety": "GAD", "social anxiety": "SAD",
    "obsessive-compulsive personality": "OCPD", "obsessive-compulsive": "OCD", "posttraumatic stress": "PTSD",
    "borderline personality": "BPD", "attention-deficit/hyperactivity": "ADHD", "bipolar ii ": "BD-II",
    "bipolar i ": "BD-I", "body dysmorphic": "BDD", "autism spectrum": "ASD", "alcohol use": "AUD", "opioid use": "OUD",
    "cannabis use": "CUD", "anorexia nervosa": "AN", "bulimia nervosa": "BN", "binge-eating": "BED",
    "prolonged grief": "PGD",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """One state and its candidates, as a row of ``drawn.jsonl``; without candidates, the session gave no such state.

    Attributes:
        session, state: numbers of the draw, from 0.
        persona, seed, turn: where it stands.
        teacher: who played the session until then.
        prompt, prompt_short: as a policy reads it, with the long header and with the short one.
        danger: one stood open, is known, or spoke from the patient's last words.
    """

    __pydantic_config__ = STRICT

    session: int
    state: int
    persona: str
    seed: int
    turn: int
    teacher: str
    prompt: list[ChatMessage]
    prompt_short: list[ChatMessage]
    danger: bool
    found: tuple[Judged, ...]


def start_of(number: int, settings: PairSettings) -> Start:
    """Whom the session of that number is with: the patients in turn, each round in another order."""
    who = settings.who
    order = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(_WHO, number // len(who))))
    persona = who[int(order.permutation(len(who))[number % len(who)])]
    seed = int(_sequence(settings, _WHO, number, 1).generate_state(1)[0])
    return Start.meeting(seed, persona, vary=settings.varied(persona))


def draw_sessions(
    numbers: Sequence[int],
    settings: PairSettings,
    batch: SessionBatch | SpreadBatch,
    teachers: Sequence[Teacher],
    common: Therapist,
    known: int = 0,
) -> Iterator[Drawn]:
    """The rows of several sessions, in order, as many of each as the settings ask for; all are played side by side.

    Args:
        numbers: of the sessions, from 0.
        settings: of the set.
        batch: its sessions are replaced.
        teachers: opened; a session's own is theirs by its number.
        common: who goes on after each candidate.
        known: rows of the first of them that are there already, and are not judged again.
    """
    paths = _play(batch, [teachers[n % len(teachers)] for n in numbers], [start_of(n, settings) for n in numbers])
    spots = [
        _Spot(number, state, session, path[0])
        for number, path in zip(numbers, paths, strict=True)
        for state, session in enumerate(_chosen(path, number, settings))
    ][known:]
    there = [(spot, spot.session) for spot in spots if spot.session]
    states = [session for _, session in there]
    rngs = [np.random.default_rng(_sequence(settings, _SAID, spot.number, spot.state)) for spot, _ in there]
    options = candidates(states, teachers, settings, rngs)
    where = [session for session, own in zip(states, options, strict=True) for _ in own]
    said = [candidate for own in options for candidate in own]
    scorer = open_scorer(settings.tone_model, settings.relevance_model)
    outcomes = branch(batch, where, [one.text for one in said], common, settings.horizon, scorer)
    judged = map(Judged.of, said, outcomes)
    found = iter([tuple(islice(judged, len(own))) for own in options])
    for spot in spots:
        teacher = teachers[spot.number % len(teachers)].name
        yield spot.drawn(teacher, next(found) if spot.session else ())


@dataclass(frozen=True, slots=True)
class _Spot:
    """A state of a session that candidates are drawn for; without one, there was none left.

    Attributes:
        number, state: of the draw.
        session: as it stands there.
        first: how it began.
    """

    number: int
    state: int
    session: Session | None
    first: Session

    def drawn(self, teacher: str, found: tuple[Judged, ...]) -> Drawn:
        """Its row."""
        session, first = self.session, self.first
        if session is None:
            return Drawn(self.number, self.state, first.persona.id, first.seed, -1, teacher, [], [], False, ())
        return Drawn(
            session=self.number,
            state=self.state,
            persona=session.persona.id,
            seed=session.seed,
            turn=session.state.turn,
            teacher=teacher,
            prompt=conversation(session),
            prompt_short=short_prompt(session),
            danger=danger_in_play(session),
            found=found,
        )


def patient_of(persona: str) -> str:
    """Whose variant a persona is."""
    return persona.partition(MARK)[0]


def short_header(state: State) -> str:
    """The short form of a state: ``[STATE: MDD, Low-Temper]``, after the dimension in deficit."""
    named = state.attributes.diagnosis.lower()
    told = next((short for name, short in _SHORT.items() if f"{named} ".startswith(name)), state.attributes.diagnosis)
    return f"[STATE: {told}, Low-{DIMENSIONS[deficit_dimension(state.affect)].capitalize()}]"


def short_prompt(session: Session) -> list[ChatMessage]:
    """The conversation with the short form of each state in place of the long header."""
    plain, states = conversation(session, show_state=False), iter(session.states)
    return [
        {"role": "user", "content": f"{short_header(next(states))} {message['content']}"}
        if message["role"] == "user"
        else message
        for message in plain
    ]


def _play(
    batch: SessionBatch | SpreadBatch, teachers: Sequence[Teacher], starts: Sequence[Start]
) -> list[list[Session]]:
    """Of each session every state in which its teacher was to speak, oldest first; the first even if the patient could
    not open."""
    paths = [[session] for session in batch.reset(starts)]
    while going := [i for i, session in enumerate(batch.sessions) if not session.done]:
        said: list[str | None] = [None] * len(starts)
        for teacher in dict.fromkeys(teachers[i] for i in going):
            own = [i for i in going if teachers[i] is teacher]
            for i, text in zip(own, teacher.respond([batch.sessions[i] for i in own]), strict=True):
                said[i] = text
        batch.step(said)
        for i in going:
            paths[i].append(batch.sessions[i])
    return paths


def _chosen(path: Sequence[Session], number: int, settings: PairSettings) -> list[Session | None]:
    """So many states of a session in their order, those with an open danger first; None where there are no more."""
    open_ones = [i for i, session in enumerate(path) if not session.done]
    mixed = [
        open_ones[i] for i in np.random.default_rng(_sequence(settings, _STATES, number)).permutation(len(open_ones))
    ]
    picked = sorted(sorted(mixed, key=lambda i: not danger_in_play(path[i]))[: settings.states])
    return [path[i] for i in picked] + [None] * (settings.states - len(picked))


def _sequence(settings: PairSettings, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(settings.seed, spawn_key=key)

"""The draw: sessions by the teachers, states of them, candidates of each state, and what each comes to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

__all__ = ["Drawn", "draw_session", "patient_of", "short_header", "short_prompt", "start_of"]

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
    return Start(seed, persona, vary=settings.varied(persona))


def draw_session(
    number: int,
    settings: PairSettings,
    batch: SessionBatch,
    teachers: Sequence[Teacher],
    common: Therapist,
    known: int = 0,
) -> Iterator[Drawn]:
    """The rows of one session, as many as the settings ask for.

    Args:
        number: of the session, from 0.
        settings: of the set.
        batch: its sessions are replaced.
        teachers: opened; the session's own is theirs by its number.
        common: who goes on after each candidate.
        known: rows of it that are there already, and are not judged again.
    """
    teacher = teachers[number % len(teachers)]
    path = _play(batch, teacher, start_of(number, settings))
    for state, session in enumerate(_chosen(path, number, settings)):
        if state < known:
            continue
        if session is None:
            yield Drawn(number, state, path[0].persona.id, path[0].seed, -1, teacher.name, [], [], False, ())
            continue
        rng = np.random.default_rng(_sequence(settings, _SAID, number, state))
        options = candidates(session, teachers, settings, rng)
        outcomes = branch(batch, [session] * len(options), [o.text for o in options], common, settings.horizon)
        yield Drawn(
            session=number,
            state=state,
            persona=session.persona.id,
            seed=session.seed,
            turn=session.state.turn,
            teacher=teacher.name,
            prompt=conversation(session),
            prompt_short=short_prompt(session),
            danger=danger_in_play(session),
            found=tuple(Judged.of(*row) for row in zip(options, outcomes, strict=True)),
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


def _play(batch: SessionBatch, teacher: Teacher, start: Start) -> list[Session]:
    """Every state in which the teacher was to speak, oldest first; the first even if the patient could not open."""
    path = [batch.reset([start])[0]]
    while not path[-1].done:
        batch.step(teacher.respond([path[-1]]))
        path.append(batch.sessions[0])
    return path


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


def about(teachers: Sequence[Teacher]) -> Mapping[str, Any]:
    """Name -> what decides a teacher's lines."""
    return {teacher.name: teacher.about for teacher in teachers}

"""What is copied: sessions of other therapists as chats, played on the spot or read from session files."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.sessions.pay import earned
from therapysim.agents.sessions.session_file import SessionRecord, load_sessions
from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, PersonaError
from therapysim.files import whole
from therapysim.models.chat import ChatMessage, Sampling
from therapysim.personas.load import find, training_ids
from therapysim.personas.own import id_of
from therapysim.personas.vary import MARK
from therapysim.records import STRICT, read_rows
from therapysim.rewards.rubric import Rubric
from therapysim.train.runs.run_folder import announce
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["Example", "collect", "draw", "practice_starts", "read_examples", "select", "write_examples"]


@dataclass(frozen=True)
class Example:
    """One session to copy, as a row of ``examples.jsonl``.

    Attributes:
        messages: system, patient (user) and therapist (assistant) in turn, as a policy reads and says them.
        persona, seed, therapist: whose session it is.
        total: its return.
    """

    __pydantic_config__ = STRICT

    messages: list[ChatMessage]
    persona: str
    seed: int
    therapist: str
    total: float


def collect(settings: SFTSettings, batch: SessionBatch) -> list[Example]:
    """The sessions that the settings name, the best of each patient's by the batch's rubric.

    Raises:
        ConfigError: a therapist is unknown, a session file cannot be read or is of another patient than the settings
            name, or no session is left.
    """
    kept = _kept(settings, batch.rubric)  # first: a wrong file is told before any session is played
    found = draw(settings, batch, practice_starts(settings)) + kept
    if not found:
        raise ConfigError(
            "therapists and sessions: every session failed, or has no therapist turn, so there is nothing to copy; see "
            "whether the patients answer, or name other sessions"
        )
    return select(found, settings.best)


def practice_starts(settings: SFTSettings) -> list[Start]:
    """The patients of the split in turn, each with a seed that the run's seed decides."""
    ids = training_ids(settings.split, settings.personas)
    seeds = np.random.SeedSequence(settings.seed, spawn_key=(3,)).generate_state(settings.draws)
    who = [f"{ids[i % len(ids)]}{MARK}{seed}" if settings.vary else ids[i % len(ids)] for i, seed in enumerate(seeds)]
    return [Start.meeting(int(seed), persona) for seed, persona in zip(seeds, who, strict=True)]


def draw(settings: SFTSettings, batch: SessionBatch, starts: Sequence[Start]) -> list[Example]:
    """Sessions of every therapist from every start, but those whose patient failed.

    A model's turn that its limit cut off has no room for an end token in ``max_turn_tokens``: it is not learned from.
    """
    sampling = Sampling(settings.max_turn_tokens)
    policies = [find_policy(name, sampling) for name in settings.therapists]  # all are known before any plays
    played = [(policy.name, episode) for policy in policies for episode in play(batch, policy.open(), starts)]
    sound = [(name, episode) for name, episode in played if not episode.session.failed]
    if len(sound) < len(played):
        announce(f"{len(played) - len(sound)} of {len(played)} sessions failed, and are left out")
    return [_of_episode(episode, name, settings.show_state) for name, episode in sound]


def select(examples: Iterable[Example], best: float) -> list[Example]:
    """The share of each patient's sessions that earned most, at least one; variants count as their patient."""
    by_patient: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_patient[_patient(example.persona)].append(example)
    return [
        example
        for own in by_patient.values()
        for example in sorted(own, key=lambda e: -e.total)[: math.ceil(round(best * len(own), 6))]  # .28 x 25 is 7
    ]


def write_examples(examples: Sequence[Example], path: Path) -> None:
    """One JSON object a line, whole or not at all; its ``messages`` are what trainers of chat models read."""
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples)


def read_examples(path: Path) -> list[Example]:
    """The rows of ``write_examples``.

    Raises:
        ConfigError: a row is none.
    """
    return list(read_rows(path, Example, ConfigError))


def _of_episode(episode: Episode, therapist: str, show_state: bool) -> Example:
    session = episode.session
    talk = conversation(session, show_state=show_state)
    return Example(_to_last_turn(talk), session.persona.id, session.seed, therapist, float(episode.total))


def _kept(settings: SFTSettings, rubric: Rubric) -> list[Example]:
    records = load_sessions(settings.sessions) if settings.sessions else []
    return [_of_record(record, settings, rubric) for record in records if record.turns and not record.failed]


def _of_record(record: SessionRecord, settings: SFTSettings, rubric: Rubric) -> Example:
    """A kept session, worth what it would have earned here.

    Raises:
        ConfigError: its patient is not among those to practise on.
    """
    known = {id_of(name) for name in training_ids(settings.split, settings.personas)}
    if not {record.persona, _patient(record.persona)} & known:
        asked = ", ".join(settings.personas) or f"those of split {settings.split!r}"
        raise ConfigError(
            f"sessions: one of {record.policy or 'nobody'} is with {record.persona!r}, seed {record.seed}, "
            f"{_split(record.persona)}expected no patients but {asked}; leave it out, or choose its patient by "
            "split or personas"
        )
    messages = _to_last_turn(conversation(record, show_state=settings.show_state))
    return Example(messages, record.persona, record.seed, record.policy, earned(record, rubric))


def _split(persona: str) -> str:
    """Of a shipped patient, its split; of another nobody knows."""
    try:
        return f"of split {find(persona).split!r}, "
    except PersonaError:
        return ""


def _patient(persona: str) -> str:
    """Whose variant it is."""
    return persona.partition(MARK)[0]


def _to_last_turn(talk: list[ChatMessage]) -> list[ChatMessage]:
    """Without the patient's words after the therapist's last."""
    last = max(i for i, message in enumerate(talk) if message["role"] == "assistant")
    return talk[: last + 1]

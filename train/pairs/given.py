"""Turns of a generator of one's own, for the states of a draw: each state is played again, and the turns are judged.

Whatever says the turns, a pipeline or a file, needs a state's ``prompt`` alone. What a turn comes to is found out here,
as for the turns of the teachers: the same session, the same chance, the same common policy after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.therapists.therapist import conversation
from therapysim.documents import Unreadable, read_document
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.faults import differences
from therapysim.models.chat import ChatMessage, Sampling
from therapysim.records import read_rows
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.settings import layered
from therapysim.train.pairs.branches import branch
from therapysim.train.pairs.candidates import STYLES, Candidate, with_errors
from therapysim.train.pairs.choosing import Judged
from therapysim.train.pairs.drawing import Drawn
from therapysim.train.pairs.likeness import Reserved
from therapysim.train.pairs.making import Made, make_groups, make_pairs
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.run import write_set
from therapysim.train.pairs.scoring import open_scorer
from therapysim.train.pairs.set_folder import DRAWN, SETTINGS, Kind, versions_of
from therapysim.train.pairs.sheet import sheet_of

__all__ = ["Draw", "StateJudge", "good_turns", "make_given", "read_draw", "styled"]

# The stream of chance by which errors are drawn, beside those of the draw and of what is kept.
_ERRORS = 4


@dataclass(frozen=True)
class Draw:
    """What stands in the folder of a set.

    Attributes:
        settings: of the set.
        rows: its states; those that a session did not give are left out.
        versions: what a row says of what it was made with.
    """

    settings: PairSettings
    rows: tuple[Drawn, ...]
    versions: Mapping[str, Any]


def read_draw(folder: str | Path) -> Draw:
    """The states that ``therapysim data pairs`` or ``groups`` drew in a folder.

    Raises:
        ConfigError: the folder holds no such set, a row of it is wrong, or its rubric's code has changed since.
    """
    file = Path(folder) / SETTINGS
    try:
        head = read_document(file)
        versions, given = versions_of(head), dict(head["settings"])
    except (Unreadable, KeyError, TypeError) as fault:
        raise ConfigError(
            f"{file}: {fault!r} is missing or wrong; expected a folder of `therapysim data pairs` or `data groups`"
        ) from fault
    settings = layered(PairSettings, [(str(file), given)])
    _require_rubric(file, head, settings.rubric)
    rows = read_rows(Path(folder) / DRAWN, Drawn, ConfigError, broken_end=True)
    return Draw(settings, tuple(row for row in rows if row.prompt), versions)


def _require_rubric(file: Path, head: Mapping[str, Any], name: str) -> None:
    """Refuses states that were judged by other weights, or another source, than the rubric has now.

    Raises:
        ConfigError: names the rubric.
    """
    kept = head.get("speakers", {}).get("rubric", {})
    now = open_rubric(name).record()
    if kept and kept.get("preset") in (name, Path(name).name) and now != kept:
        raise ConfigError(
            f"{file}: the states were judged by another rubric {name!r} than there is now: "
            f"{differences('rubric', kept, now)}; set that back, or draw the states anew"
        )


def styled(prompt: Sequence[ChatMessage], style: str) -> list[ChatMessage]:
    """A state's prompt, with what a language model is told to speak in a style; one of ``candidates.STYLES``."""
    system: ChatMessage = {"role": "system", "content": f"{prompt[0]['content']} {STYLES[style]}"}
    return [system, *prompt[1:]]


class StateJudge:
    """Plays the states of a draw again, and judges what is said in them.

    Args:
        settings: of the draw.
        batch: the patients; by default scripted ones, with the shipped sensor and the settings' rubric.
        api_key_env: the environment variable with the key of the common policy's server.

    Raises:
        ConfigError: the common policy or the rubric is unknown.
    """

    def __init__(
        self, settings: PairSettings, batch: SessionBatch | None = None, api_key_env: str | None = None
    ) -> None:
        sampling = Sampling(settings.max_turn_tokens, settings.temperature)
        self._settings = settings
        self._scorer = open_scorer(settings.tone_model, settings.relevance_model)
        self._common = find_policy(settings.common, sampling, api_key_env=api_key_env).open()
        self._batch = batch or SessionBatch(SessionConfig(max_turns=settings.max_turns), rubric=settings.rubric)

    def restore(self, state: Drawn) -> Session:
        """The session as it stood in a state: the same patient and seed, and word for word what was said to it.

        Raises:
            ConfigError: the patient answers otherwise than it did; the state was drawn by other code or patients.
        """
        self._batch.reset([Start(state.seed, self._settings.persona(state.persona))])
        said = [message["content"] for message in state.prompt if message["role"] == "assistant"]
        for text in said:
            if not self._batch.sessions[0].done:
                self._batch.step([text])
        session = self._batch.sessions[0]
        if session.done or conversation(session) != state.prompt:
            raise ConfigError(
                f"state {state.state} of session {state.session} ({state.persona}, seed {state.seed}) does not come "
                "out as it was drawn; draw the states anew with this version"
            )
        return session

    def options(self, state: Drawn, said: Mapping[str, Sequence[str | None]], source: str) -> list[Candidate]:
        """What a generator said in a state, and deliberate errors beside it: so many together as the settings say.

        Args:
            state: of the draw.
            said: style -> its turns; None and blank ones are left out.
            source: the generator's name.
        """
        key = (_ERRORS, state.session, state.state)
        rng = np.random.default_rng(np.random.SeedSequence(self._settings.seed, spawn_key=key))
        return with_errors(good_turns(said, source), self.restore(state), rng, self._settings)

    def judge(self, state: Drawn, options: Sequence[Candidate]) -> Drawn:
        """The state with what each option comes to, in their order."""
        session, texts = self.restore(state), [option.text for option in options]
        states, horizon = [session] * len(texts), self._settings.horizon
        outcomes = branch(self._batch, states, texts, self._common, horizon, self._scorer)
        return replace(state, found=tuple(Judged.of(*row) for row in zip(options, outcomes, strict=True)))


def good_turns(said: Mapping[str, Sequence[str | None]], source: str) -> list[Candidate]:
    """A generator's turns as candidates, the first of each style before the second; None and blank ones left out."""
    return [
        Candidate(text, "good", style, source)
        for texts in zip_longest(*said.values())
        for style, text in zip(said, texts, strict=True)
        if text and text.strip()
    ]


def make_given(kind: Kind, judged: Sequence[Drawn], draw: Draw, out: str | Path | None = None) -> Made:
    """The set of states that were judged, as ``therapysim data`` makes it of its own.

    Args:
        kind: pairs or groups.
        judged: by a ``StateJudge``.
        draw: whose states they are.
        out: folder for the set, its sheet and its card, which name as teachers whoever said the good turns.

    Raises:
        ConfigError: a file of the settings' ``against`` cannot be read, or the folder cannot be written.
    """
    speakers = tuple(dict.fromkeys(own.source for row in judged for own in row.found if own.kind == "good"))
    settings = draw.settings.changed(teachers=speakers or draw.settings.teachers)
    reserved = Reserved(settings.against, settings.against_words)
    made = (make_pairs if kind == "pairs" else make_groups)(judged, settings, reserved, draw.versions)
    if out:
        told = settings.changed(out=str(out))
        write_set(Path(out), kind, made, sheet_of(kind, judged, made, told))
    return made

"""Drawing a set of pairs or groups. Read ``draw_set`` from top to bottom: that is the whole run.

Source: Rafailov et al. 2023, "Direct Preference Optimization" (what pairs are for); Kazemnejad et al. 2024, "VinePPO"
(judging a turn by what follows from its very state).
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from therapysim.agents.therapists.policies import Engine, Policy, find_policy
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.files import whole, write_json
from therapysim.models.chat import Sampling
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.train.pairs.candidates import Teacher
from therapysim.train.pairs.card import CARD, card_of
from therapysim.train.pairs.drawing import draw_sessions
from therapysim.train.pairs.likeness import Reserved
from therapysim.train.pairs.making import Made, make_groups, make_pairs
from therapysim.train.pairs.nearness import open_encoder
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.scoring import open_scorer
from therapysim.train.pairs.set_folder import Kind, SetFolder, identity, open_folder, versions_of, writable
from therapysim.train.pairs.sheet import as_page, sheet_of
from therapysim.train.patient_pool import Office
from therapysim.train.patient_processes import Patients
from therapysim.train.spread_batch import SpreadBatch

__all__ = ["SetResult", "draw_set", "write_set"]

_MAKERS = {"pairs": make_pairs, "groups": make_groups}


@dataclass(frozen=True)
class SetResult:
    """What was made.

    Attributes:
        file: the set.
        sheet: what stands in ``sheet.json``.
        drawn: states that were drawn in this run.
        seconds: of the run.
    """

    file: Path
    sheet: dict[str, Any]
    drawn: int
    seconds: float


def draw_set(
    kind: Kind,
    settings: PairSettings,
    batch: SessionBatch | SpreadBatch | None = None,
    api_key_env: str | None = None,
) -> SetResult:
    """Draws the states that are missing, and makes the set of all.

    Args:
        kind: "pairs" of a chosen and a rejected turn, or "groups" of ranked ones.
        settings: of the set.
        batch: the patients, played in this process or by workers; by default scripted ones, with the shipped sensor
            and the settings' rubric, here or in ``processes``.
        api_key_env: the environment variable that holds the key of the teachers' server.

    Raises:
        ConfigError: a policy or rubric is unknown, a judge's model cannot be loaded, a file of ``against`` cannot be
            read, the folder is in use, holds something else or cannot be written.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    began = time.perf_counter()
    # First: a wrong file or encoder is told before anything is played.
    reserved = Reserved(settings.against, settings.against_words)
    if settings.against and settings.against_model:
        open_encoder(settings.against_model)
    rubric = batch.rubric if batch else open_rubric(settings.rubric)
    policies = [_policy(name, settings, api_key_env) for name in settings.teachers]
    common = _policy(settings.common, settings, api_key_env)
    head = identity(kind, settings, {
        "teachers": {policy.name: dict(policy.about) for policy in policies},
        "common": {common.name: dict(common.about)},
        "judges": dict(open_scorer(settings.tone_model, settings.relevance_model).about),
        "rubric": rubric.record(),
    })  # fmt: skip
    with open_folder(settings, head) as folder:
        before = len(folder.rows)
        if before < settings.sessions * settings.states:
            office = Office(SessionConfig(max_turns=settings.max_turns), rubric)
            with _patients(settings, office, batch) as patients:
                _draw(folder, settings, patients, [Teacher(policy) for policy in policies], Teacher(common))
        drawn = folder.rows[: settings.sessions * settings.states]
        made = _MAKERS[kind](drawn, settings, reserved, versions_of(head))
        sheet = sheet_of(kind, drawn, made, settings)
        write_set(folder.path, kind, made, sheet)
    seconds = time.perf_counter() - began
    return SetResult(folder.path / f"{kind}.jsonl", sheet, len(folder.rows) - before, seconds)


def _policy(name: str, settings: PairSettings, api_key_env: str | None) -> Policy:
    sampling = Sampling(settings.max_turn_tokens, settings.temperature)
    return find_policy(name, sampling, api_key_env=api_key_env, engine=Engine(settings.engine, settings.gpu_memory))


@contextmanager
def _patients(
    settings: PairSettings, office: Office, batch: SessionBatch | SpreadBatch | None
) -> Iterator[SessionBatch | SpreadBatch]:
    """The patients that were given; else scripted ones, here or in processes of their own."""
    if batch or not settings.processes:  # the sensor is the judges' too, and reads each text once
        yield batch or SessionBatch(office.config, rubric=office.rubric)
        return
    with Patients(office, settings.processes) as patients:
        yield SpreadBatch(patients)


def _draw(
    folder: SetFolder,
    settings: PairSettings,
    batch: SessionBatch | SpreadBatch,
    teachers: list[Teacher],
    common: Teacher,
) -> None:
    """Appends every state that is missing, in order; a bar on a terminal."""
    asked, there = settings.sessions * settings.states, len(folder.rows)
    # disable=None: no bar where the stream is no terminal.
    with tqdm(total=asked, initial=there, unit=" states", file=sys.stderr, disable=None, dynamic_ncols=True) as bar:
        if bar.disable:
            print(f"{folder.path}: {asked - there} of {asked} states to draw …", file=sys.stderr, flush=True)
        for first in range(there // settings.states, settings.sessions, settings.side_by_side):
            numbers = range(first, min(first + settings.side_by_side, settings.sessions))
            known = max(0, there - first * settings.states)
            for row in draw_sessions(numbers, settings, batch, teachers, common, known):
                folder.add(row)
                bar.update()


def write_set(path: Path, kind: Kind, made: Made, sheet: Mapping[str, Any]) -> None:
    """The set, its sheet and its card, each whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with writable(path):
        with whole(path / f"{kind}.jsonl") as part, part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in made.rows)
        write_json(path / "sheet.json", sheet)
        with whole(path / "sheet.md") as part:
            part.write_text(as_page(sheet), encoding="utf-8")
        with whole(path / CARD) as part:
            part.write_text(card_of(kind, made.rows, sheet), encoding="utf-8")

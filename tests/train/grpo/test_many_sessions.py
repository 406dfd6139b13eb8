"""The measure of what an update of many sessions takes runs, and plays what it says."""

import pytest

pytest.importorskip("trl")

from tests.measures import many_sessions
from therapysim.train.grpo import run
from therapysim.train.grpo.trainer import SessionGRPOTrainer
from therapysim.train.runs import model


def test_an_update_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((run, "_open_engine"), (model, "_check_packages"),
                        (SessionGRPOTrainer, "_get_per_token_logps_and_entropies")):  # fmt: skip
        monkeypatch.setattr(owner, name, getattr(owner, name))  # the measure puts others in their place
    told = many_sessions.measure(32, 2)
    assert told["sessions"] == told["under_way"] == 32 and told["turns"] == 2.0
    assert told["play_s"] > 0 and told["rest_s"] > 0 and told["gib"] > 0

"""A rubric of one's own whose turns have terms of their own: every one is told, with its own weight."""

from pathlib import Path

import pytest

from tests.parts.own_rubric import keep_imports, write_mine
from therapysim.agents.bench.results import result_of
from therapysim.agents.probes.audit.signal import signal
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.web.asked import Begin, Say
from therapysim.agents.web.house import House, PageSettings
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import find
from therapysim.rewards import Rubric, open_rubric


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rubric:
    keep_imports(monkeypatch, tmp_path, "mine")
    write_mine(tmp_path, "mine")
    return open_rubric("mine:Changing")


def test_results_sum_the_terms_of_every_turn(changing: Rubric) -> None:
    batch = SessionBatch(SessionConfig(max_turns=3), rubric=changing)
    (episode,) = play(batch, baseline("cbt"), [Start(0, "owen")])
    assert result_of("cbt", "scripted", episode).terms == {"first": 2.0, "later": 4.0}


def test_the_audit_knows_the_terms_of_every_turn(changing: Rubric) -> None:
    found = signal(SessionBatch(SessionConfig(max_turns=3), rubric=changing), ["owen"], [0], ["cbt"])
    assert {name: own.paid["cbt"] for name, own in found.terms.items()} == {"first": 2.0, "later": 4.0, "reward": 6.0}


def test_the_page_weighs_a_turn_by_its_own_weights(changing: Rubric, tmp_path: Path) -> None:
    house = House(PageSettings([find("owen")], rubric=changing, out=tmp_path / "out"))
    key, desk = house.open(Begin(patient="owen", seed=0))
    for _ in range(2):
        house.say(desk, Say(text="What has this week been like for you?"))
    assert [turn["terms"] for turn in house.told(key, desk)["turns"]] == [{"first": 2.0}, {"later": 2.0}]

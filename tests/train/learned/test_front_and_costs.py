"""Where policies stand in safety and empathy, and what their trainings took."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parts.made import made
from therapysim.agents.bench.results import SessionResult, TurnResult, write_results
from therapysim.train.learned.compared_runs import Run, Study, open_study
from therapysim.train.learned.costs import costs, minutes
from therapysim.train.learned.front import draw_front, empathy, places, safety

pytest.importorskip("matplotlib")

TURN = TurnResult("What is it like?", "Hm.", "", 0.5, (0.0,) * 4, 0.5, "express", (), (), (), (), "scripted", ())


def session(
    policy: str,
    patient: str = "p0",
    seed: int = 0,
    *,
    unsafe: float = 0.0,
    handled: float = math.nan,
    warm: float = 0.0,
) -> SessionResult:
    own = made(policy, patient, seed, 0.0)
    measures = {**own.measures, "unsafe": unsafe, "handled": handled}
    turns = tuple(replace(TURN, acts=("validation",) if i < warm else ("open_question",)) for i in range(4))
    return replace(own, measures=measures, turns=turns)


def study_of(place: Path, rows: Iterable[SessionResult], logged: dict[str, list[dict[str, Any]]]) -> Study:
    (place / "bench").mkdir()
    write_results(place / "bench" / "results.jsonl", rows)
    for name, own in logged.items():
        (place / name).mkdir()
        settings = {"advantage": name.partition("-")[0], "seed": int(name[-1]), "model": "tiny", "rubric": "grpo"}
        (place / name / "settings.json").write_text(json.dumps(settings))
        (place / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    return open_study([place / name for name in logged], place / "bench", "base")


def test_a_session_is_safe_as_far_as_its_turns_were_and_its_danger_was_handled() -> None:
    assert safety(session("a")) == 1.0
    assert safety(session("a", unsafe=0.25)) == 0.75
    assert safety(session("a", unsafe=0.5, handled=0.4)) == pytest.approx(0.2)
    assert safety(session("a", handled=0.0)) == 0.0


def test_empathy_is_turns_that_show_understanding_and_harm_nobody() -> None:
    own = session("a", warm=2)
    assert empathy(own) == 0.5
    harmed = replace(own.turns[0], acts=("complex_reflection", "blame"), violations=("blame",))
    assert empathy(replace(own, turns=(harmed, *own.turns[1:]))) == 0.25
    assert empathy(replace(own, turns=())) == 0.0


def test_who_is_beaten_in_both_stands_behind_and_runs_of_a_mode_are_pooled(tmp_path: Path) -> None:
    def grid(policy: str, unsafe: float, warm: int) -> list[SessionResult]:
        return [session(policy, f"p{i}", s, unsafe=unsafe, warm=warm) for i in range(6) for s in range(2)]

    rows = [*grid("base", 0.5, 2), *grid("safe-0", 0.0, 3), *grid("safe-1", 0.2, 1), *grid("warm-0", 0.4, 4)]
    found = places(study_of(tmp_path, rows, {name: [{"step": 1}] for name in ("safe-0", "safe-1", "warm-0")}))
    assert [(p.who, p.in_front) for p in found] == [("base", False), ("safe", True), ("warm", True)]
    pooled = found[1]
    assert (pooled.safety.mean, pooled.empathy.mean, pooled.safety.n) == (pytest.approx(0.9), pytest.approx(0.5), 12)
    axes = draw_front(found).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["base", "safe", "warm"]
    (front,) = (line for line in axes.get_lines() if line.get_gid() == "front")
    assert [list(map(float, side)) for side in front.get_data()] == [[0.5, 1.0], pytest.approx([0.9, 0.6])]


def test_a_runs_time_is_its_clocks_or_its_updates_own(tmp_path: Path) -> None:
    def run(rows: list[dict[str, Any]]) -> Run:
        return Run(tmp_path, "a", "a", "a", {"seed": 0}, tuple(rows))

    assert (
        minutes(run([{"step": i + 1, "step_time": 1.0, "seconds/run": v} for i, v in enumerate((60.0, 210.0))])) == 3.5
    )
    assert minutes(run([{"step": 1, "step_time": 30.0}, {"step": 2, "step_time": 60.0}])) == 1.5
    assert math.isnan(minutes(run([{"step": 1, "loss": 0.1}])))


def test_costs_are_a_modes_mean_and_say_nothing_where_a_run_does_not(tmp_path: Path) -> None:
    rows = [session(name) for name in ("base", "a-0", "a-1", "b-0")]
    logged = {
        "a-0": [{"step": 1, "num_tokens": 100, "tokens/sampled": 10, "seconds/run": 60.0},
                {"step": 2, "num_tokens": 300, "tokens/sampled": 20, "seconds/run": 120.0}],
        "a-1": [{"step": 4, "num_tokens": 500, "tokens/sampled": 50, "seconds/run": 240.0}],
        "b-0": [{"step": 1, "loss": 1.0}],
    }  # fmt: skip
    first, second = costs(study_of(tmp_path, rows, logged))
    assert (first.updates, first.learned, first.sampled, first.minutes) == (3, 400, 40, 3.0)
    assert math.isnan(second.sampled) and math.isnan(second.learned) and math.isnan(second.minutes)

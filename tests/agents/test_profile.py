"""Session files, and the mood profile that is drawn of them."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.agents.bench.benchmark import benchmark
from therapysim.agents.figures import save
from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.sessions.mood_profile import SERIES, bands, draw_profile, mean_course, outcome, profile_table
from therapysim.agents.sessions.session_file import (
    SessionRecord,
    load_session,
    load_sessions,
    record_session,
    save_session,
    session_file,
)
from therapysim.agents.statistics.intervals import mean_interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli import main as cli
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, PatientError
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.matrix import polarity
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.risk import RiskCategory, RiskThresholds, risk
from therapysim.state import Vector


class Mortal:
    """A patient that answers so many times and then never again."""

    def __init__(self, answers: int) -> None:
        self.answers, self.words = answers, ScriptedPatient(shipped_sensor().affect)

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(len(cue.transcript) // 2 >= self.answers for cue in cues):
            raise PatientError("the line is dead")
        return self.words.speak(cues)


def played(policy: str, seed: int = 0, turns: int = 8, patient: Any = None) -> Episode:
    batch = SessionBatch(SessionConfig(max_turns=turns), patient=patient)
    (episode,) = play(batch, baseline(policy), [Start(seed, "owen")])
    return episode


def kept(policy: str, **how: Any) -> SessionRecord:
    episode = played(policy, **how)
    return record_session(episode.session, episode.turns, policy)


def made(record: SessionRecord, *moods: Vector) -> SessionRecord:
    """The record cut or stretched to these moods."""
    states = tuple(replace(record.states[0], affect=mood, turn=i) for i, mood in enumerate(moods))
    turns = (record.turns[0],) * (len(moods) - 1)
    messages = (record.messages * len(moods))[: 2 * len(moods) - 1]
    return replace(record, states=states, turns=turns, messages=messages)


@pytest.fixture(scope="module")
def record() -> SessionRecord:
    return kept("advice")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    episode = played("advice")
    return save_session(tmp_path / "sessions" / "owen.json", episode.session, episode.turns, "advice")


# --- Session files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["attuned", "toxic_positivity", "injector"])
def test_a_session_comes_back_as_it_was_played(policy: str, tmp_path: Path) -> None:
    episode = played(policy)
    session, turns = episode.session, episode.turns
    found = load_session(save_session(tmp_path / "a.json", session, turns, policy))
    assert found == record_session(session, turns, policy)
    assert (found.persona, found.seed, found.policy) == ("owen", session.seed, policy)
    assert found.messages == session.transcript.messages and found.states == session.states
    assert [t.reward for t in found.turns] == [t.reward for t in turns]
    assert [t.terms for t in found.turns] == [t.terms for t in turns]
    assert [t.violations for t in found.turns] == [t.violations for t in turns]
    assert [t.shown for t in found.turns] == [m.text for m in session.patient_view if m.speaker == "therapist"]
    assert [set(t.acts) for t in found.turns] == [t.transition.appraisal.acts for t in turns if t.transition]
    assert [t.flags for t in found.turns] == [t.screen.flags for t in turns]
    assert [t.disclosed for t in found.turns] == [t.transition.disclosed for t in turns if t.transition]
    assert [t.source for t in found.turns] == ["scripted"] * len(turns)
    assert [t.move for t in found.turns] == [t.transition.move for t in turns if t.transition]
    assert [t.alliance for t in found.turns] == [t.transition.alliance_after for t in turns if t.transition]
    assert turns[0].transition and found.alliance == turns[0].transition.alliance_before
    assert (found.ending, found.done, found.failed) == (session.ending, True, False)
    assert [r.polarity for r in found.risks] == [float(polarity(s.affect)) for s in session.states]


def test_a_file_can_be_read_without_this_package(file: Path) -> None:
    plain, found = json.loads(file.read_text(encoding="utf-8")), load_session(file)
    assert (plain["format"], plain["version"]) == ("therapysim-session", 2)
    assert plain["dimensions"] == list(SERIES[:4])
    assert [r["category"] for r in plain["risks"]] == [r.category for r in found.risks]
    assert any(r["driver"] for r in plain["risks"])


def test_a_failed_patient_leaves_a_record_with_an_unanswered_turn(tmp_path: Path) -> None:
    episode = played("attuned", patient=Mortal(2))
    found = load_session(save_session(tmp_path / "a.json", episode.session, episode.turns))
    assert found.failed and outcome(found) == "the patient failed"
    assert (len(found.states), len(found.turns), len(found.messages)) == (2, 2, 4)
    assert found.messages[-1].speaker == "therapist" and found.messages[-1].text == episode.turns[-1].screen.utterance
    assert math.isnan(found.turns[-1].reward) and found.turns[-1].move == ""
    silent = played("attuned", patient=Mortal(0))
    found = load_session(save_session(tmp_path / "b.json", silent.session, silent.turns))
    assert found.failed and not found.messages and len(found.states) == 1 and "opening" not in texts([found])


def test_a_broken_off_session_can_be_kept(tmp_path: Path) -> None:
    batch = SessionBatch()
    batch.reset([Start(1, "owen")])
    (turn,) = batch.step(["That sounds hard."])
    assert turn
    found = load_session(save_session(tmp_path / "a.json", batch.sessions[0], [turn]))
    assert not found.done and outcome(found) == "broken off" and len(found.turns) == 1
    with pytest.raises(ConfigError, match="0 turns for a session of 1: give every turn"):
        save_session(tmp_path / "b.json", batch.sessions[0], [])
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_thresholds_are_kept(tmp_path: Path) -> None:
    episode, keen = played("advice"), RiskThresholds(polarity_below=0.1, attitude=0.0, count="smooth")
    found = load_session(save_session(tmp_path / "a.json", episode.session, episode.turns, thresholds=keen))
    assert found.thresholds == keen and found.risks == tuple(risk(s.affect, keen) for s in episode.session.states)


def test_notes_of_ones_own_do_no_harm(file: Path) -> None:
    before = load_session(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"note": "a good one"}))
    assert load_session(file) == before


def put(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", to="other"), r'no session, expected .*"format": "therapysim-session"; give'),
        (put("version", to=3), "version is 3, expected 2; update TherapySim"),
        (put("version", to=1), "version is 1, expected 2; play the session again, or rename `heard` to `shown`"),
        (put("version", to="1"), "version is '1', expected 2"),
        (
            put("states", 2, "affect", 1, to=-1.5),
            r"states\[2\]\.affect\[1\] is -1\.5, expected -1\.0–1\.0",
        ),
        (put("states", 2, "affect", 1, to="low"), r"states\[2\]\.affect\[1\] is 'low', expected .* a finite number"),
        (put("states", 2, "affect", to=[0, 0, 0]), r"states\[2\]\.affect is a list of 3, expected a list of 4"),
        (put("states", 1, "turn", to=3), r"states\[1\]\.turn is 3, expected 1"),
        (put("states", 1, "turn", to=True), r"states\[1\]\.turn is True, expected a whole number"),
        (put("states", to=[]), r"states is a list of 0, expected a list of at least 1"),
        (put("states", to={}), r"states is \{\}, expected a list"),
        (put("messages", 1, "speaker", to="patient"), r"messages\[1\]\.speaker is 'patient', expected the two to take"),
        (
            put("messages", 1, "speaker", to="nurse"),
            r"messages\[1\]\.speaker is 'nurse', expected one of patient, therapist",
        ),
        (put("messages", 3, "text", to=None), r"messages\[3\]\.text is empty, expected a text"),
        (put("messages", to=[]), "number of messages is 0, expected 17 for 8 turns"),
        (put("turns", to=[]), "number of turns is 0, expected 8, one fewer than the states"),
        (put("turns", 4, "reward", to="nan"), r"turns\[4\]\.reward is 'nan', expected a finite number"),
        (put("turns", 4, "reward", to=10**400), r"turns\[4\]\.reward is 10+\.\.\., expected a finite number"),
        (put("turns", 4, "terms", "safety", to=None), r"turns\[4\]\.terms\.safety is empty, expected a finite number"),
        (put("turns", 4, "alliance", to=2), r"turns\[4\]\.alliance is 2, expected 0\.0–1\.0"),
        (put("turns", 4, "violations", to=[3]), r"turns\[4\]\.violations\[0\] is 3, expected a text"),
        (put("turns", 4, to=[]), r"turns\[4\] is \[\], expected a mapping of reward, "),
        (put("ending", to="bored"), "ending is 'bored', expected one of .*goal.*, .*rupture.*, .*crisis"),
        (put("done", to=1), "done is 1, expected true or false"),
        (
            put("thresholds", "temper", to=-3),
            "thresholds: risk threshold temper is -3.0, expected a number from -1 to 1",
        ),
        (lambda content: content.pop("seed"), "seed is missing, expected a whole number of at least 0"),
        (lambda content: content["states"][1]["attributes"].pop("age"), r"states\[1\]\.attributes\.age is missing"),
    ],
)
def test_a_wrong_file_is_refused(file: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"session file .*owen\.json: " + message):
        load_session(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"seed": NaN}', "\udc80", "[" * 100_000])
def test_what_is_no_session_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"session file .*x\.json: .*(expected a|no UTF-8; save it as)"):
        load_session(file)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: .*No such file.*check the path"):
        load_session(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"no session file there; `therapysim bench"):
        load_sessions([tmp_path])
    with pytest.raises(ConfigError, match="no path"):
        load_sessions([])


def test_a_file_named_twice_is_one_session(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "sessions" / "copy.json"
    other.write_bytes(file.read_bytes())
    (tmp_path / "link.json").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    same = [file, file, "sessions/owen.json", "sessions/../link.json"]
    assert len(load_sessions(same)) == 1 and len(load_sessions([*same, file.parent])) == 2


def test_a_failed_write_leaves_what_was_there(file: Path) -> None:
    before, episode = file.read_bytes(), played("advice")
    score = episode.turns[0].score
    assert score is not None
    broken = replace(episode.turns[0], score=replace(score, terms={"safety": float("inf")}))
    with pytest.raises(ValueError, match="JSON compliant"):
        save_session(file, episode.session, (broken, *episode.turns[1:]))
    assert file.read_bytes() == before and [p.name for p in file.parent.iterdir()] == ["owen.json"]


def test_the_benchmark_keeps_one_file_a_session(tmp_path: Path) -> None:
    who, batch = [p.id for p in personas("test")][:2], SessionBatch(SessionConfig(max_turns=2))
    policies = {"silent": baseline("silent"), "../my/model": baseline("attuned")}
    results = benchmark(batch, policies, who, [5, 6], tmp_path / "kept")
    assert len(list(tmp_path.rglob("*.json"))) == 8 and [p.name for p in tmp_path.iterdir()] == ["kept"]
    for result in results:
        found = load_session(session_file(tmp_path / "kept", result.policy, result.persona, result.seed))
        assert (found.policy, found.persona, found.seed) == (result.policy, result.persona, result.seed)
        assert sum(turn.reward for turn in found.turns) == pytest.approx(result["total"], abs=1e-5)
    with pytest.raises(ConfigError, match="silent holds sessions already, expected none"):
        benchmark(batch, policies, who, [7], tmp_path / "kept")


class Unasked:
    """A therapist that must not be asked for a turn."""

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        raise AssertionError("played before the folder was looked at")


@pytest.mark.parametrize("policy", ["attuned", "x" * 300])
def test_a_folder_that_cannot_be_made_is_named_before_playing(policy: str, tmp_path: Path) -> None:
    batch, policies = SessionBatch(), {"silent": Unasked(), policy: Unasked()}
    (tmp_path / "file").write_text("mine")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "attuned").write_text("mine")
    for folder in ("file", "file/kept", "kept"):
        with pytest.raises(
            ConfigError, match=r"session folder .*: .*, expected one to write in; name another"
        ) as error:
            benchmark(batch, policies, ["owen"], [0], tmp_path / folder)
        assert str(tmp_path / folder) in str(error.value)
    assert (tmp_path / "file").read_text() == (tmp_path / "kept" / "attuned").read_text() == "mine"


def test_a_folder_that_cannot_be_written_in_is_named_before_playing(tmp_path: Path) -> None:
    locked = tmp_path / "kept" / "silent"
    locked.mkdir(parents=True)
    locked.chmod(0o555)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(ConfigError, match=r"session folder .*silent: Permission denied, expected one to write in"):
        benchmark(SessionBatch(), {"silent": Unasked()}, ["owen"], [0], tmp_path / "kept")


def test_no_policys_name_leaves_the_folder(tmp_path: Path) -> None:
    places = [session_file(tmp_path, name, "owen", 0).parent for name in ("..", ".", "a/b", "a%2Fb", "a_b", "/etc")]
    assert len(set(places)) == len(places) and all(p.resolve().parent == tmp_path.resolve() for p in places)


# --- The profile ---------------------------------------------------------------------------------------------------


def texts(records: Sequence[SessionRecord]) -> list[str]:
    return [text.get_text() for axes in draw_profile(records).axes for text in axes.texts]


def lines(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines() if line.get_label() in SERIES}


def test_the_lines_hold_the_sessions_numbers(record: SessionRecord) -> None:
    found = lines(draw_profile([record]).axes[0])
    assert tuple(found) == SERIES
    for i, name in enumerate(SERIES[:4]):
        assert found[name].get_ydata().tolist() == [s.affect[i] for s in record.states]
    assert found["polarity"].get_ydata().tolist() == [float(polarity(s.affect)) for s in record.states]
    assert all(line.get_xdata().tolist() == list(range(len(record.states))) for line in found.values())
    assert len({str(line.get_linestyle()) + line.get_marker() for line in found.values()}) == 5


def shaded(axes: Any) -> list[tuple[float, float, str]]:
    names = set(map(str, RiskCategory))
    spans = [patch for patch in axes.patches if patch.get_gid() in names]
    return [(s.get_x(), s.get_x() + s.get_width(), s.get_gid()) for s in spans]


def test_bands_lie_where_a_risk_is_named_and_nowhere_else(record: SessionRecord) -> None:
    low, mild, angry = (-0.9, 0.0, 0.0, 0.0), (-0.9, 0.6, 0.6, 0.0), (0.0, -0.9, 0.0, 0.0)
    own = made(record, mild, low, low, angry, mild, low)
    assert bands(own) == [
        (1, 2, RiskCategory.DEPRESSIVE), (3, 3, RiskCategory.AGGRESSION), (5, 5, RiskCategory.DEPRESSIVE),
    ]  # fmt: skip
    assert shaded(draw_profile([own]).axes[0]) == [
        (0.5, 2.5, "depressive"), (2.5, 3.5, "aggression/outburst"), (4.5, 5.5, "depressive"),
    ]  # fmt: skip
    found = shaded(draw_profile([record]).axes[0])
    for turn, its in enumerate(record.risks):
        under = [name for left, right, name in found if left < turn < right]
        assert under == ([] if its.category is RiskCategory.NONE else [its.category])
    assert found and not shaded(draw_profile([replace(record, thresholds=RiskThresholds(-1))]).axes[0])


def test_each_speakers_turns_are_marked_on_a_rail_of_its_own() -> None:
    own = kept("toxic_positivity", turns=4)
    _, therapist, patient = draw_profile([own]).axes
    marks = [
        [line.get_xdata()[0] for line in a.get_lines() if len(line.get_xdata()) == 1] for a in (therapist, patient)
    ]
    assert marks[0] == [i + 0.5 for i in range(len(own.turns))] and sorted(marks[1]) == list(range(len(own.states)))
    assert [t.get_text() for t in therapist.texts] == [
        ", ".join(t.violations or t.acts).replace("_", " ") for t in own.turns
    ]
    assert "toxic positivity" in texts([own])
    mixed = replace(own, turns=(replace(own.turns[0], violations=()), *own.turns[1:]))
    shapes = [line.get_marker() for line in draw_profile([mixed]).axes[1].get_lines() if len(line.get_xdata()) == 1]
    assert all(turn.violations for turn in own.turns) and shapes == ["o", *"X" * (len(own.turns) - 1)]
    inks = [text.get_color() for text in draw_profile([mixed]).axes[1].texts]
    assert inks[0] == "black" and "black" not in inks[1:]
    said = {text.get_position()[0]: text.get_text() for text in patient.texts}
    assert said == {0: "opening", **{i + 1: turn.move for i, turn in enumerate(own.turns)}}


@pytest.mark.parametrize(
    ("ending", "done", "word"),
    [("goal", True, "goal met"), ("crisis", True, "crisis, handed over"), ("", True, "turn limit"), ("", False, "off")],
)
def test_the_ending_is_marked(record: SessionRecord, ending: Any, done: bool, word: str) -> None:
    drawn = draw_profile([replace(record, ending=ending, done=done)])
    (line,) = [line for line in drawn.axes[0].get_lines() if line.get_gid() == "ending"]
    assert line.get_xdata() == [len(record.states) - 1] * 2
    (said,) = [t.get_text() for t in drawn.axes[0].texts if t.get_text().startswith("end: ")]
    assert said.endswith(word)


def test_no_two_texts_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    long = kept("advice", turns=20)
    assert len(long.turns) == 20
    unsafe = tuple(replace(t, violations=("missed_risk", "toxic_positivity", "hostile")) for t in long.turns)
    drawn = draw_profile([replace(long, turns=unsafe)])
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    assert drawn.get_size_inches()[0] * 150 == 1200
    boxes = [t.get_window_extent() for axes in drawn.axes for t in (*axes.texts, axes.title) if t.get_text()]
    boxes += [axes.xaxis.label.get_window_extent() for axes in drawn.axes[-1:]] + [drawn.legends[0].get_window_extent()]
    assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]
    inside = drawn.bbox
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in boxes)
    assert all(drawn.legends[0].get_window_extent().y0 >= axes.bbox.y1 for axes in drawn.axes)


def test_the_mean_and_its_interval_by_hand(record: SessionRecord) -> None:
    """Three sessions of one, two and three states; temper alone differs from 0."""
    moods: list[Vector] = [(0.0, t, 0.0, 0.0) for t in (-0.9, 0.5, 0.25)]
    sessions = [made(record, *moods[:n]) for n in (1, 2, 3)]
    sessions[2] = made(replace(record, persona="nora"), (0.0, 0.3, 0.0, 0.0), (0.0, 0.1, 0.0, 0.0), moods[2])
    course = mean_course(sessions)
    assert [moment.n for moment in course] == [3, 2, 1] and [moment.turn for moment in course] == [0, 1, 2]
    temper = [moment.series["temper"] for moment in course]
    assert [i.mean for i in temper] == pytest.approx([(-0.9 - 0.9 + 0.3) / 3, (0.5 + 0.1) / 2, 0.25])
    # By patient: two of owen's sessions and one of nora's; then one of each, 0.2 to either side of 0.3 at t = 12.7.
    assert temper[0] == mean_interval([-0.9, -0.9, 0.3], ["owen", "owen", "nora"])
    assert (temper[1].low, temper[1].high) == pytest.approx((0.3 - 0.2 * 12.7062, 0.3 + 0.2 * 12.7062))
    assert (temper[2].low, temper[2].high) == (-math.inf, math.inf)
    assert [moment.patients for moment in course] == [2, 2, 1]
    assert course[0].named == {RiskCategory.AGGRESSION: 2, RiskCategory.NONE: 1}
    assert course[1].series["polarity"].mean == pytest.approx(0.3) and course[1].series["attitude"].high == 0
    assert mean_course(sessions) == course


def test_the_mean_is_drawn_with_its_interval_and_the_sessions_left(record: SessionRecord) -> None:
    played = zip(("cbt", "advice", "toxic_positivity"), ("owen", "nora", "ida"), strict=True)
    sessions = [replace(kept(name, turns=20, seed=1), persona=who) for name, who in played]
    course = mean_course(sessions)
    assert course[0].n == 3 and course[-1].n < 3
    mood, count = draw_profile(sessions).axes
    for name, line in lines(mood).items():
        assert line.get_ydata().tolist() == [moment.series[name].mean for moment in course]
        (area,) = [c for c in mood.collections if c.get_gid() == name]
        corners = {(x, y) for x, y in area.get_paths()[0].vertices.tolist()}
        wide = [m for m in course if m.patients >= 3]  # one or two patients have no interval
        assert {(m.turn, side) for m in wide for side in (m.series[name].low, m.series[name].high)} <= corners
        assert {x for x, _ in corners} == {m.turn for m in wide}
    heights = np.array([[bar.get_height() for bar in bars] for bars in count.containers])
    floors = np.array([[bar.get_y() for bar in bars] for bars in count.containers])
    assert floors.tolist() == (np.cumsum(heights, axis=0) - heights).tolist() and floors.max() > 0
    assert heights.sum(axis=0).tolist() == [moment.n for moment in course]
    assert heights.tolist() == [[moment.named.get(category, 0) for moment in course] for category in RiskCategory]
    assert [text.get_text() for text in count.texts] == [str(moment.n) for moment in course]
    assert "1 goal met, 1 rupture, 1 turn limit" in mood.get_title()


def test_many_sessions_with_one_patient_have_no_interval_to_draw() -> None:
    sessions = [kept("advice", seed=seed, turns=3) for seed in range(4)]
    areas = [c for c in draw_profile(sessions).axes[0].collections if c.get_gid() == "temper"]
    assert all(np.isnan(path.vertices).all() for area in areas for path in area.get_paths())
    assert "[" not in profile_table(sessions).split("\n", 1)[1]


def test_failed_sessions_stay_out_of_the_mean(record: SessionRecord) -> None:
    failed = replace(record, failed=True)
    assert mean_course([record, failed]) == mean_course([record])
    assert "1 the patient failed" in draw_profile([record, failed]).axes[0].get_title()
    title = draw_profile([record, record, replace(failed, persona="nora", policy="silent")]).axes[0].get_title()
    assert title.startswith("2 sessions of owen with advice (")
    with pytest.raises(ConfigError, match="2 sessions, none of which"):
        draw_profile([failed, failed])
    with pytest.raises(ConfigError, match="of no session"):
        draw_profile([])


@pytest.mark.parametrize("odd", ["a $x^{ b$", "$", r"\$x$", "$$", "cost_$5 and $6_"])
def test_no_name_is_read_as_a_formula(odd: str, record: SessionRecord, tmp_path: Path) -> None:
    turn = replace(record.turns[0], violations=(odd,), move=odd)
    own = replace(record, policy=odd, persona=odd, turns=(turn, *record.turns[1:]))
    for name, records in (("one", [own]), ("many", [own, own])):
        drawn = save(draw_profile(records), tmp_path / f"{name}.svg").read_text()
        assert f"{odd} with {odd}" in drawn
        save(draw_profile(records), tmp_path / f"{name}.png")
    assert f"of {odd} with {odd}" in profile_table([own, own])


def test_the_legend_says_what_a_risk_takes(record: SessionRecord) -> None:
    def said(*records: SessionRecord) -> str:
        return draw_profile(records).legends[0].get_texts()[-1].get_text()

    assert said(record) == said(record, record) == "risk: dimension below this\nand polarity below -0.3"
    keen = replace(record, thresholds=RiskThresholds(polarity_below=0.25))
    assert said(keen) == said(keen, keen) == said(record).replace("-0.3", "0.25")
    assert said(keen, record, record) == said(record).replace("-0.3", "-0.3 to 0.25")


def test_a_session_of_one_state_can_be_drawn(record: SessionRecord) -> None:
    drawn = draw_profile([made(record, (-0.9, 0.0, 0.0, 0.0))])
    assert shaded(drawn.axes[0]) == [(-0.5, 0.5, "depressive")]


# --- As text and from the command line -----------------------------------------------------------------------------


def test_the_table_has_a_row_a_message(record: SessionRecord) -> None:
    head, columns, *rows = profile_table([record]).splitlines()
    assert head == "owen, end: turn limit" and columns.split()[:7] == ["turn", "who", *SERIES]
    assert [row.split()[1] for row in rows] == [m.speaker for m in record.messages]
    for row, state, found in zip(rows[::2], record.states, record.risks, strict=True):
        numbers = row.split()[2:7]
        assert numbers == [f"{x:+.2f}" for x in (*state.affect, found.polarity)] and found.category in row
    unsafe = profile_table([kept("toxic_positivity", turns=2)])
    assert "unsafe: toxic_positivity" in unsafe


def test_the_table_of_many_has_a_row_a_turn(record: SessionRecord) -> None:
    low, mild = (-0.9, 0.0, 0.0, 0.0), (0.2, 0.0, 0.0, 0.0)
    sessions = [made(record, low, low, mild), made(record, low, mild, mild), made(record, mild, mild)]
    head, columns, *rows = profile_table(sessions).splitlines()
    assert head.startswith("3 sessions of owen with advice") and columns.endswith("sessions naming a risk")
    assert [(int(row.split()[0]), int(row.split()[1]), int(row.split()[-1])) for row in rows] == [
        (0, 3, 2), (1, 3, 1), (2, 2, 0),
    ]  # fmt: skip
    assert [row.split()[2] for row in rows] == [f"{x:+.2f}" for x in (-1.6 / 3, -0.5 / 3, 0.2)]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_command_draws_the_same_file_each_time(
    ending: str, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(name: str, *sessions: Path) -> bytes:
        out = tmp_path / f"{name}.{ending}"
        assert cli.main(["profile", *map(str, sessions), "--out", str(out)]) == 0
        assert str(out) in capsys.readouterr().out
        return out.read_bytes()

    other = tmp_path / "other.json"
    other.write_bytes(file.read_bytes())
    one, many = draw("one", file), draw("many", file, other)
    assert draw("again", file.parent) == one == draw("twice", file, file.parent)
    assert one != many == draw("more", file, other)
    assert all(drawn.startswith(b"\x89PNG" if ending == "png" else b"<?xml") for drawn in (one, many))
    assert not list(tmp_path.rglob("*.part"))


def test_the_command_replaces_a_figure_only_when_told(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mood.png"
    out.write_text("mine")
    command = ["profile", str(file), "--out"]
    assert cli.main([*command, str(out)]) == 2 and out.read_text() == "mine"
    assert "mood.png is there already; name another, or add --force" in capsys.readouterr().err
    assert cli.main([*command, str(out), "--force"]) == 0 and out.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    (tmp_path / "folder.png").mkdir()
    assert cli.main([*command, str(tmp_path / "folder.png"), "--force"]) == 2
    assert "folder.png is there already; name another\n" in capsys.readouterr().err
    assert cli.main([*command, str(file / "mood.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err and not list(tmp_path.rglob("*.part"))


def test_from_benchmark_to_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "bench" / "sessions", tmp_path / "mood.svg"
    command = ["bench", "advice", "attuned", "--split", "dev", "--seeds", "1", "--turns", "2"]
    assert cli.main([*command, "--sessions", "--out", str(tmp_path / "bench")]) == 0
    count = 2 * len(personas("dev"))
    assert len(load_sessions([folder])) == count and len(load_sessions([folder / "scripted" / "advice"])) == count // 2
    capsys.readouterr()
    assert cli.main(["profile", str(folder), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{count} sessions of ") and "with advice, attuned" in shown
    assert "introspection" in out.read_text() and "risk: anxiety/panic" in out.read_text()


def test_the_command_explains_mistakes(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([str(file), "--out", str(tmp_path / "mood.pdf")], "expected .png or .svg"),
        ([str(tmp_path / "none.json"), "--out", "mood.png"], "check the path"),
    ):
        assert cli.main(["profile", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_without_matplotlib_the_command_names_the_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["profile", str(file), "--out", "mood.png"]) == 2
    assert 'pip install "therapysim[report]"' in capsys.readouterr().err

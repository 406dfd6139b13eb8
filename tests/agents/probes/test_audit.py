"""The audit: its bank, its mutations, its searches, and that it finds what a broken rubric pays."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.parts.own_rubric import keep_imports, write_mine
from therapysim.agents.probes.audit.audit_run import (
    Pay,
    PolicyTrial,
    audit,
    audit_table,
    judge_odds,
    judge_table,
    openings,
)
from therapysim.agents.probes.audit.search import BestByJudge, BestOf, best, branch, climb, script, searchers, totals
from therapysim.agents.probes.audit.turns import (
    CHEAP,
    GOOD,
    HARMFUL,
    KINDS,
    MUTATIONS,
    Exploiter,
    Mark,
    blind,
    candidates,
    load_bank,
)
from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import LEAST_PATIENTS, Interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli.main import build_parser
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, PatientError
from therapysim.messages import Transcript
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.rewards.judge import Judge
from therapysim.rewards.rubric import Rubric, Score
from therapysim.rewards.rubric_settings import PRESETS, TERMS, RubricSettings
from therapysim.state import Transition

SMALL = {"open_questions": ("What happened next?", "Who knows about this?"), "hostile": ("You bore me.",)}


def only(**weights: float) -> RubricSettings:
    """A rubric that pays for these terms alone, with no gate."""
    return RubricSettings(**{name: 0.0 for name in TERMS} | weights, gates=())  # type: ignore[arg-type]


def begin(turns: int = 3, people: int = 2, rubric: RubricSettings | None = None) -> SessionBatch:
    batch = SessionBatch(SessionConfig(max_turns=turns), rubric=rubric)
    batch.reset([Start(0, who) for who in dev(people)])
    return batch


@cache
def dev(n: int) -> tuple[str, ...]:
    return tuple(p.id for p in personas("dev"))[:n]


class Says:
    """A session in which the patient just said this; all that a mutation looks at."""

    def __init__(self, text: str) -> None:
        batch = begin(people=1)
        self.session = replace(batch.sessions[0], transcript=Transcript().add("patient", text))

    def __call__(self, name: str, line: str = "That is hard.") -> str:
        return MUTATIONS[name](line, self.session, np.random.default_rng(0))


def test_the_bank_is_whole() -> None:
    bank = load_bank()
    lines = [line for own in bank.values() for line in own]
    assert set(bank) == set(KINDS) == {*GOOD, *CHEAP, *HARMFUL} and not set(GOOD) & {*CHEAP, *HARMFUL}
    assert len(lines) >= 200 and len(set(lines)) == len(lines) and min(map(len, bank.values())) >= 8
    assert load_bank(["vague"]) == {"vague": bank["vague"]}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"vague": []}, "vague is a list of 0, expected a list of at least 1 texts"),
        ({"vague": "Mm."}, "vague is 'Mm.', expected a list"),
        ({"vague": [True]}, r"vague\[0\] is True, expected a text"),
        ({"vague": [" "]}, r"vague\[0\] is ' ', expected a text with words"),
        ({"new": ["Mm."]}, "new is an unknown kind, expected one of reflections"),
        ({3: ["Mm."]}, "a name is 3, expected a text"),
        ({}, "there are none, expected kinds of turns"),
        ([], "expected a mapping"),
        ("Mm.", "expected a mapping"),
    ],
)
def test_a_bank_that_is_wrong_is_refused(told: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.yaml"
    path.write_text(yaml.safe_dump(told))
    with pytest.raises(ConfigError, match=rf"turns .*bank\.yaml: .*{message}"):
        load_bank(path=path)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_bank_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the file cannot be read: .*check the path"):
        load_bank(path=tmp_path / name)


def test_mutations_do_what_their_names_say() -> None:
    says = Says("It was a long day. I think my sister hates me!")
    assert says("echo as question") == "You think your sister hates you?"
    assert "you think your sister hates you." in says("echo in a frame")
    assert says("echo and ask").startswith(says("echo in a frame")[:5]) and says("echo and ask").endswith("?")
    assert says("key words") == "That is hard. I mean the sister, the hates, the long."
    assert says("crisis tail").startswith("That is hard. ") and "crisis line" in says("crisis tail")
    assert says("question tail").startswith("That is hard. ") and says("question tail").endswith("?")
    assert says("praise first").endswith(" That is hard.") and len(says("praise first")) > 20
    assert says("bare question mark") == "That is hard?"
    assert says("split into questions", "You can't go on, it seems.") == "You can't go? On it seems?"
    assert len(says("act words").split()) == 14 and says("act words", "Zebra.") == says("act words")


def test_mutations_of_next_to_nothing() -> None:
    for text in ("", "...", "¿?"):
        says = Says(text)
        assert says("key words") == "That is hard." and says("echo as question") == "Go on?"
    assert Says("Hm.")("split into questions", "...") == "..."
    assert Says("You never ask me.")("echo as question") == "I never ask you?"


def test_every_blind_exploiter_says_what_its_session_alone_decides() -> None:
    bank, sessions = load_bank(), begin().sessions
    exploiters = blind(bank)
    assert len({e.name for e in exploiters}) == len(exploiters) >= len(KINDS) + len(MUTATIONS)
    for exploiter in exploiters:
        together = exploiter.therapist.respond(sessions)
        assert together == [exploiter.therapist.respond([s])[0] for s in sessions], exploiter.name
    assert {e.mark for e in exploiters if "attuned" in e.name or "puts off" in e.name} == {"rider"}
    assert {e.name for e in exploiters if e.mark == "harmful"} == {"brush-off", *(f"{kind} alone" for kind in HARMFUL)}
    others = [e for e in exploiters if "attuned" not in e.name and "puts off" not in e.name]
    assert {e.mark for e in others} == {"trick", "harmful"}
    fixed = next(e for e in exploiters if e.name == "flattery alone")
    assert fixed.therapist.respond(sessions)[0] in bank["flattery"]
    assert blind({"vague": ("Mm.",)})[-1].mark == "rider" and any(
        e.name == "crisis tail on vague" for e in blind({"vague": ("Mm.",)})
    )


def test_candidates_come_from_the_bank_and_are_bent() -> None:
    bank, session = load_bank(), begin().sessions[0]
    lines, drawn = {line for own in bank.values() for line in own}, candidates(session, bank, 32)
    assert len(drawn) == 32 and drawn == candidates(session, bank, 32) and set(drawn[::2]) <= lines
    assert len(set(drawn[1::2]) - lines) >= 12
    assert len(candidates(session, {"vague": ("Mm.",)}, 5)) == 5


def test_a_branch_changes_nothing_and_foretells_the_turn() -> None:
    batch = begin()
    kept, lines = batch.snapshot(), ["What happened next?", "You bore me."]
    rewards, after = branch(batch, kept, [lines, lines])
    assert batch.snapshot() is kept and all(s.state.turn == 0 for s in kept)
    assert [len(row) for row in rewards] == [2, 2] and all(s.state.turn == 1 for own in after for s in own)
    taken = batch.step([lines[1], lines[0]])
    assert [turn.reward for turn in taken if turn] == [rewards[0][1], rewards[1][0]]
    assert after[0][1].transcript == batch.sessions[0].transcript


def test_a_branch_that_breaks_leaves_the_batch_as_it_was() -> None:
    batch = begin()
    kept = batch.snapshot()
    with pytest.raises(ValueError):
        branch(batch, kept, [["one"], [None]])  # type: ignore[list-item]
    assert batch.snapshot() is kept


def test_the_best_of_n_is_the_best_and_is_found_again() -> None:
    batch, bank = begin(), load_bank()
    search, kept = BestOf(batch, bank, 6), batch.snapshot()
    said = search.respond(kept)
    assert said == search.respond(kept) == [search.respond([s])[0] for s in kept] and batch.snapshot() is kept
    rewards, _ = branch(batch, kept, [candidates(s, bank, 6) for s in kept])
    assert [turn.reward for turn in batch.step([*said]) if turn] == [max(row) for row in rewards]
    starts = [Start(1, who) for who in dev(2)]
    texts = [[e.session.transcript for e in play(batch, search, starts)] for _ in range(2)]
    assert texts[0] == texts[1]


def test_the_best_of_n_by_the_judge() -> None:
    judge, bank, sessions = Judge(), load_bank(), begin().sessions
    for session, said in zip(sessions, BestByJudge(judge, bank, 6).respond(sessions), strict=True):
        drawn = candidates(session, bank, 6)
        scores = judge.score([session.transcript.last("patient")] * 6, drawn).scores
        assert said == drawn[int(np.argmax(scores))]
    assert best(np.array([np.nan, -5.0, -2.0, -2.0])) == 2


def test_a_search_of_one_is_refused() -> None:
    batch = begin()
    for make in (lambda: BestOf(batch, SMALL, 1), lambda: BestByJudge(Judge(), SMALL, 1),
                 lambda: searchers(batch, SMALL, 1, Judge())):  # fmt: skip
        with pytest.raises(ConfigError, match="n is 1"):
            make()
    names = [e.name for e in searchers(batch, SMALL, 4, Judge())]
    assert names == ["best of 4", "best of 4, cheap kinds", "best of 4 by the judge"]
    assert [e.name for e in searchers(batch, SMALL, 9, Judge())][:2] == ["best of 8", "best of 9"]


def test_the_climb_finds_what_pays_on_the_patients_it_is_tuned_on() -> None:
    batch = begin(rubric=only(inquiry=1.0))
    lines = ["You bore me.", "What happened next?", "What was that like for you?"]
    starts = [Start(0, p.id) for p in personas("train")[:2]]
    found = totals(batch, lines, starts)
    alone = [np.mean([e.total for e in play(batch, Constant(line), starts)]) for line in lines]
    assert found == pytest.approx(alone) and found[0] < min(found[1:])
    # A line that was said before is worth half: the script has to move on.
    assert set(script(batch, lines, starts)[:2]) == set(lines[1:])
    single, _pair, long, cheap = climb(batch, SMALL, [s.persona or "" for s in starts])
    assert single.note in lines[1:] and {e.mark for e in (single, long, cheap)} == {"trick"}
    assert long.therapist.respond(batch.reset(starts)) == [long.note.split(" / ")[0]] * 2
    assert cheap.note.split(" / ")[0] == "You bore me."
    with pytest.raises(ConfigError, match="at least one patient"):
        climb(batch, SMALL, [])


class Constant:
    """Says one line."""

    def __init__(self, line: str) -> None:
        self.line = line

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        return [self.line] * len(sessions)


def trial(mark: Mark, reward: float, low: float, mood: float = 0.0, n: int = LEAST_PATIENTS) -> PolicyTrial:
    gaps = {
        "reward": Interval(reward, low, reward + 1, n),
        "mood": Interval(mood, mood - 0.1, mood + 0.1, n),
        "alliance": Interval(0.0, -0.1, 0.1, n),
    }
    return PolicyTrial(Exploiter("x", mark, Constant("")), gaps, (), n, 0)


def test_what_counts_as_an_exploit() -> None:
    assert trial("trick", 0.1, -0.1).exploit and trial("trick", 0.1, -0.1).beats == "yes"
    assert not trial("trick", 0.0, -0.1).exploit and not trial("trick", -0.1, -0.3, mood=-0.5).exploit
    assert not trial("rider", 0.1, -0.1).exploit and trial("rider", 0.3, 0.1).exploit
    assert trial("rider", 0.3, 0.1).beats == "clearly"
    assert not trial("search", 5.0, 4.0).exploit and trial("search", 0.1, -0.1, mood=-0.5).exploit
    assert not trial("search", 0.1, -0.1, mood=-0.05).exploit
    few = LEAST_PATIENTS - 1
    assert not trial("search", 5.0, 4.0, mood=-0.5, n=few).exploit and trial("rider", 5.0, 4.0, n=few).beats == "yes"
    assert "nothing" in str(trial("trick", 0.1, -0.1))


def test_the_attuned_therapist_beside_itself_gains_nothing() -> None:
    found = audit(begin(), [Exploiter("self", "rider", baseline("attuned"))], dev(2), [0])[0]
    assert {gap.mean for gap in found.gaps.values()} == {0.0} and not found.exploit and not found.best_pays


def test_a_broken_rubric_is_found_out_with_the_term_that_pays() -> None:
    exploiters = blind(load_bank(["reflections", "hostile"]))
    trials = audit(begin(6, 6, only(inquiry=1.0)), exploiters, dev(6), [0])  # in three turns it stands at the bar
    found = {t.exploiter.name: t for t in trials}
    asked, hostile = found["question tail on reflections"], found["hostile alone"]
    assert asked.exploit and asked.half is not None and asked.half.mean > 0
    assert [pay.term for pay in asked.pays if pay.own] == ["inquiry"]
    assert not hostile.exploit and hostile.beats == "no"
    assert "| split into questions on reflections | trick | " in audit_table(trials)
    assert [t.gaps["reward"].mean for t in trials] == sorted((t.gaps["reward"].mean for t in trials), reverse=True)


class PaysQuestions(Rubric):
    """Pays every question mark, whatever it costs the patient."""

    def __call__(self, turn: Transition) -> Score:
        asked = turn.therapist.text.count("?")
        return Score(float(asked), {"asked": float(asked), "other": 1.0}, {"asked": 1.0, "other": 0.0}, ())


def test_a_search_that_is_paid_for_harm_is_an_exploit() -> None:
    batch = SessionBatch(SessionConfig(max_turns=4), rubric=PaysQuestions())
    exploiters = searchers(batch, load_bank(["question_spam", "open_questions"]), 4, Judge())
    chosen = [e for e in exploiters if e.name == "best of 4, cheap kinds"]
    found = audit(batch, chosen, dev(8), [0])[0]
    assert found.exploit and {"mood", "alliance"} <= set(found.harms) and found.best_pays[0].term == "asked"
    assert len(found.best_pays) == 1


def test_the_terms_add_up_to_the_reward_behind_a_shut_gate_too() -> None:
    batch = begin(4)
    found = audit(batch, [Exploiter("hostile", "trick", Constant("You bore me. Stop whining."))], dev(3), [0])[0]
    assert sum(pay.own - pay.attuned for pay in found.pays) == pytest.approx(found.gaps["reward"].mean)
    assert any(turn.score.gates for e in play(batch, Constant("Stop whining."), [Start(0, dev(1)[0])])
               for turn in e.turns if turn.score)  # fmt: skip
    assert [p.own - p.attuned for p in found.pays] == sorted((p.own - p.attuned for p in found.pays), reverse=True)
    assert isinstance(found.pays[0], Pay) and json.dumps(found.as_dict())


def test_an_interval_is_over_patients_not_sessions() -> None:
    one, two = (
        audit(begin(2), [Exploiter("x", "trick", Constant("You bore me."))], dev(n), range(3))[0] for n in (1, 2)
    )
    assert {gap.low for gap in one.gaps.values()} == {-math.inf}
    assert two.patients == 2 and {gap.n for gap in two.gaps.values()} == {6} and two.as_dict()["patients"] == 2


def test_the_judge_prefers_what_its_rubric_pays() -> None:
    batch = begin()
    sessions = openings(batch, dev(3), 12)
    lines = [s.transcript.last("patient") for s in sessions]
    assert 6 <= len(lines) <= 12 and len(set(lines)) == len(lines) and len({s.persona.id for s in sessions}) == 3
    odds = judge_odds(Judge(PaysQuestions()), load_bank(["happy_words", "question_spam"]), sessions)
    assert [(o.kind, o.share) for o in odds] == [("question_spam", 1.0), ("happy_words", 0.0)]
    assert "| happy_words | " in judge_table(odds) and odds[0].n == len(sessions)
    with pytest.raises(ConfigError, match="at least one patient's line"):
        judge_odds(Judge(), SMALL, [])


class Failing:
    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        raise PatientError("no line today")


def test_an_audit_that_cannot_be_played_is_refused() -> None:
    plain = [Exploiter("x", "trick", Constant("Mm."))]
    for exploiters, who in ((plain, ()), ([], dev(1))):
        with pytest.raises(ConfigError, match="at least one"):
            audit(begin(), exploiters, who, [0])
    with pytest.raises(ConfigError, match="failed in every session"):
        audit(SessionBatch(patient=Failing()), plain, dev(1), [0])


@pytest.fixture(autouse=True)
def two_patients_to_tune_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("therapysim.agents.probes.audit.search._TUNED_ON", 12)


def command(*options: str) -> int:
    """Runs ``therapysim audit`` in small; the exit code."""
    small = ["audit", "--patients", "2", "--turns", "2", "--n", "3", "--kinds", "hostile"]
    chosen = build_parser().parse_args([*small, *options])
    try:
        chosen.run(chosen)
    except SystemExit as stop:
        return int(str(stop.code))
    return 0


def test_the_command_exits_by_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "audit.json"
    code, shown = command("--out", str(out)), capsys.readouterr().out
    told = json.loads(out.read_text(encoding="utf-8"))
    assert code == int(any(row["exploit"] for row in told["trials"])) and not list(out.parent.glob("*.part"))
    assert told["rubric"] == "default" and told["weights"] == RubricSettings().weights and told["n"] == 3
    assert {row["kind"] for row in told["judge"]} == {"hostile"}
    names = [row["name"] for row in told["trials"]]
    assert {"hostile alone", "best of 3", "best pair for all", "crisis tail on attuned"} <= set(names)
    assert f"exploits: {sum(r['exploit'] for r in told['trials'])} of {len(names)} exploiters" in shown
    assert "2 patients are too few" in shown
    gaps = [row["gaps"]["reward"]["mean"] for row in told["trials"]]
    assert gaps == sorted(gaps, reverse=True)


def test_the_command_fails_on_a_broken_rubric(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "broken", only(explorations=1.0))
    assert command("--rubric", "broken", "--kinds", "apologies", "--turns", "3") == 1
    assert "paid by explorations " in capsys.readouterr().out


def test_bad_options_are_refused() -> None:
    for options in (["--kinds", "none"], ["--rubric", "none"], ["--seeds", "0"], ["--patients", "0"], ["--n", "1"],
                    ["--turns", "0"], ["--out", "/dev/null/x.json"]):  # fmt: skip
        with pytest.raises(ConfigError):
            command(*options)


def test_a_small_audit_finds_no_exploit() -> None:
    """What every commit is held to: cheap kinds and harmful ones, eight patients, intervals over them."""
    bank = load_bank(["agreement", "flattery", "vague", "praise", "pleasing_harm", "boundary", "breach", "mockery"])
    batch = SessionBatch(SessionConfig(max_turns=12))
    exploiters = [e for e in blind(bank) if " on " not in e.name]
    trials = audit(batch, exploiters, dev(8), [0])
    assert [trial.exploiter.name for trial in trials if trial.exploit] == []
    assert {t.exploiter.name for t in trials} >= {"heard that", "garbage tail", "flower pot", "brush-off"}


def test_a_term_of_ones_own_that_pays_words_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_imports(monkeypatch, tmp_path, "audited")
    write_mine(tmp_path, "audited", "def sorry(turn):\n    return float('sorry' in turn.therapist.text.lower())\n")
    told = 'preset: none\nterms: {sorry: {class: "audited:sorry", weight: 1}}'
    (tmp_path / "mine.yaml").write_text(told, encoding="utf-8")
    options = ("--rubric", "mine.yaml", "--kinds", "apologies", "--turns", "3", "--blind", "--out", "audit.json")
    assert command(*options) == 1
    assert "paid by sorry " in capsys.readouterr().out
    kept = json.loads((tmp_path / "audit.json").read_text())
    assert kept["scored_by"]["own"]["sorry"]["class"] == "audited:sorry" and kept["weights"]["sorry"] == 1
    (tmp_path / "lines.yaml").write_text('begging: ["I am so sorry.", "So sorry to hear it."]', encoding="utf-8")
    assert command(*options, "--kinds", "hostile", "--lines", "lines.yaml") == 1
    assert "begging alone" in capsys.readouterr().out
    assert json.loads((tmp_path / "audit.json").read_text())["own_lines"]["begging"][0] == "I am so sorry."
    for text, says in (("praise: [a]", "praise is a kind of the shipped turns"), ("begging: a", "begging is 'a', exp")):
        (tmp_path / "lines.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=f"turns lines.yaml: .*{says}"):
            command("--lines", "lines.yaml")
    assert command("--rubric", "mine.yaml", "--signal") == 0
    assert "| sorry |" in capsys.readouterr().out

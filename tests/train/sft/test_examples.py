"""What is copied: whose sessions with whom, which of them, and how they are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from trl.data_utils import is_conversational

from tests.parts.bench_parts import Mute
from tests.parts.copying import patients
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.session_file import save_session
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli import main as cli
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.errors import ConfigError, PatientError
from therapysim.personas.load import training_ids
from therapysim.personas.patient import Cue, Line
from therapysim.train.sft import examples
from therapysim.train.sft.examples import Example, collect, draw, practice_starts, read_examples, select, write_examples
from therapysim.train.sft.sft_settings import SFTSettings


def settings(**changes: Any) -> SFTSettings:
    return SFTSettings(**{"therapists": ("cbt", "mi"), "draws": 3, "best": 1.0, "max_turns": 2, **changes})


def example(persona: str, total: float, said: str = "Go on.") -> Example:
    return Example(
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "p"},
            {"role": "assistant", "content": said},
        ],
        persona,
        0,
        "mi",
        total,
    )


def start_of(one: Example) -> tuple[str, int]:
    return one.persona, one.seed


@pytest.fixture
def nobody_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is played all the same is a failure."""
    monkeypatch.setattr(examples, "play", lambda *_: pytest.fail("somebody played"))


def test_equal_seeds_give_equal_examples() -> None:
    one, two = (collect(settings(), patients()) for _ in range(2))
    assert one == two and len(one) == 6
    assert collect(settings(seed=1), patients()) != one


def test_all_therapists_meet_the_same_patients_and_seeds() -> None:
    found = collect(settings(draws=4), patients())
    met = {name: sorted((e.persona, e.seed) for e in found if e.therapist == name) for name in ("cbt", "mi")}
    assert met["cbt"] == met["mi"] and len(set(met["cbt"])) == 4
    openings = {name: {e.messages[1]["content"] for e in found if e.therapist == name} for name in ("cbt", "mi")}
    assert openings["cbt"] == openings["mi"]  # to the very words


def test_the_patients_of_the_split_take_turns() -> None:
    ids = training_ids("train")
    starts = practice_starts(settings(draws=len(ids) + 2, vary=False))
    assert [start.persona for start in starts] == [*ids, *ids[:2]]
    assert len({start.seed for start in starts}) == len(starts)
    assert practice_starts(settings(draws=3, vary=False)) == starts[:3]  # a longer list begins like a shorter one


def test_each_session_meets_a_variant_of_its_own() -> None:
    starts = practice_starts(settings(draws=4, personas=("owen", "marta")))
    assert [start.persona for start in starts] == [
        f"{who}~{start.seed}" for who, start in zip(("owen", "marta") * 2, starts, strict=True)
    ]
    assert {start.persona for start in practice_starts(settings(split="dev", vary=False))} <= set(training_ids("dev"))


@pytest.mark.parametrize(
    ("share", "kept"), [(1.0, [4, 3, 2, 1]), (0.5, [4, 3]), (0.26, [4, 3]), (0.25, [4]), (0.01, [4])]
)
def test_the_best_share_of_a_patients_sessions_is_kept(share: float, kept: list[int]) -> None:
    found = [example("owen", total) for total in (2, 4, 1, 3)]
    assert [e.total for e in select(found, share)] == kept


def test_variants_count_as_their_patient_and_patients_apart() -> None:
    found = [example("owen~1", 1), example("owen~2", 5), example("marta~7", -3), example("marta", -2)]
    assert [e.persona for e in select(found, 0.5)] == ["owen~2", "marta"]


def test_a_share_is_not_rounded_up_for_a_rounding_error() -> None:
    assert 0.28 * 25 > 7 and len(select([example("owen", i) for i in range(25)], 0.28)) == 7


def test_what_is_collected_is_the_best_of_what_was_played() -> None:
    whole = collect(settings(personas=("owen",), draws=4), patients())
    half = collect(settings(personas=("owen",), draws=4, best=0.5), patients())
    assert sorted(e.total for e in half) == sorted(e.total for e in whole)[4:]
    assert min(e.total for e in half) > min(e.total for e in whole)


@pytest.mark.parametrize("name", ["cpt", "no/such.gguf"])
def test_an_unknown_therapist_is_named_before_anybody_plays(nobody_plays: None, name: str) -> None:
    with pytest.raises(ConfigError, match=f"policy '{name}' is unknown"):
        collect(settings(therapists=("cbt", name)), patients())


def kept(folder: Path, *arguments: str, policy: str = "cbt") -> Path:
    """Session files of the benchmark."""
    command = ["bench", policy, "--out", str(folder), "--seeds", "2", "--turns", "2", "--sessions", *arguments]
    assert cli.main(command) == 0
    return folder / "sessions"


def test_sessions_that_a_benchmark_kept_are_copied_as_if_played_here(tmp_path: Path) -> None:
    place = kept(tmp_path, "--patients", "marta", "owen")
    found = sorted(collect(settings(therapists=(), sessions=(str(place),)), patients()), key=start_of)
    starts = [Start(seed, persona) for persona in ("marta", "owen") for seed in (0, 1)]
    played = draw(settings(therapists=("cbt",)), patients(), starts)
    assert [e.messages for e in found] == [e.messages for e in played]
    assert [(e.persona, e.seed, e.therapist) for e in found] == [(e.persona, e.seed, "cbt") for e in played]
    # The benchmark's rubric is another: worth is told by the run's own.
    assert [e.total for e in found] == pytest.approx([e.total for e in played])
    scored = draw(settings(therapists=("cbt",)), SessionBatch(patients().config, rubric="default"), starts)
    assert [e.total for e in found] != pytest.approx([e.total for e in scored])


def test_played_and_kept_sessions_are_chosen_among_together(tmp_path: Path) -> None:
    place = kept(tmp_path, "--patients", "owen", policy="silent")
    both = settings(personas=("owen",), sessions=(str(place),), therapists=("cbt",))
    everything = collect(both, patients())
    assert sorted({e.therapist for e in everything}) == ["cbt", "silent"] and len(everything) == 5
    best = collect(both.changed(best=0.6), patients())
    assert sorted(e.total for e in best) == sorted(e.total for e in everything)[2:]


@pytest.mark.parametrize(("patient", "split"), [("tomas", "test"), ("kenji", "dev")])
def test_a_kept_session_of_another_split_is_refused_by_name(
    nobody_plays: None, tmp_path: Path, patient: str, split: str
) -> None:
    place = kept(tmp_path, "--patients", "marta", patient)
    wanted = settings(therapists=("cbt",), sessions=(str(place),))
    with pytest.raises(ConfigError, match=rf"one of cbt is with '{patient}', seed 0, of split '{split}', expected no"):
        collect(wanted, patients())  # and before anybody plays


def test_a_kept_session_of_a_patient_who_was_not_chosen_is_refused(tmp_path: Path) -> None:
    place = kept(tmp_path, "--patients", "marta")
    with pytest.raises(ConfigError, match=r"is with 'marta', .*expected no patients but owen, ingrid; leave it out"):
        collect(settings(therapists=(), sessions=(str(place),), personas=("owen", "ingrid")), patients())
    chosen = settings(therapists=(), sessions=(str(place),), split="dev", vary=False, personas=("marta",))
    assert len(collect(chosen, patients())) == 2


def test_a_kept_session_with_a_variant_is_of_its_patient(tmp_path: Path) -> None:
    (episode,) = play(patients(), baseline("mi"), [Start(3, "owen~3")])
    save_session(tmp_path / "one.json", episode.session, episode.turns, "mi")
    (found,) = collect(settings(therapists=(), sessions=(str(tmp_path),), personas=("owen",)), patients())
    assert (found.persona, found.therapist) == ("owen~3", "mi")


def test_what_is_no_session_file_is_told_before_anybody_plays(nobody_plays: None, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"a\.json"):
        collect(settings(sessions=(str(tmp_path),)), patients())
    with pytest.raises(ConfigError, match=r"none: the file cannot be read: No such file"):
        collect(settings(sessions=(str(tmp_path / "none"),)), patients())


class HangsUp:
    """A patient who answers nobody but in the sessions of even seeds."""

    def __init__(self) -> None:
        self.inner = patients().patient

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        if any(len(cue.transcript) and cue.seed % 2 for cue in cues):
            raise PatientError("has hung up")
        return self.inner.speak(cues)


def test_a_failed_session_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(examples, "announce", told.append)
    starts = [Start(seed, "owen") for seed in (1, 2, 3, 4)]
    found = draw(settings(therapists=("cbt",)), patients(HangsUp()), starts)
    assert 0 < len(found) < 4
    assert told == [f"{4 - len(found)} of 4 sessions failed, and are left out"]


def test_a_kept_session_that_failed_is_left_out(tmp_path: Path) -> None:
    (sound,) = play(patients(), baseline("cbt"), [Start(1, "owen")])
    batch = patients()
    batch.reset([Start(2, "owen")])
    batch.patient = Mute()
    turns = [turn for turn in batch.step(["Go on."]) if turn]
    (failed,) = batch.sessions
    assert failed.failed
    for name, session, taken in (("a", sound.session, sound.turns), ("b", failed, turns)):
        save_session(tmp_path / f"{name}.json", session, taken, "cbt")
    (found,) = collect(settings(therapists=(), sessions=(str(tmp_path),)), patients())
    assert found.seed == 1
    (tmp_path / "a.json").unlink()
    with pytest.raises(ConfigError, match="every session failed, or has no therapist turn, so"):
        collect(settings(therapists=(), sessions=(str(tmp_path),)), patients())


def test_nobody_answers_and_nothing_is_left() -> None:
    with pytest.raises(ConfigError, match="every session failed"):
        collect(settings(), patients(Mute()))


def test_the_file_is_one_of_chats_that_trainers_read(tmp_path: Path) -> None:
    found = collect(settings(), patients())
    write_examples(found, tmp_path / "examples.jsonl")
    assert read_examples(tmp_path / "examples.jsonl") == found
    for line in (tmp_path / "examples.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert is_conversational(row)
        roles = [message["role"] for message in row["messages"]]
        assert roles[0] == "system" and roles[-1] == "assistant"
        assert roles[1:] == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"].strip() for message in row["messages"])


def test_a_row_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(ConfigError, match=r"examples\.jsonl"):
        read_examples(tmp_path / "examples.jsonl")


def test_the_header_is_shown_where_it_is_asked_for() -> None:
    shown, hidden = (collect(settings(show_state=show), patients()) for show in (True, False))
    assert all("[USER STATE]" in e.messages[1]["content"] for e in shown)
    assert not any("[USER STATE]" in m["content"] for e in hidden for m in e.messages[1:])
    assert [e.total for e in shown] == [e.total for e in hidden]


def test_what_the_patient_says_last_is_not_kept() -> None:
    starts = practice_starts(settings())
    sessions: list[Session] = [e.session for e in play(patients(), baseline("cbt"), starts)]
    for own, session in zip(draw(settings(therapists=("cbt",)), patients(), starts), sessions, strict=True):
        assert session.messages[-1].speaker == "patient"
        assert own.messages[-1]["content"] == session.messages[-2].text

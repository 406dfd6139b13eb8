"""Patients of one's own: named by file or folder, known by name and content."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import therapysim  # noqa: F401 - registers the environment
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.bench.folder import overlaps
from therapysim.agents.bench.runner import run
from therapysim.agents.therapists.policies import Policy, Run, find_policy
from therapysim.agents.web.asked import Begin
from therapysim.agents.web.desk import Refused
from therapysim.agents.web.house import House, PageSettings
from therapysim.agents.web.view import patient_view
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, PersonaError
from therapysim.messages import Transcript
from therapysim.personas import Cue, find
from therapysim.personas.llm.additions import borrows
from therapysim.personas.load import LIBRARY, library, open_persona, patients_named, training_ids
from therapysim.personas.opening import describe_patient
from therapysim.personas.own import id_of, persona_hash
from therapysim.personas.template import write_template
from therapysim.rewards.rubric_settings import RubricSettings
from therapysim.state import Move
from therapysim.train.grpo.generation import redrawn
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.pairs.drawing import start_of
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.patient_processes import Office, Patients
from therapysim.train.sft.examples import practice_starts
from therapysim.train.sft.sft_settings import SFTSettings


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two patients of one's own in ``mine``."""
    monkeypatch.chdir(tmp_path)
    for name in ("anna", "bela"):
        write_template(Path("mine") / f"{name}.yaml")
    return Path("mine")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def opening(persona: Any) -> tuple[str, str]:
    env = gym.make("TherapySim-v0", persona=persona, max_turns=2)
    seen, info = env.reset(seed=1)
    env.close()
    return info["persona"], seen["utterance"]


def test_the_environment_takes_a_file_or_a_persona(own: Path) -> None:
    persona = open_persona("mine/anna.yaml")
    assert persona.id == f"anna@{persona_hash(persona)[:12]}" and persona.name == "Anna"
    told = {opening(named) for named in ("mine/anna.yaml", own / "anna.yaml", persona)}
    assert len(told) == 1
    name, said = told.pop()
    assert name == persona.id and said.split(".")[0] in "\n".join(persona.voice.opening)


def test_a_reset_may_name_a_file(own: Path) -> None:
    env = gym.make("TherapySim-v0", persona="marta")
    assert env.reset(seed=0, options={"persona": "mine/bela.yaml"})[1]["persona"].startswith("bela@")
    assert env.reset(seed=0)[1]["persona"] == "marta"


def test_a_session_with_ones_own_is_begun_once_more_as_the_environment_says(own: Path) -> None:
    env = gym.make("TherapySim-v0", persona="mine/anna.yaml", max_turns=2)
    seen, info = env.reset(seed=7)
    (session,) = SessionBatch().reset([Start(info["seed"], open_persona("mine/anna.yaml"))])
    assert (session.persona.id, session.transcript.last("patient")) == (info["persona"], seen["utterance"])
    with pytest.raises(PersonaError, match="unknown"):
        SessionBatch().reset([Start(info["seed"], info["persona"])])
    assert 'open_persona("own/anna.yaml")' in str(env.unwrapped.__doc__)


def test_a_vector_of_environments_takes_a_file(own: Path) -> None:
    env = gym.make_vec("TherapySim-v0", num_envs=2, persona="mine/anna.yaml", vectorization_mode="vector_entry_point")
    found = env.reset(seed=0)[1]["persona"]
    assert {str(name).partition("@")[0] for name in found} == {"anna"}


def test_a_shipped_patient_is_itself_and_a_changed_one_another() -> None:
    assert opening(find("marta"))[0] == "marta"
    assert opening(replace(find("marta"), resistance=0.9))[0].startswith("marta@")


def test_equal_patients_have_one_id_however_code_wrote_them() -> None:
    marta = find("marta")
    whole, listed = replace(marta, resistance=1), replace(marta, resistance=1.0, strengths=list(marta.strengths))  # type: ignore[arg-type]
    assert open_persona(whole) == open_persona(listed) != marta
    assert SessionBatch().reset([Start(1, listed)])[0].persona == open_persona(whole)
    for persona in library().values():
        assert open_persona(replace(persona, strengths=list(persona.strengths))) is persona  # type: ignore[arg-type]


def test_a_changed_patient_is_another_to_a_batch_too() -> None:
    changed = replace(find("marta"), resistance=0.0)
    met = SessionBatch().reset([Start(1, changed), Start(1, changed, vary=True), Start(1, find("marta~3")), Start(1)])
    ids = [session.persona.id for session in met]
    name = open_persona(changed).id
    assert name.startswith("marta@") and ids[:3] == [name, f"{name}~1", "marta~3"] and ids[3] in library()


def test_a_shipped_file_by_path_is_the_shipped_patient() -> None:
    assert patients_named([str(LIBRARY / "marta.yaml")]) == ("marta",)


def test_comments_make_no_other_patient_and_words_do(own: Path) -> None:
    before = open_persona("mine/anna.yaml")
    edit(own / "anna.yaml", "# With care", "# With much care")
    assert open_persona("mine/anna.yaml") == before
    edit(own / "anna.yaml", "I am forty-one.", "Just forty-one.")
    assert open_persona("mine/anna.yaml").id not in (before.id, "anna")


def test_settings_keep_what_a_file_said_and_refuse_what_it_says_now(own: Path) -> None:
    (kept,) = patients_named(["mine/anna.yaml"])
    assert kept == f"mine/anna.yaml@{persona_hash(open_persona('mine/anna.yaml'))[:12]}"
    assert id_of(kept) == open_persona(kept).id and patients_named([kept]) == (kept,)
    edit(own / "anna.yaml", "gad7: 13", "gad7: 12")
    with pytest.raises(PersonaError, match=r"anna\.yaml\): what it says has changed: its hash is \w+, expected \w+"):
        open_persona(kept)


def test_a_variant_of_ones_own(own: Path) -> None:
    one, other = open_persona("mine/anna.yaml~3"), open_persona("mine/anna.yaml~4")
    assert one.id.endswith("~3") and one.id.startswith("anna@") and one.mood != other.mood
    (kept,) = patients_named(["mine/anna.yaml~3"])
    assert open_persona(kept) == one and id_of(kept) == one.id


def test_a_variant_of_ones_own_keeps_its_id_when_it_is_opened_again(own: Path) -> None:
    one, shipped = open_persona("mine/anna.yaml~3"), open_persona("marta~3")
    assert open_persona(one) == one and open_persona(shipped) == shipped
    assert open_persona(replace(shipped, resistance=0.0)).id.startswith("marta@")


def test_a_name_is_a_patient_before_it_is_a_folder(own: Path) -> None:
    own.rename("marta")
    assert patients_named(["marta"]) == ("marta",)
    assert [id_of(name)[:5] for name in patients_named(["./marta"])] == ["anna@", "bela@"]
    Path("marta").rename("mine")
    assert len(patients_named(["mine", "owen", "marta~7"])) == 4


def test_an_unknown_name_says_what_names_may_be(own: Path) -> None:
    with pytest.raises(PersonaError, match=r"'mrta' is unknown; did you mean 'marta'\?; there is no folder"):
        patients_named(["mrta"])
    with pytest.raises(PersonaError, match="'mine' is a folder, expected one of its files"):
        open_persona("mine")


def test_every_mistake_of_every_file_is_said_at_once(own: Path) -> None:
    edit(own / "anna.yaml", "gad7: 13", "gad7: 22")
    edit(own / "anna.yaml", "style: plain", "style: chatty")
    edit(own / "anna.yaml", "risk: 0", "risk: 1")
    edit(own / "bela.yaml", "    age: [", "    aeg: [")
    with pytest.raises(PersonaError) as error:
        patients_named(["mine", "mrta"])
    for told in (
        "gad7 is 22, expected 0–21, a whole number",
        "style is 'chatty', expected one of terse, plain, talkative",
        "case.danger is missing, expected the ladder of a patient of risk 1",
        "case.denial is 5 lines, expected a no of 5 lines or more where risk is 0, and none where it is not",
        "case.life.aeg is an unknown field; did you mean 'age'?",
        "case.life.age is missing, expected a list of at least 2 texts; add the field",
        "'mrta' is unknown",
    ):
        assert told in str(error.value)


def test_who_sends_names_from_outside_reads_no_file(own: Path) -> None:
    with pytest.raises(PersonaError, match="unknown"):
        SessionBatch().reset([Start(0, "mine/anna.yaml")])


def test_nothing_is_trained_on_a_test_patient_of_ones_own(own: Path) -> None:
    assert [id_of(name)[:5] for name in training_ids("train", ["mine"])] == ["anna@", "bela@"]
    edit(own / "bela.yaml", "split: train", "split: test")
    with pytest.raises(PersonaError, match=r"test patients \(bela@\w+\) are kept apart"):
        training_ids("train", ["mine"])


def bench(out: str, patients: tuple[str, ...] = ("mine",)) -> list[str]:
    settings = BenchSettings(patients=patients, seeds=1, turns=2)
    simulator = Simulator("scripted", lambda: SCRIPTED, describe_patient("scripted"))
    return [row.persona for row in run(settings, [find_policy("neutral")], [simulator], out)]


SCRIPTED = SessionBatch().patient


def test_a_benchmark_names_its_own_patients_and_mixes_none(own: Path) -> None:
    played = bench("out")
    assert played == list(whom(BenchSettings(patients=("mine",)))) and all("@" in name for name in played)
    assert json.loads(Path("out/settings.json").read_text(encoding="utf-8"))["patients"] == played
    assert bench("out") == played
    edit(own / "anna.yaml", "resistance: 0.3", "resistance: 0.4")
    with pytest.raises(ConfigError, match=r"other settings: patients was \[\"anna@"):
        bench("out")


def test_one_patient_by_two_names_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match="one is given twice"):
        BenchSettings(patients=("mine", "mine/anna.yaml"))


def test_who_was_trained_with_a_patient_has_met_it_however_it_was_edited(own: Path) -> None:
    run_of = Run(personas=training_ids("train", ["mine/anna.yaml", "marta~3"]), split="train", show_state=True,
                 max_turn_tokens=8)  # fmt: skip
    assert run_of.trained_on == {"anna", "marta"}
    policy = Policy("p", lambda: None, {}, run_of.trained_on)  # type: ignore[arg-type, return-value]
    assert overlaps(policy, ["anna@0123456789ab", "bela@0123456789ab", "owen"]) == ("anna",)


def test_patients_in_processes_play_ones_own(own: Path) -> None:
    start = Start.meeting(5, patients_named(["mine/anna.yaml"])[0])
    patients = Patients(Office(SessionBatch().config, RubricSettings.preset("default")), 1)
    try:
        (begun,) = patients.begin([start])
        ((after,), _) = patients.step([begun], ["How do you sleep?"])
    finally:
        patients.close()
    here = SessionBatch()
    here.reset([start])
    here.step(["How do you sleep?"])
    assert after.persona.id.startswith("anna@") and str(after.transcript) == str(here.sessions[0].transcript)


def test_trainings_and_draws_meet_ones_own_and_keep_what_it_said(own: Path) -> None:
    grpo = GRPOSettings(personas=("mine", "marta"), vary=True)
    names = [open_persona(f"mine/{name}.yaml").id for name in ("anna", "bela")]
    assert [id_of(name) for name in grpo.personas] == [*names, "marta"]
    met = {redrawn(grpo, row, 1).patient or "" for row in range(20)}
    assert {name.partition("~")[0] for name in met} == {*names, "marta"} and all("~" in name for name in met)
    sft = SFTSettings(personas=("mine",), therapists=("cbt",), draws=4, vary=True)
    assert {str(start.patient).partition("~")[0] for start in practice_starts(sft)} == set(names)
    pairs = PairSettings(personas=("mine", "owen"), vary=True)
    varied = start_of(0, pairs).patient or ""
    assert {str(start_of(n, pairs).patient) for n in range(3)} == {*names, "owen"} and varied
    assert pairs.persona(f"{names[0]}~5") == open_persona("mine/anna.yaml~5") and pairs.persona("owen").id == "owen"
    edit(own / "anna.yaml", "gad7: 13", "gad7: 12")
    with pytest.raises(PersonaError, match="what it says has changed"):
        GRPOSettings(**grpo.model_dump())


def test_the_page_seats_ones_own(own: Path, tmp_path: Path) -> None:
    persona = open_persona("mine/anna.yaml")
    house = House(PageSettings([persona], out=tmp_path / "ratings"))
    key, desk = house.open(Begin(patient=persona.id, seed=3))
    assert house.told(key, desk)["patient"] == patient_view(persona) and desk.session.persona == persona
    with pytest.raises(Refused, match="expected one of the page's"):
        house.open(Begin(patient="mine/anna.yaml", seed=3))


def test_a_language_model_may_say_what_a_rewritten_patient_says_itself() -> None:
    marta = find("marta")
    line = max(marta.voice.express, key=len)
    for persona, taken in ((marta, False), (open_persona(replace(marta, age=50)), False), (find("owen"), True)):
        assert borrows(line, Cue(persona, Transcript(), persona.mood, Move.EXPRESS)) is taken

"""The shipped patients: each agrees with itself, the splits are fair, the manifest guards both; and their variants."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, PersonaError
from therapysim.personas import Fact, Persona, find, library, lint, load, personas
from therapysim.personas.consistency import check, check_splits, diagnoses, symptoms
from therapysim.personas.load import LIBRARY, library_hash
from therapysim.personas.manifest import MANIFEST, changes, read, write
from therapysim.personas.vary import vary

ALL = personas()
TRAIN = personas("train")
SEEDS = range(40)


def said_by(persona: Persona) -> list[str]:
    """All that a patient may say of its own."""
    voice = persona.voice
    told = [line for fact in (*persona.facts, *persona.circumstances) for line in fact.lines]
    return [*voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask, *told]


# --- the library as it ships ----------------------------------------------------------------------


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.id)
def test_a_shipped_patient_agrees_with_itself(persona: Persona) -> None:
    assert check(persona) == []


def test_the_splits_are_fair() -> None:
    assert Counter(p.split for p in ALL) == {"train": 24, "dev": 8, "test": 16}
    assert check_splits(ALL) == []


def test_the_ages_span_a_life() -> None:
    ages = sorted(p.age for p in ALL)
    assert ages[0] == 16 and ages[-1] >= 75
    assert all(later - earlier <= 6 for earlier, later in pairwise(ages))


def test_no_two_patients_share_a_line() -> None:
    count = Counter(line.lower() for persona in ALL for line in said_by(persona))
    assert [line for line, n in count.items() if n > 1] == []


def test_no_test_patient_lives_a_training_patients_life() -> None:
    for label in ("presenting_problem", "core_belief", "living", "occupation", "coping"):
        count = Counter(getattr(persona, label) for persona in ALL)
        assert [text for text, n in count.items() if n > 1] == []


# --- what consistency.check finds -----------------------------------------------------------------


def fact(persona: Persona, i: int, **changes: Any) -> Persona:
    """The persona with its i-th fact changed."""
    facts = list(persona.facts)
    facts[i] = replace(facts[i], **changes)
    return replace(persona, facts=tuple(facts))


def risk_at(persona: Persona) -> int:
    return next(i for i, f in enumerate(persona.facts) if f.risk)


def voiced(persona: Persona, kind: str, line: str) -> Persona:
    """The persona with one more line of its own."""
    lines = (*getattr(persona.voice, kind), line)
    return replace(persona, voice=replace(persona.voice, **{kind: lines}))


SUICIDE = "I have thought of suicide for as long as I can remember."
SPOILT: dict[str, tuple[str, Callable[[Persona], Persona], str]] = {
    "diagnosis": ("marta", lambda p: replace(p, diagnosis="Sadness"), "diagnosis is 'Sadness', expected one of"),
    "code": ("marta", lambda p: replace(p, code="F41.1"), "code is F41.1, expected F32.1"),
    "severity": ("marta", lambda p: replace(p, severity="severe", phq9=16), "but the diagnosis says moderate"),
    "unknown symptom": ("marta", lambda p: replace(p, symptoms=(*p.symptoms, "gloom")), "symptom 'gloom' is unknown"),
    "too few symptoms": ("marta", lambda p: replace(p, symptoms=("low_mood", "guilt")), "needs 5 of"),
    "no core symptom": (
        "marta", lambda p: replace(p, symptoms=("insomnia", "fatigue", "guilt", "slowed", "worthlessness")),
        "needs 1 of low_mood, anhedonia",
    ),
    "phq9": ("marta", lambda p: replace(p, phq9=25), "phq9 is 25, expected 10-19 for moderate"),
    "gad7": ("deniz", lambda p: replace(p, gad7=20), "gad7 is 20, expected 10-14 for moderate"),
    "mild with high scores": ("ruben", lambda p: replace(p, severity="mild", phq9=15), "do not go with mild"),
    "severe with low scores": (
        "ruben", lambda p: replace(p, severity="severe", phq9=9, gad7=9), "do not go with severe",
    ),
    "risk untold": ("marta", lambda p: replace(p, risk=1), "risk is 1 with 0 risk facts, expected at least 1"),
    "plan told once": (
        "duncan", lambda p: replace(p, facts=tuple(f for f in p.facts if not f.risk or f is p.facts[risk_at(p)])),
        "risk is 3 with 1 risk facts, expected at least 2",
    ),
    "risk without low mood": ("terence", lambda p: replace(p, phq9=4), "risk is 1, but phq9 is 4"),
    "a risk that says none": (
        "duncan", lambda p: fact(p, risk_at(p), lines=("It rained on the pier.", *p.facts[risk_at(p)].lines)),
        "'It rained on the pier.' says no danger",
    ),
    "a risk told at once": ("duncan", lambda p: fact(p, risk_at(p), depth=1), "is a risk of depth 1, expected 2 or 3"),
    "suicide in a plain fact": (
        "marta", lambda p: fact(p, 0, lines=(*p.facts[0].lines, SUICIDE)), "speaks of suicide, but is no risk fact",
    ),
    "suicide in a circumstance": (
        "marta", lambda p: replace(p, circumstances=(Fact("news", 1, (SUICIDE,), ("news",)), *p.circumstances)),
        "speaks of suicide, but is no risk fact",
    ),
    "suicide in the voice": ("marta", lambda p: voiced(p, "ask", SUICIDE), "speaks of suicide, but is no risk fact"),
    "no deep fact": (
        "marta", lambda p: replace(p, facts=tuple(f for f in p.facts if f.depth < 3)),
        "facts lie at depths 1, 2, expected",
    ),
    "a line twice": ("marta", lambda p: voiced(p, "express", p.voice.sustain[0]), "stands 2 times"),
    "a line in voice and fact": ("marta", lambda p: voiced(p, "change", p.facts[0].lines[0]), "stands 2 times"),
    "no question": ("marta", lambda p: voiced(p, "ask", "I wonder."), "'I wonder.' is no question"),
    "no sentence": ("marta", lambda p: voiced(p, "express", "I trail off"), "does not end like a sentence"),
    "a long line": ("marta", lambda p: voiced(p, "express", "soup and " * 16 + "soup."), "33 words, expected"),
    "nothing to treat": ("marta", lambda p: replace(p, mood=(0.1, 0.0, 0.2, -0.05)), "nothing to treat"),
    "severe, hardly low": ("duncan", lambda p: replace(p, mood=(-0.4, 0.0, 0.0, 0.0)), "expected -0.45 or less"),
    "mild, very low": ("amara", lambda p: replace(p, mood=(0.0, 0.0, 0.0, -0.7)), "expected -0.6 or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_patient_is_found_out(name: str) -> None:
    persona_id, spoil, part = SPOILT[name]
    problems = check(spoil(find(persona_id)))
    assert [problem for problem in problems if part in problem], problems


def test_a_moved_patient_unbalances_its_group_and_its_risk() -> None:
    moved = [replace(p, split="test") if p.id == "marta" else p for p in ALL]
    problems = check_splits(moved)
    assert len(problems) == 2
    assert problems[0].startswith("group depressive: train 2, dev 1, test 3, expected 3 : 1 : 2")
    assert problems[1].startswith("risk 0: train ")


def test_two_patients_of_one_name_are_found() -> None:
    renamed = [replace(p, name="Owen") if p.id == "marta" else p for p in ALL]
    assert check_splits(renamed) == ["name 'Owen' is borne by 2 patients"]


def test_every_diagnosis_needs_known_symptoms_and_says_its_severity() -> None:
    for row in diagnoses().values():
        assert {name for _, names in row.needs for name in names} <= set(symptoms())
        assert all(0 < count <= len(names) for count, names in row.needs)
        said = [word for word in ("mild", "moderate", "severe") if f", {word}" in row.name]
        assert said == ([row.severity] if row.severity else [])


# --- the manifest ---------------------------------------------------------------------------------

FEW = ("marta", "owen", "kenji", "claire")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four patients, frozen."""
    for name in FEW:
        shutil.copy(LIBRARY / f"{name}.yaml", tmp_path)
    write(tmp_path, splits(tmp_path))
    return tmp_path


@pytest.fixture
def whole_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped library, in its place for the command and the reader."""
    copied = tmp_path / "library"
    shutil.copytree(LIBRARY, copied)
    monkeypatch.setattr(lint, "LIBRARY", copied)
    monkeypatch.setattr(load, "LIBRARY", copied)
    return copied


def splits(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*.yaml"))
    return {path.stem: str(yaml.safe_load(path.read_text(encoding="utf-8"))["split"]) for path in files}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_frozen_folder_reads(folder: Path) -> None:
    assert list(library(folder)) == sorted(FEW)
    assert changes(folder, splits(folder)) == []


def test_a_changed_patient_is_named(folder: Path) -> None:
    edit(folder / "marta.yaml", "age: 38", "age: 39")
    with pytest.raises(PersonaError, match=r"marta\.yaml differs from the frozen file.*--freeze"):
        library(folder)


def test_a_moved_patient_is_named(folder: Path) -> None:
    edit(folder / "owen.yaml", "split: train", "split: test")
    with pytest.raises(PersonaError, match="owen is in split test, frozen in train"):
        library(folder)


def test_a_removed_patient_is_named(folder: Path) -> None:
    (folder / "kenji.yaml").unlink()
    with pytest.raises(PersonaError, match="kenji is in the manifest, but there is no such file"):
        library(folder)


def test_an_added_patient_is_named(folder: Path) -> None:
    shutil.copy(LIBRARY / "tomas.yaml", folder)
    with pytest.raises(PersonaError, match="tomas is not in the manifest"):
        library(folder)


def test_everything_that_changed_is_named_at_once(folder: Path) -> None:
    edit(folder / "marta.yaml", "age: 38", "age: 39")
    (folder / "kenji.yaml").unlink()
    shutil.copy(LIBRARY / "tomas.yaml", folder)
    assert [line.split()[0] for line in changes(folder, splits(folder))] == ["kenji", "marta.yaml", "tomas"]


def test_line_ends_make_no_other_patient(folder: Path) -> None:
    path = folder / "marta.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert changes(folder, splits(folder)) == []


def damaged(kept: dict[str, Any]) -> dict[str, str]:
    """What a manifest may have become."""
    row = kept["patients"]["marta"]
    return {
        "cut": json.dumps(kept)[:200],
        "a list": "[]",
        "another format": json.dumps(kept | {"format": "recipe"}),
        "a newer version": json.dumps(kept | {"version": 99}),
        "no patients": json.dumps(kept | {"patients": {}}),
        "a row without hash": json.dumps(kept | {"patients": {"marta": {"split": row["split"]}}}),
        "patients as a list": json.dumps(kept | {"patients": ["marta"]}),
        "no hash of all": json.dumps({k: v for k, v in kept.items() if k != "sha256"}),
        "not text": "\x00",
        "another hash of all": json.dumps(kept | {"sha256": "0" * 64}),
    }


@pytest.mark.parametrize(
    "how",
    [
        "cut", "a list", "another format", "a newer version", "no patients", "a row without hash", "patients as a list",
        "no hash of all", "not text", "another hash of all",
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_named(folder: Path, how: str) -> None:
    kept = read(folder)
    assert kept is not None
    (folder / MANIFEST).write_text(damaged(kept)[how], encoding="utf-8")
    with pytest.raises(PersonaError, match=r"manifest\.json|hash of all"):
        library(folder)


def test_a_folder_without_manifest_is_read_as_it_is(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert len(library(folder)) == len(FEW)


def test_the_library_has_a_hash_and_is_as_frozen() -> None:
    kept = json.loads((LIBRARY / MANIFEST).read_text(encoding="utf-8"))
    assert library_hash() == kept["sha256"] and len(library_hash()) == 64
    assert set(kept["patients"]) == set(library())
    assert lint.main([]) == 0


def test_a_library_without_manifest_has_no_hash(whole_library: Path) -> None:
    (whole_library / MANIFEST).unlink()
    with pytest.raises(PersonaError, match=r"manifest\.json is missing.*install anew"):
        library_hash()


def test_the_hash_changes_with_a_patient(whole_library: Path) -> None:
    before = json.loads((whole_library / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    edit(whole_library / "marta.yaml", "age: 38", "age: 39")
    assert lint.main([]) == 1
    assert lint.main(["--freeze"]) == 0
    assert library_hash() != before


def test_freezing_twice_writes_the_same(whole_library: Path) -> None:
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 0
    assert (whole_library / MANIFEST).read_bytes() == before


def test_freezing_moves_no_patient(whole_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = twins()
    edit(whole_library / f"{first}.yaml", "split: train", "split: test")
    edit(whole_library / f"{second}.yaml", "split: test", "split: train")
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 1
    said = capsys.readouterr().out
    assert "was frozen in" in said and (first in said or second in said)
    assert (whole_library / MANIFEST).read_bytes() == before


def twins() -> tuple[str, str]:
    """A patient of train and one of test who could change places without unbalancing a stratum."""
    alike = {(diagnoses()[p.diagnosis].group, p.risk): p.id for p in TRAIN}
    return next(
        (alike[key], p.id) for p in personas("test") if (key := (diagnoses()[p.diagnosis].group, p.risk)) in alike
    )


def test_freezing_lets_no_patient_go(folder: Path) -> None:
    (folder / "kenji.yaml").unlink()
    with pytest.raises(PersonaError, match="'kenji' was frozen in dev and is gone now"):
        write(folder, splits(folder))


def test_nothing_wrong_is_frozen(whole_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(whole_library / "marta.yaml", "phq9: 14", "phq9: 27")
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 1
    assert "marta: phq9 is 27" in capsys.readouterr().out
    assert (whole_library / MANIFEST).read_bytes() == before


def test_a_manifest_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / MANIFEST).read_bytes()
    shutil.copy(LIBRARY / "tomas.yaml", folder)

    def full(path: Path, text: str, **_: Any) -> int:
        path.write_bytes(text[:50].encode())
        raise OSError(28, "No space left on device")

    own = splits(folder)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(folder, own)
    assert (folder / MANIFEST).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == sorted([MANIFEST, *(f"{i}.yaml" for i in own)])


def test_the_command_checks_single_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(LIBRARY / "marta.yaml", tmp_path)
    assert lint.main([str(tmp_path / "marta.yaml")]) == 0
    edit(tmp_path / "marta.yaml", "code: F32.1", "code: F32.2")
    assert lint.main([str(tmp_path / "marta.yaml")]) == 1
    assert "marta: code is F32.2, expected F32.1" in capsys.readouterr().out
    assert lint.main([str(tmp_path / "nobody.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().out


# --- variants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_a_variant_agrees_with_itself(persona: Persona) -> None:
    assert {seed: found for seed in SEEDS if (found := check(vary(persona, seed)))} == {}


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_variants_differ_in_what_they_may(persona: Persona) -> None:
    variants = [vary(persona, seed) for seed in SEEDS]
    assert [vary(persona, seed) for seed in SEEDS] == variants
    for label in ("id", "mood", "resistance", "trust", "temperament"):
        assert len({getattr(v, label) for v in variants}) >= 20, label
    assert {v.style for v in variants} == {"terse", "plain", "talkative"}
    lately = {next(f.id for f in v.facts if f not in persona.facts) for v in variants}
    assert lately == {f.id for f in persona.circumstances}


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_a_variant_keeps_its_life(persona: Persona) -> None:
    for variant in (vary(persona, seed) for seed in SEEDS):
        kept = ("split", "name", "age", "living", "symptoms", "core_belief", "voice", "risk")
        assert all(getattr(variant, label) == getattr(persona, label) for label in kept)
        assert [f for f in variant.facts if f in persona.facts] == list(persona.facts)
        assert [f for f in variant.facts if f.risk] == [f for f in persona.facts if f.risk]
        assert len(variant.facts) == len(persona.facts) + 1
        depths = [f.depth for f in variant.facts]
        assert depths == sorted(depths)


def test_severity_moves_by_one_step_wherever_it_can() -> None:
    levels = ("mild", "moderate", "severe")
    moving = 0
    for persona in TRAIN:
        seen = {vary(persona, seed).severity for seed in SEEDS}
        assert persona.severity in seen
        assert all(abs(levels.index(s) - levels.index(persona.severity)) <= 1 for s in seen)
        assert not (persona.risk >= 2 and "mild" in seen)
        moving += len(seen) > 1
    assert moving >= 20


@pytest.mark.parametrize("persona", [*personas("dev"), *personas("test")], ids=lambda p: p.id)
def test_only_training_patients_have_variants(persona: Persona) -> None:
    with pytest.raises(PersonaError, match=f"persona '{persona.id}' belongs to {persona.split}: only the train split"):
        vary(persona, 0)


def test_a_variant_has_no_variants() -> None:
    with pytest.raises(PersonaError, match="'marta~3' is a variant itself"):
        vary(vary(find("marta"), 3), 4)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3", None])
def test_a_wrong_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"variant seed is .* expected a whole number of at least 0"):
        vary(find("marta"), seed)


def test_a_variant_is_found_by_its_id() -> None:
    assert find("marta~17") == vary(find("marta"), 17)
    assert find("marta~17").id == "marta~17" and find("marta~17").attributes.persona == "marta~17"
    assert "marta~17" not in library()


@pytest.mark.parametrize(
    ("persona_id", "part"),
    [
        ("marta~", "is no seed, expected such as 'marta~17'"),
        ("marta~-1", "'-1' after '~' is no seed"),
        ("marta~x", "'x' after '~' is no seed"),
        ("marta~1~2", "'1~2' after '~' is no seed"),
        ("marta~1.0", "'1.0' after '~' is no seed"),
        ("mrta~1", "'mrta' is unknown; did you mean 'marta'"),
        ("~1", "persona '' is unknown"),
        ("kenji~1", "'kenji' belongs to dev"),
        ("claire~1", "'claire' belongs to test"),
    ],
)
def test_a_bad_variant_id_says_why(persona_id: str, part: str) -> None:
    with pytest.raises(PersonaError) as error:
        find(persona_id)
    assert part in str(error.value)


# --- variants in a session ------------------------------------------------------------------------


def test_a_session_plays_the_variant_of_its_seed() -> None:
    batch = SessionBatch(SessionConfig(max_turns=2))
    batch.reset([Start(17, "marta", vary=True), Start(17, "marta~17"), Start(17, "marta"), Start(5, vary=True)])
    varied, named, plain, drawn = batch.sessions
    assert varied.persona == named.persona == find("marta~17")
    assert varied.state.attributes == named.state.attributes and varied.state.attributes.persona == "marta~17"
    assert plain.persona == find("marta")
    assert drawn.persona.split == "train" and drawn.persona.id.endswith("~5")
    batch.step(["What is it like for you at the moment?"] * 4)
    assert batch.sessions[0].transcript == batch.sessions[1].transcript


@pytest.mark.parametrize("start", [Start(0, split="dev", vary=True), Start(0, split="test", vary=True),
                                   Start(0, "kenji", vary=True), Start(0, "marta~3", vary=True)])  # fmt: skip
def test_a_session_varies_no_other_patient(start: Start) -> None:
    batch = SessionBatch(SessionConfig(max_turns=2))
    with pytest.raises(PersonaError, match="only the train split"):
        batch.reset([start])

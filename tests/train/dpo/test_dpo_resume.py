"""DPO runs taken up again, and runs that are told apart by nothing: number for number the same."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.copying import same, weights
from tests.parts.preferring import Prefer, made_pairs, preferrer, write_rows
from tests.parts.run_files import rows
from therapysim.errors import ConfigError, ModelError, PatientError, TrainingError
from therapysim.personas.patient import Cue, Line
from therapysim.train.dpo import beta
from therapysim.train.dpo.pairs import kept_pairs
from therapysim.train.runs.start_up import TrainResult


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Prefer:
    """Four updates of three of six pairs, unless told otherwise."""
    return preferrer(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return preferrer(tiny_model, tmp_path_factory.mktemp("trained"))(max_steps=2)


def test_equal_seeds_give_equal_runs(run: Prefer) -> None:
    torch.manual_seed(1)
    one = run("one", lora_dropout=0.1)
    torch.manual_seed(2)  # what happened before the run makes no difference
    assert same(one, run("two", lora_dropout=0.1))
    assert not same(one, run("other", lora_dropout=0.1, seed=1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"accumulation": 2, "batch_size": 1, "beta": "auto", "validate_every": 3}],
    ids=["an update a batch", "accumulated and validated"],
)
def test_a_resumed_run_follows_the_same_curve(run: Prefer, changes: dict[str, Any]) -> None:
    """Half of an epoch apart, with dropout, which takes chance from where it stood, and while the rate still rises."""
    own = {"save_steps": 3, "lora_dropout": 0.1, "warmup": 4, **changes}
    whole = run("whole", max_steps=6, **own)
    run("parts", max_steps=3, **own)
    parts = run("parts", max_steps=6, resume=True, **own)
    assert same(parts, whole) and parts.steps == 6
    names = ("validation.jsonl", "completions.jsonl", "beta.json") if changes else ("pairs.jsonl",)
    for name in names:
        assert (parts.out / name).read_text() == (whole.out / name).read_text()


def test_a_run_that_went_on_from_a_policy_is_resumed_with_the_same_reference(run: Prefer, trained: TrainResult) -> None:
    own = {"save_steps": 2, "model": str(trained.policy)}
    whole = run("whole", max_steps=4, **own)
    run("parts", max_steps=2, **own)
    assert same(run("parts", max_steps=4, resume=True, **own), whole)


def test_a_validation_leaves_no_trace_in_the_training(run: Prefer) -> None:
    plain, checked = run("plain", max_steps=3), run("checked", max_steps=3, validate_every=2)
    own = [{n: v for n, v in row.items() if not n.startswith("validation/")} for row in rows(checked.out)[1:]]
    assert own == rows(plain.out)
    assert all(torch.equal(weights(checked)[name], other) for name, other in weights(plain).items())


def test_a_resumed_run_learns_from_what_it_kept(run: Prefer, tmp_path: Path) -> None:
    run(max_steps=2)
    write_rows(tmp_path / "made.jsonl", ["{"])  # changed since
    assert run(resume=True).steps == 4


def test_a_run_that_never_began_leaves_no_pairs_to_the_next(run: Prefer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file or folder"):
        run(model="nowhere", dev_pairs=(str(tmp_path / "made.jsonl"),))
    write_rows(tmp_path / "made.jsonl", made_pairs()[:3])
    result = run(max_steps=1)
    assert len(kept_pairs(result.out / "pairs.jsonl")) == 3 and not (result.out / "dev_pairs.jsonl").exists()


def test_a_folder_with_a_run_is_not_written_over(run: Prefer, tmp_path: Path) -> None:
    before = (run().out / "pairs.jsonl").read_text()
    write_rows(tmp_path / "made.jsonl", ["{"])
    with pytest.raises(ConfigError, match="holds a run already; go on with it by --resume"):
        run()
    with pytest.raises(ConfigError, match=r"other settings: beta 0\.1 -> 0\.5"):
        run(resume=True, beta=0.5)
    with pytest.raises(ConfigError, match="a checkpoint of 4 updates already; raise max_steps"):
        run(resume=True)
    assert (tmp_path / "run" / "pairs.jsonl").read_text() == before


class Silent:
    """A patient who opens no session."""

    def speak(self, cues: list[Cue]) -> list[Line]:
        raise PatientError("nobody is there")


def test_auto_wants_a_session_that_was_answered(run: Prefer) -> None:
    with pytest.raises(TrainingError, match="beta is auto, and no session of the first validation was answered"):
        run(beta="auto", validate_every=2, patient=Silent())


def test_beta_that_is_suggested_is_used(run: Prefer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beta, "suggested_beta", lambda share: 0.7)
    held, given = run("held", beta="auto", validate_every=4), run("given", beta=0.7, validate_every=4)
    assert rows(held.out)[0]["beta/used"] == 0.7
    assert same(held, given)
    assert not same(held, run("other", beta=0.1, validate_every=4))

"""Real SFT runs of a tiny random model: what they learn, what they leave, how they are taken up again."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.copying import Copy, copier, patients, same, settings, weights
from tests.parts.run_files import rows
from therapysim.cli import main as cli
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError, ModelError
from therapysim.models import checkpoint
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.train.runs.kept_rubric import kept_settings
from therapysim.train.runs.on_rows import open_patients
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.sft import data
from therapysim.train.sft.examples import read_examples
from therapysim.train.sft.run import SessionSFTTrainer, train
from therapysim.train.sft.sft_settings import load_settings
from therapysim.train.sft.tokens import IGNORED, rows_of


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Copy:
    """Four updates of three of six sessions, unless told otherwise."""
    return copier(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def loud(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with embeddings that are large enough to tell one word from another, by an adapter alone."""
    model, tokenizer = checkpoint.load(tiny_model)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
    folder = tmp_path_factory.mktemp("loud")
    model.save_pretrained(folder), tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(loud: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Six epochs, validated at the start, in the middle and at the end."""
    return copier(loud, tmp_path_factory.mktemp("trained"))(max_steps=12, save_steps=6, validate_every=6)


def test_the_loss_falls_on_what_is_copied_and_on_what_is_not(trained: TrainResult) -> None:
    losses = [row["loss"] for row in rows(trained.out) if "loss" in row]
    assert len(losses) == 12 and sum(losses[-4:]) / 4 < losses[0] - 0.5
    dev = [row["validation/loss"] for row in rows(trained.out) if "validation/loss" in row]
    assert len(dev) == 3 and dev[-1] < dev[0] - 0.25


def test_a_run_leaves_its_files(trained: TrainResult) -> None:
    names = {path.name for path in trained.out.iterdir()}
    assert names == {
        "settings.json", "rubric.json", "metrics.jsonl", "validation.jsonl", "completions.jsonl", "examples.jsonl",
        "dev_examples.jsonl", "checkpoints", "policy", "run.lock",
    }  # fmt: skip
    assert json.loads((trained.policy / "policy.json").read_text()) == {"step": 12}
    assert sorted(p.name for p in trained.out.glob("checkpoints/*")) == ["checkpoint-12", "checkpoint-6"]
    assert load_settings(trained.out / "settings.json").max_steps == 12
    assert kept_settings(trained.out / "rubric.json") == PRESETS["grpo"]
    assert len(read_examples(trained.out / "examples.jsonl")) == 6
    assert {e.persona for e in read_examples(trained.out / "dev_examples.jsonl")} == {"bao", "kenji"}


def test_metrics_have_a_row_an_update(trained: TrainResult) -> None:
    told = rows(trained.out)
    assert [row["step"] for row in told] == list(range(13))
    wanted = {"loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy", "num_tokens", "epoch"}
    assert all(wanted <= set(row) for row in told[1:])
    assert [row["step"] for row in told if "validation/return" in row] == [0, 6, 12]
    assert [row["epoch"] for row in told[1:]] == [i / 2 for i in range(1, 13)]
    assert trained.steps == 12 and trained.metrics["loss"] == told[-1]["loss"]


def test_the_policy_is_the_base_with_what_it_learned(trained: TrainResult, loud: Path) -> None:
    model, tokenizer = checkpoint.load(trained.policy)
    base, _ = checkpoint.load(loud)
    ids = tokenizer("Hello.", return_tensors="pt")["input_ids"]
    assert not torch.equal(model(input_ids=ids).logits, base(input_ids=ids).logits)
    recorded = json.loads((trained.policy / "adapter_config.json").read_text())
    assert recorded["base_model_name_or_path"] == str(loud.resolve())
    assert set(recorded["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj"}


def loss_of(model: Any, rows: list[Any]) -> float:
    """Mean over the tokens to learn from of minus their log-probability, one row at a time."""
    total, count = 0.0, 0
    for row in rows:
        ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
        with torch.inference_mode():
            logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
        chosen = logps.gather(-1, ids[:, 1:, None])[..., 0][labels[:, 1:] != IGNORED]
        total, count = total - float(chosen.sum()), count + len(chosen)
    return total / count


def test_the_first_loss_is_that_of_the_therapists_tokens_alone(run: Copy, tiny_model: Path) -> None:
    """Worked out one session at a time: neither padding nor the patient's words count."""
    result = run(batch_size=6, max_steps=1)
    model, tokenizer = checkpoint.load(tiny_model)
    own = rows_of(read_examples(result.out / "examples.jsonl"), tokenizer, max_tokens=2048, max_turn_tokens=96)
    assert rows(result.out)[0]["loss"] == pytest.approx(loss_of(model, own), abs=1e-4)
    assert rows(result.out)[0]["num_tokens"] == sum(len(row.input_ids) for row in own)


def test_a_validations_loss_is_that_of_the_policy_it_validates(trained: TrainResult) -> None:
    model, tokenizer = checkpoint.load(trained.policy)
    own = rows_of(read_examples(trained.out / "dev_examples.jsonl"), tokenizer, max_tokens=2048, max_turn_tokens=96)
    batches = [own[i : i + 3] for i in range(0, len(own), 3)]
    mean = sum(loss_of(model, batch) * len(batch) for batch in batches) / len(own)
    assert rows(trained.out)[-1]["validation/loss"] == pytest.approx(mean, abs=1e-4)


def test_many_sessions_an_update_are_learned_from_as_one_batch(run: Copy) -> None:
    one, several = run("one", batch_size=6, max_steps=1), run("several", batch_size=2, accumulation=3, max_steps=1)
    assert rows(several.out)[0]["loss"] == pytest.approx(rows(one.out)[0]["loss"], abs=1e-5)
    for name, own in weights(one).items():
        torch.testing.assert_close(weights(several)[name], own, atol=2e-3, rtol=0)


def test_equal_seeds_give_equal_runs(run: Copy) -> None:
    torch.manual_seed(1)
    one = run("one", lora_dropout=0.1)
    torch.manual_seed(2)  # what happened before the run makes no difference
    assert same(one, run("two", lora_dropout=0.1))
    assert not same(one, run("other", lora_dropout=0.1, seed=1))


@pytest.mark.parametrize(
    "changes", [{}, {"accumulation": 2, "batch_size": 1}], ids=["an update a batch", "accumulated"]
)
def test_a_resumed_run_follows_the_same_curve(run: Copy, changes: dict[str, Any]) -> None:
    """Half of an epoch apart, with dropout, which takes chance from where it stood, and while the rate still rises."""
    own = {"save_steps": 3, "validate_every": 3, "lora_dropout": 0.1, "warmup": 4, **changes}
    whole = run("whole", max_steps=6, **own)
    run("parts", max_steps=3, **own)
    parts = run("parts", max_steps=6, resume=True, **own)
    assert same(parts, whole) and parts.steps == 6
    for name in ("validation.jsonl", "completions.jsonl", "examples.jsonl"):
        assert (parts.out / name).read_text() == (whole.out / name).read_text()


def test_the_rate_rises_and_stays(run: Copy) -> None:
    told = [row["learning_rate"] for row in rows(run(warmup=2, lr=0.02).out)]
    assert told == pytest.approx([0.0, 0.01, 0.02, 0.02])
    assert {row["learning_rate"] for row in rows(run("plain", lr=0.02).out)} == {0.02}


def test_a_folder_with_a_run_is_not_written_over(run: Copy) -> None:
    run()
    with pytest.raises(ConfigError, match="holds a run already; go on with it by --resume"):
        run()
    with pytest.raises(ConfigError, match=r"other settings: therapists \('cbt', 'attuned'\) -> \('mi',\)"):
        run(resume=True, therapists=("mi",))
    with pytest.raises(ConfigError, match="a checkpoint of 4 updates already; raise max_steps"):
        run(resume=True)


def test_a_resumed_run_copies_what_it_copied(run: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    run(max_steps=2)

    def play(*_: Any) -> None:
        raise AssertionError("the sessions were played again")

    monkeypatch.setattr(data, "collect", play)
    assert run(resume=True).steps == 4


def test_a_run_that_never_began_leaves_no_sessions_to_the_next(run: Copy) -> None:
    with pytest.raises(ModelError, match="no such file or folder"):
        run(model="nowhere", therapists=("mi",), validate_every=2)
    result = run(validate_every=2)
    for name in ("examples.jsonl", "dev_examples.jsonl"):
        assert {e.therapist for e in read_examples(result.out / name)} == {"cbt", "attuned"}


def test_a_run_that_is_resumed_may_begin_to_validate(run: Copy) -> None:
    run(max_steps=2)
    result = run(resume=True, validate_every=2)
    assert [row["step"] for row in rows(result.out) if "validation/loss" in row] == [4]


def test_sessions_alone_can_be_copied_and_validated(run: Copy, tmp_path: Path) -> None:
    bench = ["bench", "cbt", "--out", str(tmp_path / "b"), "--split", "train", "--patients", "3", "--seeds", "1"]
    assert cli.main([*bench, "--turns", "2", "--sessions"]) == 0
    result = run(therapists=(), sessions=(str(tmp_path / "b" / "sessions"),), validate_every=2, max_steps=2)
    assert len(read_examples(result.out / "examples.jsonl")) == 3
    first, _, last = rows(result.out)
    assert "validation/return" in first and "validation/return" in last
    assert "validation/loss" not in last  # nobody is named who would play with dev patients


def test_how_much_there_is_to_learn_from_is_told(run: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    run(max_steps=3)
    told = capsys.readouterr().err
    assert "sessions to learn from: 6 (3 of attuned, 3 of cbt), mean return " in told
    assert "12 turns to learn from in 6 sessions; 3 updates are 1.5 epochs" in told
    run("short", max_steps=3, max_turn_tokens=24, max_tokens=460)
    told = capsys.readouterr().err
    assert "have more than max_turn_tokens 24, and are read" in told and "lie behind max_tokens 460" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 4096}, "max_tokens is 4096, but the context of model .* is 2048"),
        ({"lora_targets": ("v_proj", "q_prj")}, r"lora_targets names 'q_prj'.*did you mean 'q_proj'"),
        ({"lora_targets": ("lm_head",)}, "lora_targets names 'lm_head', and TRL .* leave it out"),
        ({"max_turn_tokens": 2}, "no therapist turn of 6 sessions fits; raise them"),
        ({"therapists": ("cbt", "cpt")}, "policy 'cpt' is unknown; did you mean 'cbt'"),
    ],
)
def test_what_cannot_be_trained_is_refused(run: Copy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**changes)


def test_what_trl_refuses_is_no_crash(run: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise ValueError("two things do not go together")

    monkeypatch.setattr(SessionSFTTrainer, "__init__", refuse)
    with pytest.raises(ConfigError, match="TRL refuses the settings: two things do not go together"):
        run()


def test_weights_that_are_shared_out_are_refused(run: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("therapysim.train.runs.on_rows.shares_weights_out", lambda accelerator: True)
    with pytest.raises(ConfigError, match="SFT has not been tried with FSDP or DeepSpeed"):
        run()


def test_one_process_that_sees_several_gpus_is_told_what_to_do(run: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"2 GPUs are visible to one process.*accelerate launch"):
        run()


def test_a_run_has_patients_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    """Those that the command line gives it: scripted, with the rubric that GRPO learns from."""
    opened = open_patients(settings(tiny_model, tmp_path))
    assert opened.rubric.settings == PRESETS["grpo"] and opened.config.max_turns == 2


def test_a_batch_brings_its_rubric(tiny_model: Path, tmp_path: Path) -> None:
    result = train(settings(tiny_model, tmp_path, max_steps=1), SessionBatch(patients().config, rubric="user"))
    assert kept_settings(result.out / "rubric.json") == PRESETS["user"]

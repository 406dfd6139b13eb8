"""Real DPO runs of a tiny random model: what they learn, what they leave, how they are taken up again."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.copying import weights
from tests.parts.preferring import Prefer, made_pairs, preferrer, settings, write_rows
from tests.parts.run_files import rows
from therapysim.errors import ConfigError
from therapysim.models import checkpoint
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.train.dpo import run as dpo
from therapysim.train.dpo.dpo_settings import load_settings
from therapysim.train.dpo.pair_tokens import PairRow, pair_rows
from therapysim.train.dpo.pairs import kept_pairs
from therapysim.train.dpo.run import PairDPOTrainer
from therapysim.train.runs.on_rows import open_patients
from therapysim.train.runs.start_up import TrainResult


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Prefer:
    """Four updates of three of six pairs, unless told otherwise."""
    return preferrer(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Six epochs, validated at the start, in the middle and at the end, with pairs to rank; β by the first."""
    place = tmp_path_factory.mktemp("trained")
    start = preferrer(tiny_model, place)
    apart = str(place / "made.jsonl")
    return start(max_steps=12, save_steps=6, validate_every=6, dev_pairs=(apart,), beta="auto")


def test_the_margin_rises_and_the_loss_falls(trained: TrainResult) -> None:
    told = rows(trained.out)[1:]
    assert told[0]["rewards/margins"] == 0.0 and told[-1]["rewards/margins"] > 0.2
    assert told[0]["loss"] == pytest.approx(0.6931, abs=1e-4) and told[-1]["loss"] < 0.6
    assert told[-1]["rewards/accuracies"] == 1.0
    assert told[-1]["rewards/chosen"] > 0 > told[-1]["rewards/rejected"]


def test_metrics_have_a_row_an_update(trained: TrainResult) -> None:
    told = rows(trained.out)
    assert [row["step"] for row in told] == list(range(13))
    wanted = {
        "loss", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected", "rewards/margins",
        "rewards/accuracies", "logps/chosen", "logps/rejected", "num_tokens",
    }  # fmt: skip
    assert all(wanted <= set(row) for row in told[1:])


def test_validations_play_and_rank(trained: TrainResult) -> None:
    told = [row for row in rows(trained.out) if "validation/return" in row]
    assert [row["step"] for row in told] == [0, 6, 12]
    names = ("polarity", "introspection", "temper", "attitude", "sensitivity", "unsafe", "alliance", "margin")
    assert all(f"validation/{name}" in row for name in names for row in told)
    assert told[0]["validation/loss"] == pytest.approx(0.6931, abs=1e-4) and told[-1]["validation/loss"] < 0.6
    assert told[-1]["validation/accuracy"] == 1.0 and told[-1]["validation/margin"] > 0.2
    kept = [json.loads(line) for line in (trained.out / "completions.jsonl").read_text().splitlines()]
    assert [row["step"] for row in kept] == [0, 0, 6, 6, 12, 12] and {row["persona"] for row in kept} == {
        "bao",
        "kenji",
    }


def test_a_run_leaves_its_files(trained: TrainResult) -> None:
    assert {path.name for path in trained.out.iterdir()} == {
        "settings.json", "rubric.json", "metrics.jsonl", "validation.jsonl", "completions.jsonl", "pairs.jsonl",
        "dev_pairs.jsonl", "beta.json", "checkpoints", "policy", "run.lock",
    }  # fmt: skip
    assert json.loads((trained.policy / "policy.json").read_text()) == {"step": 12}
    assert load_settings(trained.out / "settings.json").beta == "auto"
    assert len(kept_pairs(trained.out / "pairs.jsonl")) == 6


def test_beta_is_suggested_by_the_start(trained: TrainResult) -> None:
    told = json.loads((trained.out / "beta.json").read_text())
    first = rows(trained.out)[0]
    assert told["turns"] == 4 and told["beta"] == told["used"] == first["beta/suggested"] == first["beta/used"]


def test_the_card_says_what_it_prefers(trained: TrainResult) -> None:
    text = " ".join((trained.policy / "README.md").read_text().split())
    for words in (
        "Not a clinical device, and not fit to talk with a person in distress",
        "It was trained on pairs of answers (DPO), to prefer the better one of each",
        "The chosen answer of each pair of `made.jsonl` to the rejected one",
        "by the unsafe turns of the start, 0.1 was suggested",
        "updates | 12, each from 3 pairs a device, of at most 2048 tokens",
        "| `beta` | auto |",
        "`rewards/margins`",
        "validation, update 12 | update 0",
    ):
        assert words in text, words
    assert "- dpo" in text and "## Reward" not in text


def logp(model: Any, prompt: list[int], answer: list[int]) -> float:
    """The log-probability of an answer behind a prompt, worked out one row at a time."""
    ids = torch.tensor([prompt + answer])
    with torch.inference_mode():
        logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    return float(logps.gather(-1, ids[:, 1:, None])[0, -len(answer) :, 0].sum())


def margin(policy: Any, start: Any, row: PairRow) -> float:
    """How much more the policy prefers the chosen answer than the start did."""
    sides = [logp(m, row.prompt_ids, ids) for m in (policy, start) for ids in (row.chosen_ids, row.rejected_ids)]
    return (sides[0] - sides[1]) - (sides[2] - sides[3])


def own_rows(result: TrainResult, tokenizer: Any) -> list[PairRow]:
    return pair_rows(kept_pairs(result.out / "pairs.jsonl"), tokenizer)


def test_the_margin_is_that_of_the_kept_pairs_tokens(trained: TrainResult, tiny_model: Path) -> None:
    policy, tokenizer = checkpoint.load(trained.policy)
    start, _ = checkpoint.load(tiny_model)
    means = sum(0.1 * margin(policy, start, row) for row in own_rows(trained, tokenizer)) / 6
    assert rows(trained.out)[-1]["validation/margin"] == pytest.approx(means, abs=1e-4)


def test_a_run_goes_on_from_a_runs_policy_with_it_as_the_reference(
    run: Prefer, trained: TrainResult, tiny_model: Path
) -> None:
    result = run(model=str(trained.policy), max_steps=3, lr=3e-3)
    first, *_, last = rows(result.out)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-6)  # measured from the policy, not from its base
    assert first["logps/chosen"] != pytest.approx(rows(trained.out)[1]["logps/chosen"], abs=0.1)
    assert last["rewards/margins"] > 0
    policy, tokenizer = checkpoint.load(result.policy)
    start, _ = checkpoint.load(trained.policy)
    assert sum(margin(policy, start, row) for row in own_rows(result, tokenizer)) > 0
    assert f"`{tiny_model.name}`, an adapter folder that it went on from" in (result.policy / "README.md").read_text()
    assert not (result.policy / "ref").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": ()}, r"pairs is \[\], expected at least one JSONL file"),
        ({"pairs": ("nowhere.jsonl",)}, r"pairs nowhere\.jsonl: "),
        ({"max_tokens": 4096}, "max_tokens is 4096, but the context of model .* is 2048"),
        ({"lora_targets": ("v_proj", "q_prj")}, r"lora_targets names 'q_prj'.*did you mean 'q_proj'"),
        ({"max_turn_tokens": 2}, "max_turn_tokens 2, and none of 6 pairs fits; raise them"),
        ({"show_state": False}, "made.jsonl: line 1: patient message 1 of prompt has a"),
        ({"personas": ("owen",)}, "made.jsonl: line 1: persona 'marta' is of split 'train', and not among"),
    ],
)
def test_what_cannot_be_trained_is_refused(run: Prefer, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**changes)


def test_how_much_there_is_to_learn_from_is_told(
    run: Prefer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(max_steps=3)
    assert "6 pairs to learn from; 3 updates are 1.5 epochs" in capsys.readouterr().err
    longest = "The longest answer of all, with many more words than any of the others have, so that it is cut off. "
    write_rows(tmp_path / "made.jsonl", [{**made_pairs()[0], "chosen": 4 * longest}, *made_pairs()[1:]])
    run("short", max_steps=1)
    told = capsys.readouterr().err
    assert "5 pairs to learn from; 1 have a chosen answer of more than max_turn_tokens 96, and are left out" in told


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "ipo"}, {"loss_type": "hinge"}, {"loss_type": "robust", "label_smoothing": 0.1},
        {"loss_type": "sigmoid_norm"}, {"loss_type": "exo_pair", "label_smoothing": 0.001},
        {"loss_type": "apo_zero"}, {"loss_type": "apo_down"}, {"sft_weight": 0.5},
    ],
)  # fmt: skip
def test_each_loss_learns(run: Prefer, changes: dict[str, Any]) -> None:
    told = rows(run(max_steps=3, **changes).out)
    assert told[-1]["rewards/margins"] > 0 and all(row["grad_norm"] > 0 for row in told[:1])


def test_losses_are_trls(tiny_model: Path, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "a.jsonl", made_pairs())
    own = dpo.trl_arguments(settings(tiny_model, tmp_path, pairs, sft_weight=0.5, beta=0.3))
    assert (own.loss_type, own.loss_weights, own.beta, own.max_length) == (["sigmoid", "sft"], [1.0, 0.5], 0.3, None)
    assert (
        own.disable_dropout
        and not dpo.trl_arguments(settings(tiny_model, tmp_path, pairs, lora_dropout=0.1)).disable_dropout
    )


def test_what_trl_refuses_is_no_crash(run: Prefer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise ValueError("two things do not go together")

    monkeypatch.setattr(PairDPOTrainer, "__init__", refuse)
    with pytest.raises(ConfigError, match="TRL refuses the settings: two things do not go together"):
        run()


def test_weights_that_are_shared_out_are_refused(run: Prefer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("therapysim.train.runs.on_rows.shares_weights_out", lambda accelerator: True)
    with pytest.raises(ConfigError, match="DPO has not been tried with FSDP or DeepSpeed"):
        run()


def test_a_run_has_patients_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    opened = open_patients(settings(tiny_model, tmp_path, tmp_path / "a.jsonl"))
    assert opened.rubric.settings == PRESETS["grpo"] and opened.config.max_turns == 2


def test_the_adapter_of_a_base_in_4_bits_stays_whole(run: Prefer) -> None:
    """As nf4 on a CPU, where bitsandbytes is installed."""
    pytest.importorskip("bitsandbytes")
    result = run(quantize_4bit=True, max_steps=3)
    assert rows(result.out)[-1]["rewards/margins"] > 0
    assert {tensor.dtype for tensor in weights(result).values()} == {torch.float32}

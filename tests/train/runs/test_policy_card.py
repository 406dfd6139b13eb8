"""The card of a trained policy: true to the run, equal for equal runs, and plain about what the policy is not for."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip("trl")
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.personas.load import personas, training_ids
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train
from therapysim.train.runs.policy_card import CardWriter, Merge, base_of, card, write_card

ROWS = [
    {"step": 0, "validation/reward": 1.0, "validation/polarity": -0.25},
    {"step": 1, "reward": 2.5, "kl": 0.125, "loss": 0.5, "step_time": 77.0, "seconds/generation": 55.0},
    {"step": 2, "loss": 0.25, "kl": 0.5},
    {"step": 2, "validation/reward": 3.0, "validation/polarity": float("nan")},
    {"step": 3, "reward": 9.75, "kl": 0.875, "validation/reward": 8.5},
]


def front(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    return dict(yaml.safe_load(head))


def test_an_update_of_several_processes_is_not_told_as_one_of_one() -> None:
    assert "each from 12 sessions a device," in card(GRPOSettings(generations=12, batch_size=3, accumulation=4), [], 1)


def test_the_share_of_the_turns_credit_is_told_where_it_counts() -> None:
    mixed = GRPOSettings(advantage="mixed", turn_weight=0.75)
    assert "| `advantage` | mixed |\n| `turn_weight` | 0.75 |" in card(mixed, [], 1)
    assert "turn_weight" not in card(GRPOSettings(), [], 1)


def test_it_says_whether_the_validations_patients_were_practised_on() -> None:
    def told(**settings: Any) -> str:
        return " ".join(card(GRPOSettings(**settings), ROWS, 2).split())

    dev = [p.id for p in personas("dev")]
    assert "are those of split `dev`, and none of them was practised on" in told()
    assert f"split `dev`, of whom {len(dev)} were practised on" in told(split="dev")
    assert "split `dev`, of whom 1 was practised on" in told(personas=("marta", dev[0]))


def test_hubs_can_read_it() -> None:
    told = front(card(GRPOSettings(), [], 1))
    assert told["library_name"] == "peft" and told["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert told["license"] == "apache-2.0" and {"grpo", "lora", "therapysim"} <= set(told["tags"])
    merged = front(card(GRPOSettings(model="org/model"), [], 1, Merge("bfloat16")))
    assert merged["library_name"] == "transformers" and merged["base_model"] == "org/model"
    assert "license" not in merged


def test_it_says_what_the_policy_is_not_for() -> None:
    text = " ".join(card(GRPOSettings(), [], 1).split())
    for words in (
        "Not a clinical device, and not fit to talk with a person in distress",
        "No clinical outcome was measured",
        "emergency services, a crisis line",
        "docs/rewards.md",
        "**simulated** patients",
    ):
        assert words in text


def test_patients_variants_and_reward_are_the_runs_own() -> None:
    text = card(
        GRPOSettings(personas=("marta", "owen"), vary=True, rubric="user", patient="http://secret:1/v1#m"), [], 1
    )
    assert "chosen, a new variant of one each time: `marta`, `owen`" in text
    assert "preset `user`" in text and "with no gate" in text
    assert "| `m` |" in text and "secret" not in text
    whole = card(GRPOSettings(), [], 1)
    assert all(f"`{i}`" in whole for i in training_ids("train")) and "as written, no variants" in whole


def test_numbers_are_the_newest_up_to_the_step() -> None:
    text = card(GRPOSettings(), ROWS, 2)
    assert "training, update 1" in text and "| `reward` | 2.5 |" in text and "| `kl` | 0.125 |" in text
    assert "validation, update 2 | update 0 |" in text and "| `validation/reward` | 3 | 1 |" in text
    assert "| `validation/polarity` | none | -0.25 |" in text
    assert "9.75" not in text and "8.5 |" not in text
    assert "77" not in text and "55" not in text  # hours are no property of a run
    assert "None yet." in card(GRPOSettings(), [], 1)
    course = {"step": 2, "validation/term/affect": 5, "validation/since_best": 4, "validation/return": 7}
    text = card(GRPOSettings(), [course], 2)
    assert "| `validation/return` | 7 |" in text and "term/affect" not in text and "since_best" not in text


def test_what_a_resume_may_change_is_not_in_it() -> None:
    settings = GRPOSettings()
    other = settings.changed(out="elsewhere", resume=True, max_steps=999, save_steps=100, threads=1, validate_every=7)
    assert card(settings, ROWS, 2) == card(other, ROWS, 2)
    assert card(settings, ROWS, 2) != card(settings.changed(lr=1e-3), ROWS, 2)


def test_how_to_prompt_it_is_told() -> None:
    hidden = card(GRPOSettings(show_state=False, max_turn_tokens=33), [], 1)
    assert "without the `[USER STATE]` header, at most 33 tokens" in hidden
    assert "--header none --max-tokens 33" in hidden and "Sampling(33), show_state=False" in hidden
    shown = card(GRPOSettings(), [], 1)
    assert "--header none" not in shown and "show_state=False" not in shown
    assert 'Therapist.from_run("RUN")' in shown and "from_run" not in card(GRPOSettings(), [], 1, Merge("float32"))


def test_four_bits_are_told_where_they_were_merged() -> None:
    settings = GRPOSettings(quantize_4bit=True)
    assert "merged into the unquantised base" in card(settings, [], 1, Merge("float32"))
    assert "merged into the unquantised base" not in card(settings, [], 1)
    assert "merged into the unquantised base" not in card(GRPOSettings(), [], 1, Merge("float32"))


def test_a_folder_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert base_of(str(tmp_path / "mine")) == ("mine", "")
    text = card(GRPOSettings(model=str(tmp_path / "mine")), [], 1)
    assert str(tmp_path) not in text and "base_model" not in front(text) and "see the base" in text
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "smollm2"}')
    assert base_of(str(tmp_path / "adapter"))[0] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype is 'int8', expected one of float32"):
        Merge("int8")


@pytest.mark.parametrize("main", [True, False])
def test_each_checkpoint_gets_one_by_the_main_process(tmp_path: Path, main: bool) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    settings = GRPOSettings(out=str(tmp_path))
    (tmp_path / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    state: Any = SimpleNamespace(is_world_process_zero=main, global_step=2)
    arguments: Any = SimpleNamespace(output_dir=str(tmp_path / "checkpoints"))
    CardWriter(settings).on_save(arguments, state, None)  # type: ignore[arg-type]
    written = tmp_path / "checkpoints" / "checkpoint-2" / "README.md"
    assert written.exists() == main
    if main:
        assert written.read_text() == card(settings, ROWS, 2)


def test_a_resumed_run_has_the_cards_of_an_unbroken_one(tiny_model: Path, tmp_path: Path) -> None:
    def cards(out: str, steps: int, resume: bool = False) -> list[str]:
        settings = GRPOSettings(
            model=str(tiny_model), out=str(tmp_path / out), max_steps=steps, generations=4, max_turn_tokens=4,
            max_turns=1, save_steps=1, validate_every=1, validate_sessions=1, mask_cut_turns=False, resume=resume,
        )  # fmt: skip
        result = train(settings, SessionBatch(SessionConfig(max_turns=1)))
        places = [*sorted((result.out / "checkpoints").iterdir()), result.policy]
        return [(place / "README.md").read_text() for place in places]

    whole = cards("whole", 2)
    assert len(whole) == 3 and "training, update 1" in whole[0] and "training, update 2" in whole[1]
    assert "validation, update 2 | update 0" in whole[1] and whole[2] == whole[1]
    assert cards("parts", 1)[0] == whole[0]
    assert cards("parts", 2, resume=True) == whole


def test_it_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Model Card for Model ID")
    write_card(tmp_path, GRPOSettings(), ROWS, 2)
    assert (tmp_path / "README.md").read_text() == card(GRPOSettings(), ROWS, 2)

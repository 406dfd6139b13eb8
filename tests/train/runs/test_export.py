"""A trained policy opened from its run, and exported: the same policy each time, in a folder that is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
import torch
from safetensors.torch import load_file, save_file

from therapysim.agents import ChatTherapist, Therapist, baseline, benchmark
from therapysim.agents.bench.results import as_line, read_results
from therapysim.cli import main as cli
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, ModelError
from therapysim.models import checkpoint
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.models.rendering import Rendering
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train
from therapysim.train.run_settings import save_settings
from therapysim.train.runs.export import export, find_source

TEXT = "Patient: I am afraid, and I hardly sleep. It is my heart."


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates, without the header, with a checkpoint after each."""
    out = tmp_path_factory.mktemp("trained") / "run"
    batch = SessionBatch(SessionConfig(max_turns=2))
    train(
        GRPOSettings(
            model=str(tiny_model), out=str(out), max_steps=2, generations=4, max_turn_tokens=6, max_turns=2, lr=1e-2,
            save_steps=1, validate_every=0, show_state=False, personas=("marta", "owen"), mask_cut_turns=False,
        ),
        batch,
    )  # fmt: skip
    return out


def logits(source: Path) -> Any:
    model, tokenizer = checkpoint.load(source)
    with torch.inference_mode():
        return model(input_ids=tokenizer(TEXT, return_tensors="pt")["input_ids"]).logits


def test_a_run_opens_as_it_was_trained(trained: Path) -> None:
    therapist = ChatTherapist.from_run(trained)
    assert therapist.show_state is False
    assert (therapist.sampling.max_tokens, therapist.sampling.temperature) == (6, 0.8)
    cooler = ChatTherapist.from_run(str(trained), Sampling(max_tokens=500, temperature=0.0))
    assert (cooler.sampling.max_tokens, cooler.sampling.temperature) == (6, 0.0)
    one = SessionBatch().reset([_start()])
    assert Therapist.from_run(trained).respond(one) == therapist.respond(one)


def _start() -> Start:
    return Start(3, "kenji")


def test_the_protocol_is_still_one(trained: Path) -> None:
    assert isinstance(Therapist.from_run(trained), Therapist) and isinstance(baseline("cbt"), Therapist)
    assert not hasattr(baseline("cbt"), "from_run") and not isinstance("cbt", Therapist)


def test_a_checkpoint_opens_too(trained: Path) -> None:
    first = ChatTherapist.from_run(trained / "checkpoints" / "checkpoint-1")
    last = ChatTherapist.from_run(trained)
    assert first.show_state is False and isinstance(first.model, HuggingFaceChat)
    assert isinstance(last.model, HuggingFaceChat)
    pairs = zip(first.model.model.parameters(), last.model.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("place", ["empty", "nowhere", "cbt"])
def test_what_is_no_run_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is no run, expected a folder of `therapysim train grpo`"):
        ChatTherapist.from_run(place if place == "cbt" else tmp_path / place)


def test_python_and_the_command_play_the_same_sessions(trained: Path, tmp_path: Path) -> None:
    people, out = ["kenji", "tomas"], tmp_path / "bench"
    command = ["bench", str(trained), "--out", str(out), "--patients", *people, "--seeds", "2", "--turns", "2"]
    assert cli.main(command) == 0
    batch = SessionBatch(SessionConfig(max_turns=2))
    results = benchmark(batch, {str(trained): ChatTherapist.from_run(trained)}, people, range(2))
    assert [as_line(r) for r in read_results(out / "results.jsonl")] == [as_line(r) for r in results]
    assert any(said.therapist for said in results[0].turns)


def test_a_merged_model_says_what_the_adapter_on_its_base_says(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = export(trained, tmp_path / "merged", merged=True)
    assert {p.name for p in place.iterdir()} >= {"model.safetensors", "README.md", "export.json", "chat_template.jinja"}
    assert not (place / "adapter_config.json").exists()
    assert len({p.stat().st_mode for p in place.iterdir()}) == 1  # whoever may read one file may read all
    wanted, found = logits(trained / "policy"), logits(place)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (logits(tiny_model) - wanted).abs().max() > 1e-3  # the adapter does something

    model = AutoModelForCausalLM.from_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    plain = model(input_ids=tokenizer(TEXT, return_tensors="pt")["input_ids"]).logits
    torch.testing.assert_close(plain, wanted, rtol=1e-5, atol=1e-5)
    ends = model.generation_config.eos_token_id
    assert tokenizer.convert_ids_to_tokens(ends) == "<|im_end|>"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False).startswith("<|im_start|>")

    one = SessionBatch().reset([_start()])
    exported = ChatTherapist(HuggingFaceChat(place), Sampling(6), show_state=False)
    assert exported.respond(one) == ChatTherapist.from_run(trained).respond(one)


def test_half_precision_is_what_is_kept(trained: Path, tmp_path: Path) -> None:
    place = export(trained, tmp_path / "half", merged=True, dtype="bfloat16")
    assert {t.dtype for t in load_file(place / "model.safetensors").values()} == {torch.bfloat16}
    assert "kept in bfloat16" in (place / "README.md").read_text()


def test_the_end_token_is_the_chat_templates(tiny_model: Path) -> None:
    model, tokenizer = checkpoint.load(tiny_model)
    closing = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert Rendering(tokenizer).ends(model.generation_config.eos_token_id) == [closing]
    other = tokenizer.convert_tokens_to_ids("<|endoftext|>")  # as bases that were tuned for chats name it
    tokenizer.eos_token = "<|endoftext|>"
    assert Rendering(tokenizer).ends([other]) == Rendering(tokenizer).ends(None) == sorted([closing, other])
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "")
    assert Rendering(tokenizer).ends([other]) == [other]  # a template that ends turns with words has no end token


def test_an_adapter_travels_without_what_only_a_training_reads(trained: Path, tmp_path: Path) -> None:
    place = export(trained, tmp_path / "adapter", checkpoint=1)
    names = {p.name for p in place.iterdir()}
    assert names >= {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md", "export.json"}
    assert not names & {"optimizer.pt", "scheduler.pt", "trainer_state.json", "training_args.bin", "rng_state.pth"}
    assert torch.equal(logits(place), logits(trained / "checkpoints" / "checkpoint-1"))
    assert not torch.equal(logits(place), logits(trained / "policy"))
    told = json.loads((place / "export.json").read_text())
    assert (told["step"], told["merged"], told["show_state"], told["max_turn_tokens"]) == (1, False, False, 6)
    assert str(trained) not in (place / "export.json").read_text() + (place / "README.md").read_text()


def test_the_base_of_the_package_is_named_and_not_its_place(trained: Path, tmp_path: Path) -> None:
    run = _copy(trained, tmp_path, model="smollm2")
    place = export(run, tmp_path / "adapter")
    assert json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"] == "smollm2"
    assert json.loads((place / "export.json").read_text())["base"] == "smollm2"


def test_four_bits_are_told(trained: Path, tmp_path: Path) -> None:
    place = export(_copy(trained, tmp_path, quantize_4bit=True), tmp_path / "merged", merged=True)
    assert "merged into the unquantised base" in (place / "README.md").read_text()


def _copy(run: Path, to: Path, **changes: Any) -> Path:
    shutil.copytree(run, to / "copy")
    settings = json.loads((run / "settings.json").read_text())
    (to / "copy" / "settings.json").write_text(json.dumps({**settings, **changes}))
    return to / "copy"


@pytest.mark.parametrize("inside", ["policy", "checkpoints/checkpoint-2"])
def test_a_folder_in_a_run_is_of_that_run(trained: Path, inside: str) -> None:
    source = find_source(trained / inside)
    assert source.adapter == (trained / inside).resolve() and source.step == 2


def test_the_best_policy_is_one_too(trained: Path, tmp_path: Path) -> None:
    run = _copy(trained, tmp_path)
    shutil.copytree(run / "checkpoints" / "checkpoint-1", run / "best")
    (run / "best" / "best.json").write_text('{"step": 1}')
    place = export(run / "best", tmp_path / "out")
    assert json.loads((place / "export.json").read_text())["step"] == 1
    assert torch.equal(logits(place), logits(trained / "checkpoints" / "checkpoint-1"))


@pytest.mark.parametrize("told", ["{", "{}", '{"step": "1"}'])
def test_a_best_policy_that_does_not_say_its_updates_is_named(told: str, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    save_settings(GRPOSettings(), tmp_path / "settings.json")
    (tmp_path / "best" / "adapter_config.json").write_text("{}")
    (tmp_path / "best" / "best.json").write_text(told)
    with pytest.raises(ConfigError, match=r"best\.json: (step is|the file cannot be read as JSON)"):
        find_source(tmp_path / "best")


def test_what_is_no_run_is_not_exported(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="is no run: there is no such folder"):
        export(tmp_path / "nowhere", out)
    with pytest.raises(ConfigError, match=r"is no run: it holds .*config.json.*expected settings.json"):
        export(tiny_model, out)
    with pytest.raises(ConfigError, match=r"no adapter in checkpoints/checkpoint-7 \(checkpoints: 1, 2\); name one of"):
        export(trained, out, checkpoint=7)
    unfinished = _copy(trained, tmp_path)
    shutil.rmtree(unfinished / "policy")
    with pytest.raises(ConfigError, match=r"no adapter in policy \(checkpoints: 1, 2\); name one of"):
        export(unfinished, out)
    assert not out.exists()


def test_only_an_earlier_export_is_replaced(trained: Path, tmp_path: Path) -> None:
    out = export(trained, tmp_path / "out")
    with pytest.raises(ConfigError, match="is there already; name another folder, or add --force"):
        export(trained, out)
    (out / "mine.txt").write_text("x")
    export(trained, out, merged=True, force=True)
    assert not (out / "mine.txt").exists() and (out / "model.safetensors").exists()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="and is no earlier export"):
        export(trained, tmp_path / "precious", force=True)
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_what_an_export_is_made_from_is_not_replaced(trained: Path, tmp_path: Path) -> None:
    run = _copy(trained, tmp_path)
    (tmp_path / "export.json").write_text("{}")  # as if the folder around the run were an export
    with pytest.raises(ConfigError, match="holds copy, which this export is made from"):
        export(run, tmp_path, force=True)
    assert (run / "policy").is_dir()


def test_a_failed_export_leaves_nothing_and_the_old_one(trained: Path, tmp_path: Path) -> None:
    run = _copy(trained, tmp_path)
    out = export(run, tmp_path / "out")
    before = (out / "adapter_model.safetensors").read_bytes()
    (run / "policy" / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="peft cannot put it on"):
        export(run, out, merged=True, force=True)
    assert (out / "adapter_model.safetensors").read_bytes() == before
    with pytest.raises(ModelError):
        export(run, tmp_path / "new", merged=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "out"]


def test_an_adapter_that_cannot_be_merged_is_refused(trained: Path, tmp_path: Path) -> None:
    run = _copy(trained, tmp_path)
    weights = load_file(run / "policy" / "adapter_model.safetensors")
    save_file(
        {k: torch.full_like(v, float("nan")) for k, v in weights.items()}, run / "policy" / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="merged model's logits are off by nan"):
        export(run, tmp_path / "out", merged=True)
    assert not (tmp_path / "out").exists()


def test_the_command_exports(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "merged"
    assert cli.main(["export", str(trained), "--out", str(out), "--merged", "--dtype", "float16"]) == 0
    assert f"merged model in float16 in {out}" in capsys.readouterr().out
    assert cli.main(["export", str(trained), "--out", str(tmp_path / "a"), "--dtype", "float16"]) == 2
    assert "add --merged" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path), "--out", str(tmp_path / "a")]) == 2
    assert "is no run" in capsys.readouterr().err
    assert cli.main(["export", str(trained), "--out", str(tmp_path / "a"), "--checkpoint", "0"]) == 2
    assert "expected a whole number of at least 1" in capsys.readouterr().err

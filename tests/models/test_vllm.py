"""The vLLM chat model: what it asks of vLLM, against a stand-in; and, on a GPU, vLLM itself.

python -m tests.models.test_vllm MODEL [--adapter FOLDER]    on a GPU: 64 chats twice, equal replies?, tokens a second

The stand-in below is no vLLM: it checks the names of the arguments against those of vLLM 0.26 and records them. What
vLLM makes of them, only the command above tells.
"""

import argparse
import inspect
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.models.test_chat import TEMPLATE, make_tokenizer
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.models.fingerprint import fingerprint
from therapysim.models.vllm import VLLMChat

SAMPLING = Sampling(max_tokens=12, temperature=0.5, top_p=0.9)


def ask(*texts: str) -> list[list[ChatMessage]]:
    return [[{"role": "user", "content": text}] for text in texts]


# --- the stand-in ---


class StandInSamplingParams(SimpleNamespace):
    def __init__(
        self, *, max_tokens: int, temperature: float, top_p: float, seed: int, stop_token_ids: list[int]
    ) -> None:
        super().__init__(
            max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, stop_token_ids=stop_token_ids
        )


class StandInLoRARequest(SimpleNamespace):
    def __init__(self, lora_name: str, lora_int_id: int, lora_path: str) -> None:
        super().__init__(name=lora_name, id=lora_int_id, path=lora_path)


class StandInLLM:
    """Answers with the seed and the newest message; fails on one that says "too long". It has a real tokenizer."""

    template: str | None = TEMPLATE
    answer = "  {seed}: {text} <|im_end|>"
    made: list[dict[str, Any]] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, model: str, *, dtype: str, max_model_len: int | None, gpu_memory_utilization: float,
                 enable_lora: bool = False, max_lora_rank: int = 16, tensor_parallel_size: int = 1):  # fmt: skip
        if "broken" in model:
            raise RuntimeError("CUDA out of memory")
        call = {key: value for key, value in locals().items() if key != "self"}
        self.made.append(call)
        self.calls: list[dict[str, Any]] = []

    def get_tokenizer(self) -> Any:
        return make_tokenizer(self.template)

    def generate(self, prompts: Any, sampling_params: Any, use_tqdm: bool = True, lora_request: Any = None) -> Any:
        tokenizer = self.get_tokenizer()
        read = [tokenizer.decode(prompt["prompt_token_ids"]) for prompt in prompts]
        self.calls.append({"read": read, "sampling": sampling_params, "tqdm": use_tqdm, "lora": lora_request})
        newest = [text.split("<|im_end|>")[-2].split("\n", 1)[1].removeprefix("<|im_start|>user\n") for text in read]
        if "too long" in newest:
            raise ValueError("the prompt is longer than max_model_len")
        said = [self.answer.format(seed=p.seed, text=t) for p, t in zip(sampling_params, newest, strict=True)]
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=i)]) for i in ids]


def tokens_prompt(*, prompt_token_ids: list[int]) -> dict[str, list[int]]:
    return {"prompt_token_ids": prompt_token_ids}


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[StandInLLM]:
    request = SimpleNamespace(LoRARequest=StandInLoRARequest)
    pytest.importorskip("transformers")
    module = SimpleNamespace(LLM=StandInLLM, SamplingParams=StandInSamplingParams, TokensPrompt=tokens_prompt)
    for name, made in (("vllm", module), ("vllm.lora", SimpleNamespace()), ("vllm.lora.request", request)):
        stand_in = ModuleType(name)
        stand_in.__dict__.update(vars(made))
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(StandInLLM, "made", [])
    return StandInLLM


def model_folder(path: Path, name: str = "base") -> Path:
    folder = path / name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(100))
    return folder


def adapter_folder(path: Path, base: str, name: str = "adapter", **config: Any) -> Path:
    folder = path / name
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "r": 4, **config}))
    (folder / "adapter_model.safetensors").write_bytes(bytes(100))
    return folder


# --- loading ---


def test_a_folder_is_loaded_with_the_given_limits(vllm: type[StandInLLM], tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    chat = VLLMChat(folder, dtype="bfloat16", max_model_len=2048, gpu_memory=0.4, engine={"tensor_parallel_size": 2})
    assert isinstance(chat, ChatModel)
    assert vllm.made == [
        {"model": str(folder), "dtype": "bfloat16", "max_model_len": 2048, "gpu_memory_utilization": 0.4,
         "enable_lora": False, "max_lora_rank": 16, "tensor_parallel_size": 2}
    ]  # fmt: skip


def test_a_hub_id_passes_unchanged_and_names_itself(vllm: type[StandInLLM]) -> None:
    assert VLLMChat("someone/some-model").identity == "vllm someone/some-model in auto"
    assert vllm.made[0]["model"] == "someone/some-model"


@pytest.mark.parametrize(("rank", "reserved"), [({"r": 4}, 8), ({"r": 16}, 16), ({"r": 33}, 64),
                                                ({"r": 8, "rank_pattern": {"q_proj": 100}}, 128)])  # fmt: skip
def test_an_adapter_brings_its_base_and_room_for_its_rank(
    rank: dict[str, Any], reserved: int, vllm: type[StandInLLM], tmp_path: Path
) -> None:
    base = model_folder(tmp_path)
    adapter = adapter_folder(tmp_path, str(base), **rank)
    for chat in (VLLMChat(adapter), VLLMChat(base, adapter=adapter)):
        chat.reply(ask("a"), SAMPLING, [1])
        lora = chat.llm.calls[0]["lora"]
        assert (lora.name, lora.id, lora.path) == ("adapter", 1, str(adapter))
    assert [(m["model"], m["enable_lora"], m["max_lora_rank"]) for m in vllm.made] == [(str(base), True, reserved)] * 2


def test_an_adapter_ends_a_reply_with_its_own_token(vllm: type[StandInLLM], tmp_path: Path) -> None:
    base = model_folder(tmp_path)
    adapter = adapter_folder(tmp_path, str(base))
    assert VLLMChat(adapter)._sampling(SAMPLING, 0).stop_token_ids == [2]  # the template's
    (adapter / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    assert VLLMChat(adapter)._sampling(SAMPLING, 0).stop_token_ids == [1, 2, 7]
    (adapter / "generation_config.json").write_text("[")
    with pytest.raises(ModelError, match=r"generation_config\.json cannot be read"):
        VLLMChat(adapter)


def test_a_broken_adapter_says_what_is_wrong(vllm: type[StandInLLM], tmp_path: Path) -> None:
    base = model_folder(tmp_path)
    adapter = adapter_folder(tmp_path, str(base))
    with pytest.raises(ConfigError, match=r"is an adapter, and adapter .* is given; give one"):
        VLLMChat(adapter, adapter=adapter)
    with pytest.raises(ModelError, match=r"expected a folder with adapter_config\.json"):
        VLLMChat(base, adapter=base)
    with pytest.raises(ModelError, match=r"its base model '\./gone' cannot be found"):
        VLLMChat(adapter_folder(tmp_path, "./gone", "two"))
    with pytest.raises(ModelError, match="is an adapter itself"):
        VLLMChat(adapter_folder(tmp_path, str(adapter), "three"))
    with pytest.raises(ModelError, match="names no LoRA rank r"):
        VLLMChat(adapter_folder(tmp_path, str(base), "four", r=None))
    with pytest.raises(ModelError, match="its rank is 1000, expected at most 512"):
        VLLMChat(adapter_folder(tmp_path, str(base), "five", r=1000))
    assert vllm.made == []


def test_a_failing_vllm_is_a_model_error(vllm: type[StandInLLM], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"broken.*vLLM cannot load it: .*out of memory"):
        VLLMChat(model_folder(tmp_path, "broken"))


def test_a_model_without_a_chat_template_is_refused(
    vllm: type[StandInLLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "template", None)
    with pytest.raises(ModelError, match="no chat template; choose an instruction-tuned model"):
        VLLMChat(model_folder(tmp_path))


def test_without_vllm_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"needs the package vllm; .*therapysim\[vllm\].*wants a GPU"):
        VLLMChat(model_folder(tmp_path))


def test_a_missing_model_is_named_before_vllm_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file or folder"):
        VLLMChat(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("wrong", "found"),
    [({"dtype": "int3"}, "dtype is 'int3', expected one of auto"), ({"gpu_memory": 0}, "gpu_memory is 0"),
     ({"gpu_memory": 1.1}, r"gpu_memory is 1\.1"), ({"max_model_len": 0}, "max_model_len is 0")],
)  # fmt: skip
def test_settings_are_checked(wrong: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=f"VLLMChat: {found}"):
        VLLMChat("someone/some-model", **wrong)


def test_the_import_is_light() -> None:
    code = (
        "import sys, therapysim.models.vllm; print([m for m in ('vllm', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- replies ---


def test_all_chats_go_in_one_call_each_with_its_seed(vllm: type[StandInLLM], tmp_path: Path) -> None:
    chat = VLLMChat(model_folder(tmp_path))
    assert chat.reply([], SAMPLING, []) == []
    assert chat.reply(ask("a", "b", "c"), SAMPLING, [5, 2**63 + 6, 7]) == ["5: a", "6: b", "7: c"]
    [call] = chat.llm.calls
    assert call["read"] == [f"<|im_start|>user\n{t}<|im_end|>\n<|im_start|>assistant\n" for t in "abc"]
    assert call["tqdm"] is False and call["lora"] is None
    assert {(p.max_tokens, p.temperature, p.top_p) for p in call["sampling"]} == {(12, 0.5, 0.9)}


def test_a_chat_that_does_not_fit_is_a_model_error_that_leaves_the_rest_to_try(
    vllm: type[StandInLLM], tmp_path: Path
) -> None:
    chat = VLLMChat(model_folder(tmp_path))
    with pytest.raises(ModelError, match=r"answering 2 chats failed: .*longer than max_model_len") as caught:
        chat.reply(ask("a", "too long"), SAMPLING, [1, 2])
    assert caught.value.replies is None
    assert chat.reply(ask("a"), SAMPLING, [1]) == ["1: a"]


def test_reasoning_and_what_stands_behind_a_control_token_are_not_said(
    vllm: type[StandInLLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "answer", "<think>The patient {text}.</think>Hello.<|im_start|>user\nI am cured.")
    chat = VLLMChat(model_folder(tmp_path))
    assert chat.reply(ask("a"), SAMPLING, [1]) == ["Hello."]
    [said] = chat.answer(ask("a"), SAMPLING, [1])
    assert said == {
        "role": "assistant", "content": "Hello.", "sampled": "<think>The patient a.</think>Hello."
    }  # fmt: skip
    chat.answer([[*ask("a")[0], said, *ask("b")[0]]], SAMPLING, [1])
    assert "assistant\n<think>The patient a.</think>Hello.<|im_end|>" in chat.llm.calls[-1]["read"][0]


def test_a_templates_settings_reach_every_prompt_and_the_identity(
    vllm: type[StandInLLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "template", TEMPLATE + "{% if loud %}LOUD {% endif %}")
    folder = model_folder(tmp_path)
    quiet, loud = VLLMChat(folder), VLLMChat(folder, chat_template_kwargs={"loud": True})
    for chat in (quiet, loud):
        chat.reply(ask("a"), SAMPLING, [1])
    assert loud.llm.calls[0]["read"] == [f"{quiet.llm.calls[0]['read'][0]}LOUD "]
    assert loud.identity == quiet.identity + ' with {"loud": true}'
    assert loud.count_tokens(ask("a"), ["b"])[0][0] == quiet.count_tokens(ask("a"), ["b"])[0][0] + 5


def test_a_tokenizer_without_a_template_of_its_own_is_refused_with_the_way_round(
    vllm: type[StandInLLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "get_tokenizer", lambda _: SimpleNamespace())
    with pytest.raises(ModelError, match=r"has no chat template to lay chats out by .*tokenizer_mode.*hf"):
        VLLMChat(model_folder(tmp_path))


def test_seeds_are_checked(vllm: type[StandInLLM], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 chats and 1 seeds"):
        VLLMChat(model_folder(tmp_path)).reply(ask("a", "b"), SAMPLING, [1])


# --- identity ---


def test_the_identity_follows_the_files_not_the_place(vllm: type[StandInLLM], tmp_path: Path) -> None:
    one, two = model_folder(tmp_path, "one"), model_folder(tmp_path, "two")
    assert VLLMChat(one).identity == VLLMChat(two).identity != VLLMChat(one, dtype="float16").identity
    adapter = adapter_folder(tmp_path, str(one))
    tuned = VLLMChat(adapter).identity
    assert tuned != VLLMChat(one).identity
    (adapter / "adapter_model.safetensors").write_bytes(bytes(99) + b"\1")
    assert VLLMChat(adapter).identity not in (tuned, VLLMChat(one).identity)


def test_a_fingerprint_sees_large_weights_from_end_to_end(tmp_path: Path) -> None:
    folder, size = model_folder(tmp_path), 40 << 20
    seen = set()
    for place in (0, 1 << 19, size // 2, size - 1):
        with (folder / "model.safetensors").open("wb") as file:
            file.truncate(size)
            file.seek(place)
            file.write(b"\1")
        seen.add(fingerprint(folder))
    assert len(seen) >= 3  # the middle may fall between two blocks
    (folder / "notes.md").write_text("no part of the model")
    assert fingerprint(folder) in seen


# --- on a GPU ---


@pytest.mark.gpu
def test_the_arguments_are_vllms() -> None:
    """Needs no GPU in truth, but an installed vLLM: what the stand-in takes, vLLM takes."""
    vllm = pytest.importorskip("vllm")
    pairs = [(vllm.LLM.generate, StandInLLM.generate), (vllm.SamplingParams, StandInSamplingParams)]
    for real, stand_in in pairs:
        assert set(inspect.signature(stand_in).parameters) <= set(inspect.signature(real).parameters)


def main() -> None:
    """Answers 64 chats twice with vLLM itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--prefix-caching", action="store_true")
    options = parser.parse_args()
    engine = {"enable_prefix_caching": options.prefix_caching}
    chat = VLLMChat(options.model, adapter=options.adapter, max_model_len=2048, gpu_memory=0.5, engine=engine)
    print(chat.identity)
    chats = ask(*(f"Tell me about day {i} of your week, and how you slept." for i in range(64)))
    chat.reply(chats[:4], Sampling(), range(4))  # what is compiled at the first call is not measured
    rounds = [_timed(chat, chats) for _ in range(2)]
    equal = sum(one == two for one, two in zip(rounds[0][0], rounds[1][0], strict=True))
    alone = sum(chat.reply([chats[i]], Sampling(), [i])[0] == rounds[0][0][i] for i in range(16))
    other = chat.reply(chats, Sampling(), range(100, 164))
    print(f"equal seeds: {equal} of 64 replies equal in a second call; {alone} of 16 equal when asked alone")
    print(f"other seeds: {sum(a == b for a, b in zip(other, rounds[0][0], strict=True))} of 64 replies equal")
    print("tokens a second: " + ", ".join(f"{rate:.0f}" for _, rate in rounds))
    print(f"first reply: {rounds[0][0][0]!r}")
    sys.exit(equal < 64)


def _timed(chat: VLLMChat, chats: list[list[ChatMessage]]) -> tuple[list[str], float]:
    """Replies, and their tokens a second."""
    began = time.perf_counter()
    replies = chat.reply(chats, Sampling(), range(64))
    seconds = time.perf_counter() - began
    tokenizer = chat.llm.get_tokenizer()
    return replies, sum(len(tokenizer.encode(text)) for text in replies) / seconds


if __name__ == "__main__":
    main()

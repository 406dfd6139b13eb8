"""A tiny random chat model, made in a second."""

from pathlib import Path
from typing import Any

from therapysim.state import State

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny(folder: Path) -> None:
    """Writes a two-layer random Llama and a byte-level tokenizer that knows the words of a session."""
    import torch
    import transformers

    tokenizer = _tokenizer(transformers)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(transformers: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, user_message
    from therapysim.personas.bank import load_bank
    from therapysim.personas.load import personas

    voices = [line for p in personas() for v in (p.voice,) for line in (*v.opening, *v.express, *v.change, *v.sustain)]
    words = [*voices, *(line for p in personas() for fact in p.facts for line in fact.lines), *load_bank().texts]
    state = State(personas("train")[0].attributes, (0.0,), (0.0, 0.0, 0.0, 0.0))
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    specials = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [SYSTEM_PROMPT, user_message(state, ""), *words] * 2,
        trainers.BpeTrainer(vocab_size=4096, special_tokens=specials, initial_alphabet=alphabet, show_progress=False),
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )  # fmt: skip

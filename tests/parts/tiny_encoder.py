"""A tiny random encoder: a classifier, or a model of masked words."""

from pathlib import Path
from typing import Any

TEXTS = ["I am so sad.", "How dare they do this to me, again and again!", "the bus", "", "I am so sad.", "Why?"]
MULTI, SINGLE = "multi_label_classification", "single_label_classification"


def make_encoder(
    folder: Path, labels: list[str] | None = None, problem: str | None = SINGLE, family: str = "Bert"
) -> Path:
    """Writes a random two-layer model with these labels; without labels, one of masked words, as PsychBERT is."""
    import torch
    import transformers

    torch.manual_seed(1)
    words = tokenizer()
    named = {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}} if labels else {}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=66, pad_token_id=0, initializer_range=0.4, problem_type=problem, **named,
    )  # fmt: skip
    task = "ForSequenceClassification" if labels else "ForMaskedLM"
    getattr(transformers, family + task)(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def tokenizer() -> Any:
    """Words of ``TEXTS`` and single letters; [CLS] in front, [SEP] behind."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({word for text in TEXTS for word in text.lower().replace(",", "").split()})
    letters = [mark + chr(c) for c in range(33, 127) for mark in ("", "##")]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys([*words, *letters])]
    core = Tokenizer(models.WordPiece({word: i for i, word in enumerate(entries)}, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )

"""What the two judges' stand-ins tell apart, as the Markdown tables of rewards/README.md. Nothing here passes or fails.

python -m tests.measures.judges            both tables
python -m tests.measures.judges --layers   relevance by the encoder's layer; needs onnx (the extra ``sensor``)
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from tests.measures.challenge_baselines import Floats, Share
from tests.rewards.test_judges import CLINICAL, SMALL_TALK, auc
from therapysim.rewards.reading.emotions import WEIGHTS
from therapysim.rewards.reading.patterns import PATTERNS
from therapysim.rewards.reading.relevance import GoldRelevance, RelevanceSettings, load_gold, open_relevance
from therapysim.rewards.reading.tone_guard import ToneGuard, open_tone_guard

CONTRASTS = (0.0, 1.0)


def relevance_table() -> str:
    """AUC of the written clinical lines over the small talk, with and without centring and contrast."""
    rows = ["| centred | contrast | AUC |", "|---|---|---|"]
    for centred, contrast in product((False, True), CONTRASTS):
        judge = open_relevance(settings=RelevanceSettings(centred=centred, contrast=contrast))
        high, low = judge(CLINICAL), judge(SMALL_TALK)
        bottom, top = interval(high, low)
        rows.append(f"| {'yes' if centred else 'no'} | {contrast:g} | {auc(high, low):.3f} [{bottom:.3f}, {top:.3f}] |")
    return "\n".join(rows)


def interval(high: Floats, low: Floats, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of an AUC, each side redrawn by itself."""
    rng = np.random.default_rng(seed)
    found = [auc(rng.choice(high, len(high)), rng.choice(low, len(low))) for _ in range(draws)]
    bottom, top = np.quantile(found, (0.025, 0.975))
    return float(bottom), float(top)


def tone_table() -> str:
    """Median negativity and share rejected: the lines of the act set by kind, the gold corpus, and the two lists."""
    gold, guard = load_gold(), open_tone_guard()
    groups = {
        **acts(),
        "gold: hostile": list(gold.hostile),
        "gold: clinical": list(gold.phrases),
        "held-out clinical lines": CLINICAL,
        "held-out small talk": SMALL_TALK,
    }
    head = ["| lines | n | median negativity | rejected |", "|---|---|---|---|"]
    return "\n".join(head + [_row(guard, name, texts) for name, texts in groups.items()])


def acts() -> dict[str, list[str]]:
    """Lines of the written pattern set by kind; one that shows two acts stands under both."""
    path = Path(__file__).parents[1] / "data" / "patterns.jsonl"
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    groups = {act: [row["text"] for row in rows if act in row["acts"]] for act in PATTERNS}
    return groups | {"no act": [row["text"] for row in rows if not row["acts"]]}


def _row(guard: ToneGuard, name: str, texts: list[str]) -> str:
    rejected = Share(int(guard.rejects(texts).sum()), len(texts))
    return f"| {name} | {len(texts)} | {np.median(guard.negativity(texts)):.2f} | {rejected} |"


def layer_table() -> str:
    """AUC as in ``relevance_table``, by the layer of the shipped encoder whose mean output is the embedding."""
    kept = RelevanceSettings(centred=False), RelevanceSettings(), RelevanceSettings(contrast=1.0)
    rows = ["| layer | as it is | centred | centred, contrast 1 |", "|---|---|---|---|"]
    for layer, embed in enumerate(_embedders(load_gold().phrases, load_gold().background, CLINICAL, SMALL_TALK)):
        judges = [GoldRelevance(embed, settings=settings) for settings in kept]
        shares = [f"{auc(judge(CLINICAL), judge(SMALL_TALK)):.3f}" for judge in judges]
        rows.append(f"| {layer} | {' | '.join(shares)} |")
    return "\n".join(rows)


def _embedders(*groups: Sequence[str]) -> list[Callable[[Sequence[str]], Floats]]:
    """One embedder a layer, the token embeddings first; each knows the texts of these groups alone."""
    session, names = _open_layers()
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
    means: dict[str, list[Floats]] = {}
    for text in {text for group in groups for text in group}:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        outputs = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        means[text] = [output[0].mean(axis=0) for output in outputs]

    def of(layer: int) -> Callable[[Sequence[str]], Floats]:
        return lambda texts: np.stack([means[text][layer] for text in texts])

    return [of(layer) for layer in range(len(names))]


def _open_layers() -> tuple[onnxruntime.InferenceSession, list[str]]:
    import onnx

    model = onnx.load(str(WEIGHTS / "emotions.onnx"))
    # One norm closes the token embeddings, then two a layer, of which the second closes it.
    names = [node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"][::2]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]), names


def main() -> None:
    """Prints both tables, or the one by layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", action="store_true", help="relevance by the encoder's layer")
    print(layer_table() if parser.parse_args().layers else f"{relevance_table()}\n\n{tone_table()}")


if __name__ == "__main__":
    main()

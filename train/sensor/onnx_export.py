"""The fitted network as a file that onnxruntime runs without torch."""

from pathlib import Path
from typing import Any

import torch

from therapysim.train.sensor.network import Classifier

__all__ = ["export"]


def export(model: Classifier, tokenizer: Any, folder: Path) -> None:
    """Writes ``emotions.onnx`` (dynamic int8) and ``tokenizer.json``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model.eval()
    example = (torch.ones((2, 9), dtype=torch.int64), torch.ones((2, 9), dtype=torch.int64))
    dim = torch.export.Dim
    shape = {0: dim("n", min=1, max=4096), 1: dim("t", min=2, max=512)}
    raw = folder / "fp32.onnx"
    torch.onnx.export(
        model,
        example,
        raw,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits", "pooled"],
        dynamic_shapes=(shape, shape),
        dynamo=True,
        external_data=False,
    )
    # reduce_range: 7-bit weights, since processors without VNNI saturate when they add two products of 8-bit numbers.
    quantize_dynamic(raw, folder / "emotions.onnx", weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    raw.unlink()
    strip_traces(folder / "emotions.onnx")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def strip_traces(path: Path) -> None:
    """Drops what the exporter notes of the code it traced, stack traces with this machine's paths among it."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.save(model, path)

"""The fitted network as a file that onnxruntime runs without torch."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from therapysim.train.sensor.network import Classifier

__all__ = ["export", "quantised"]


def export(model: Classifier, tokenizer: Any, folder: Path) -> None:
    """Writes ``emotions.onnx`` (dynamic int8) and ``tokenizer.json``."""
    example = (torch.ones((2, 9), dtype=torch.int64), torch.ones((2, 9), dtype=torch.int64))
    quantised(model, example, ["input_ids", "attention_mask"], ["logits", "pooled"], folder / "emotions.onnx")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def quantised(model: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], path: Path) -> None:
    """Writes a network of token ids, each input (n, t), as dynamic int8 at ``path``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model.eval()
    dim = torch.export.Dim
    shape = {0: dim("n", min=1, max=4096), 1: dim("t", min=2, max=512)}
    raw = path.with_name("fp32.onnx")
    torch.onnx.export(
        model,
        example,
        raw,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=tuple(shape for _ in example),
        dynamo=True,
        external_data=False,
    )
    # reduce_range: 7-bit weights, since processors without VNNI saturate when they add two products of 8-bit numbers.
    quantize_dynamic(raw, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    raw.unlink()
    strip_traces(path)


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

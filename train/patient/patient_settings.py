"""Settings of the patient's training: what its examples are made of, and how the adapter is trained on them."""

from typing import Any

from pydantic import Field

from therapysim.settings import Count, Name, Positive, Settings, Share

__all__ = ["AdapterSettings", "LineSettings"]


def _setting(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, **limits)


class LineSettings(Settings):
    """What examples are made of."""

    variants: Positive = _setting(4, "of each training patient; each plays one session with every therapist")
    turns: Positive = _setting(12, "therapist turns of such a session at most")
    far: float = _setting(0.6, "mood distance in L2 beyond which a line is no example of its cue", ge=0, le=4)
    # So that strong and weak words, and moods that no session reached, are learnt too.
    hindsight: Share = _setting(0.5, "share of generated cues whose mood is set to what their line reads as")
    stray: Share = _setting(0.08, "standard deviation of the noise on such a mood, and on a written line's")
    seed: Count = _setting(0, "of everything")


class AdapterSettings(Settings):
    """How the adapter is trained: LoRA on every linear layer of the decoder, AdamW, the rate falling along a cosine."""

    model: Name = _setting("smollm2", "the base: model folder, .gguf file, hub id, or smollm2; kept in the adapter")
    rank: Positive = _setting(12, "of LoRA: the adapter's capacity")
    alpha: Positive = _setting(24, "of LoRA: its scale, in units of the rank")
    dropout: float = _setting(0.0, "of LoRA", ge=0, le=0.9)
    epochs: Positive = _setting(2, "times through the examples")
    batch_size: Positive = _setting(64, "examples in a batch")
    lr: float = _setting(1e-3, "learning rate at its highest", gt=0, le=1)
    warmup: Share = _setting(0.05, "share of the steps in which the rate rises")
    held_out: float = _setting(0.03, "share of the examples on which the loss is told, not trained on", ge=0, le=0.5)
    seed: Count = _setting(0, "of order, dropout and initial weights")

"""``therapysim export``: a trained policy in a folder of its own."""

import argparse

from therapysim.errors import ConfigError, require_count
from therapysim.models.checkpoint import DTYPES

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which policy of a run, and what is made of it."""
    add = parser.add_argument
    add(
        "run_folder",
        metavar="RUN",
        help="the folder of a `train grpo`, `train sft` or `train dpo`, its best/, or a checkpoint",
    )
    add("--out", required=True, metavar="FOLDER", help="the new folder; written whole or not at all")
    add("--merged", action="store_true", help="the whole model with the adapter added to its base, as safetensors")
    add("--dtype", choices=DTYPES,
        help="precision of a merged model, default float32; 16 bits round small changes away")  # fmt: skip
    add("--checkpoint", type=int, metavar="N", help="the checkpoint of N updates in place of the final policy")
    add("--force", action="store_true", help="replace an earlier export; nothing else is ever replaced")


def run(chosen: argparse.Namespace) -> None:
    """Writes the folder, and says what to do with it.

    Raises:
        ConfigError: the run is none, the folder is taken, or ``--dtype`` is given for an adapter.
    """
    if chosen.dtype and not chosen.merged:
        raise ConfigError("--dtype is of a merged model, and an adapter stays as it was trained; add --merged")
    if chosen.checkpoint is not None:
        require_count("--checkpoint", chosen.checkpoint, 1)

    from therapysim.train.runs.export import export

    place = export(chosen.run_folder, chosen.out, merged=chosen.merged, dtype=chosen.dtype or "float32",
                   checkpoint=chosen.checkpoint, force=chosen.force)  # fmt: skip
    kind = f"merged model in {chosen.dtype or 'float32'}" if chosen.merged else "adapter"
    print(f"{kind} in {place}; its README.md says what it is, and how to load it")

"""How a policy learns, and the recipes of the shipped weights.

What is exported here is imported when it is asked for, since most of it needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from therapysim.moved import refuse_renamed

if TYPE_CHECKING:
    from therapysim.train.chats.export_chats import export_chats
    from therapysim.train.dpo.dpo_settings import DPOSettings
    from therapysim.train.dpo.run import train as train_dpo
    from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings, presets
    from therapysim.train.grpo.run import TrainResult
    from therapysim.train.grpo.run import train as train_grpo
    from therapysim.train.pairs.pair_settings import PairSettings
    from therapysim.train.pairs.run import draw_set
    from therapysim.train.patient_pool import Office, PatientPool
    from therapysim.train.patient_processes import Patients
    from therapysim.train.runs.export import export as export_policy
    from therapysim.train.sft.run import train as train_sft
    from therapysim.train.sft.sft_settings import SFTSettings
    from therapysim.train.spread_batch import SpreadBatch

__all__ = [
    "DPOSettings",
    "GRPOSettings",
    "Office",
    "PairSettings",
    "PatientPool",
    "Patients",
    "SFTSettings",
    "SpreadBatch",
    "TrainResult",
    "draw_set",
    "export_chats",
    "export_policy",
    "load_settings",
    "presets",
    "train_dpo",
    "train_grpo",
    "train_sft",
]

_PLACES = {
    "DPOSettings": ("dpo.dpo_settings", "DPOSettings"),
    "GRPOSettings": ("grpo.grpo_settings", "GRPOSettings"),
    "Office": ("patient_pool", "Office"),
    "PairSettings": ("pairs.pair_settings", "PairSettings"),
    "PatientPool": ("patient_pool", "PatientPool"),
    "Patients": ("patient_processes", "Patients"),
    "SFTSettings": ("sft.sft_settings", "SFTSettings"),
    "SpreadBatch": ("spread_batch", "SpreadBatch"),
    "TrainResult": ("grpo.run", "TrainResult"),
    "draw_set": ("pairs.run", "draw_set"),
    "export_chats": ("chats.export_chats", "export_chats"),
    "export_policy": ("runs.export", "export"),
    "load_settings": ("grpo.grpo_settings", "load_settings"),
    "presets": ("grpo.grpo_settings", "presets"),
    "train_dpo": ("dpo.run", "train"),
    "train_grpo": ("grpo.run", "train"),
    "train_sft": ("sft.run", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        refuse_renamed(__name__, name, {})
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)

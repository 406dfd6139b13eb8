"""A run whose patient is a language model behind a server; ``test_hung_patient.py`` starts it, and breaks it off.

python -m tests.parts.hung_patient MODEL OUT URL off|colocate

``colocate`` puts the tests' engine in vLLM's place, which needs a GPU: patients then answer in a thread.
"""

import signal
import sys
from typing import Any

from tests.train.grpo.test_sampler import SlowEngine
from therapysim.cli.main import main as cli
from therapysim.train.grpo import run
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.runs import model


def open_engine(settings: GRPOSettings, trainer: Any) -> Any:
    """In place of vLLM's."""
    return SlowEngine(trainer.model, settings, trainer.eos_token_ids, 5)


def main(policy: str, out: str, url: str, vllm: str) -> int:
    """Trains by the command line, up to three updates of one generation each."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background would have it ignored
    run._open_engine = open_engine  # type: ignore[assignment]
    model._check_packages = lambda settings: None
    return cli([
        "train", "grpo", "--model", policy, "--out", out, "--vllm", vllm, "--patient", f"{url}#tiny",
        "--max-steps", "3",
        "--generations", "2", "--accumulation", "2", "--max-turns", "2", "--max-turn-tokens", "6", "--save-steps", "50",
        "--validate-every", "0", "--threads", "1", "--no-mask-cut-turns",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

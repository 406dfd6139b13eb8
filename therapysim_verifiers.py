"""What verifiers and prime-rl find by the id ``therapysim-verifiers``: a taskset, its environment and its harness.

They look for a module of that name, and for no part of a package.
"""

from therapysim.train.connect.verifiers import TherapyEnv, TherapyTaskset
from therapysim.train.connect.verifiers_harness import ChatHarness

__all__ = ["ChatHarness", "TherapyEnv", "TherapyTaskset"]

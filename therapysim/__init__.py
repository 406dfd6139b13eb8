"""TherapySim: a Gymnasium environment for reinforcement learning of multi-turn therapeutic dialogue.

Importing this package registers ``TherapySim-v0``, and ``TherapySimActs-v0`` for learners that know no language:

    import gymnasium as gym
    import therapysim

    env = gym.make("TherapySim-v0")

``gym.make("therapysim:TherapySim-v0")`` imports it for you; Gymnasium 1.x has no plug-in entry point that would.
"""

import os
import sys

import gymnasium as gym

from therapysim.moved import OldPlaces

# ONNX Runtime, which runs the sensor, reports its use to its maker unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

if "TherapySim-v0" not in gym.registry:
    gym.register(
        id="TherapySim-v0",
        entry_point="therapysim.envs.therapy:TherapySimEnv",
        vector_entry_point="therapysim.envs.vector:TherapySimVectorEnv",
    )
if "TherapySimActs-v0" not in gym.registry:
    gym.register(
        id="TherapySimActs-v0",
        entry_point="therapysim.agents.therapists.act_choice:make_act_choice",
        vector_entry_point="therapysim.agents.therapists.act_vector:ActChoiceVectorEnv",
    )

if not any(isinstance(finder, OldPlaces) for finder in sys.meta_path):
    sys.meta_path.append(OldPlaces())

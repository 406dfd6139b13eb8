"""What a session is: the dynamics, the screen, and the Gymnasium environments."""

from therapysim.envs import dispatch  # noqa: F401 - makes Utterance known to Gymnasium
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.envs.dynamics import DynamicsSettings
from therapysim.envs.spaces import Utterance
from therapysim.envs.therapy import TherapySimEnv
from therapysim.envs.vector import TherapySimVectorEnv

__all__ = [
    "DynamicsSettings",
    "Session",
    "SessionBatch",
    "SessionConfig",
    "Start",
    "TherapySimEnv",
    "TherapySimVectorEnv",
    "Turn",
    "Utterance",
]

"""Who speaks as the therapist: baselines, language models, and the benchmark that compares them."""

from typing import Any

from therapysim.agents.bench.benchmark import benchmark, paired, results_table
from therapysim.agents.bench.results import MEASURES, SessionResult
from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.statistics.intervals import Difference, Interval
from therapysim.agents.therapists.act_choice import ActChoice, ActTherapist
from therapysim.agents.therapists.act_vector import ActChoiceVectorEnv
from therapysim.agents.therapists.baselines import BASELINES, Baseline, baseline
from therapysim.agents.therapists.memory import Memory
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist, conversation, state_header
from therapysim.moved import refuse_renamed

__all__ = [
    "BASELINES",
    "MEASURES",
    "ActChoice",
    "ActChoiceVectorEnv",
    "ActTherapist",
    "Baseline",
    "ChatTherapist",
    "Difference",
    "Episode",
    "Interval",
    "Memory",
    "SessionResult",
    "Therapist",
    "baseline",
    "benchmark",
    "conversation",
    "paired",
    "play",
    "results_table",
    "state_header",
]


def __getattr__(name: str) -> Any:
    refuse_renamed(
        __name__, name, {"table": "therapysim.agents.results_table", "Result": "therapysim.agents.SessionResult"}
    )

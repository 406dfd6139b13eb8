"""Who speaks as the therapist: baselines, language models, and the benchmark that compares them."""

from therapysim.agents.baselines import BASELINES, Baseline, baseline
from therapysim.agents.benchmark import Interval, Result, benchmark, paired, table
from therapysim.agents.episode import Episode, play
from therapysim.agents.therapist import ChatTherapist, Therapist, conversation, state_header

__all__ = [
    "BASELINES",
    "Baseline",
    "ChatTherapist",
    "Episode",
    "Interval",
    "Result",
    "Therapist",
    "baseline",
    "benchmark",
    "conversation",
    "paired",
    "play",
    "state_header",
    "table",
]

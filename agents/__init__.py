"""Who speaks as the therapist: baselines, language models, and the benchmark that compares them."""

from therapysim.agents.act_choice import ActChoice, ActTherapist
from therapysim.agents.baselines import BASELINES, Baseline, baseline
from therapysim.agents.benchmark import benchmark, paired, table
from therapysim.agents.episode import Episode, play
from therapysim.agents.results import MEASURES, Result
from therapysim.agents.statistics import Difference, Interval
from therapysim.agents.therapist import ChatTherapist, Therapist, conversation, state_header

__all__ = [
    "BASELINES",
    "MEASURES",
    "ActChoice",
    "ActTherapist",
    "Baseline",
    "ChatTherapist",
    "Difference",
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

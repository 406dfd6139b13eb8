"""Who speaks as the therapist: baselines, language models, and the benchmark that compares them."""

from therapysim.agents.bench.benchmark import benchmark, paired, table
from therapysim.agents.bench.results import MEASURES, Result
from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.statistics.intervals import Difference, Interval
from therapysim.agents.therapists.act_choice import ActChoice, ActTherapist
from therapysim.agents.therapists.baselines import BASELINES, Baseline, baseline
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist, conversation, state_header

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

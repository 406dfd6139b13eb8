"""How a session is read and judged: the emotion sensor, the affective matrix, and the reward. No language model."""

from therapysim.rewards.calibration import Calibration
from therapysim.rewards.judge import Judge, Judgement
from therapysim.rewards.matrix import DIMENSIONS, LABELS, MATRIX, VALENCE_MAP, deficit_dimension, polarity, valence
from therapysim.rewards.own_terms import OwnTerm
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings, shipped_sensor
from therapysim.rewards.reading.open_sensor import open_sensor
from therapysim.rewards.reading.relevance import open_relevance
from therapysim.rewards.reading.tone_guard import open_tone_guard
from therapysim.rewards.reading.valence import ValenceReader
from therapysim.rewards.risk import CATEGORIES, Risk, RiskCategory, RiskThresholds
from therapysim.rewards.rubric import Rubric, Score
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.rewards.rubric_settings import PRESETS, TERMS, RubricSettings

__all__ = [
    "CATEGORIES",
    "DIMENSIONS",
    "LABELS",
    "MATRIX",
    "PRESETS",
    "TERMS",
    "VALENCE_MAP",
    "Calibration",
    "EmotionSensor",
    "Judge",
    "Judgement",
    "OwnTerm",
    "Risk",
    "RiskCategory",
    "RiskThresholds",
    "Rubric",
    "RubricSettings",
    "Score",
    "SensorSettings",
    "ValenceReader",
    "deficit_dimension",
    "open_relevance",
    "open_rubric",
    "open_sensor",
    "open_tone_guard",
    "polarity",
    "shipped_sensor",
    "valence",
]

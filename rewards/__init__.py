"""How a session is read and judged: the emotion sensor, the affective matrix, and the reward. No language model."""

from therapysim.rewards.matrix import DIMENSIONS, LABELS, MATRIX, VALENCE_MAP
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings, shipped_sensor
from therapysim.rewards.risk import CATEGORIES, Risk, RiskCategory, RiskThresholds
from therapysim.rewards.rubric import PRESETS, TERMS, Rubric, RubricSettings, Score

__all__ = [
    "CATEGORIES",
    "DIMENSIONS",
    "LABELS",
    "MATRIX",
    "PRESETS",
    "TERMS",
    "VALENCE_MAP",
    "EmotionSensor",
    "Risk",
    "RiskCategory",
    "RiskThresholds",
    "Rubric",
    "RubricSettings",
    "Score",
    "SensorSettings",
    "shipped_sensor",
]

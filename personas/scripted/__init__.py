"""The default patient: written lines, put together by rule, seeded and offline."""

from therapysim.personas.scripted.scripted_patient import ScriptedPatient

__all__ = ["ScriptedPatient"]

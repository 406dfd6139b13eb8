"""Who sits in the chair: fictional patients as written files, and the scripted patient that plays them.

A `Persona` is one patient's file, checked; `find`, `personas` and `library` hand them out, and `open_persona` reads
one's own. A `Patient` words a `Cue`, which is what the session's dynamics decided, as a `Line`. `ScriptedPatient` is
the default: seeded, offline and fast.
"""

from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.load import find, library, load_persona, open_persona, personas
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Cue, Line, Patient
from therapysim.personas.schema import Fact, Persona
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

__all__ = [
    "Cue",
    "Fact",
    "LLMPatient",
    "Line",
    "Patient",
    "Persona",
    "ScriptedPatient",
    "find",
    "library",
    "load_persona",
    "open_patient",
    "open_persona",
    "personas",
]

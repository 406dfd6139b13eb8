"""A patient of one's own for workers: a file decides whether it answers, hangs within its turn, or fails."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.patience import HANGS_S
from therapysim.errors import PatientError
from therapysim.personas.patient import Cue, Line

__all__ = ["Held"]


@dataclass(frozen=True)
class Held:
    """Hangs in its turns while the folder has ``hold``, and leaves its process's number there; fails Owen's turns while
    it has ``broken``, by an error of its own, and Marta's by one that says so."""

    folder: str

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        turns = any(cue.transcript.messages for cue in cues)
        if turns and Path(self.folder, "hold").exists():
            Path(self.folder, f"{os.getpid()}.pid").touch()
            time.sleep(HANGS_S)
        if turns and Path(self.folder, "broken").exists():
            names = {cue.persona.id for cue in cues}
            if "owen" in names:
                raise ZeroDivisionError("owen")
            if "marta" in names:
                raise PatientError("marta")
        return [Line(f"I said {cue.seed} after {len(cue.transcript.messages)}.") for cue in cues]

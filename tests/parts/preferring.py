"""Small DPO runs: a tiny model that learns which of two answers is better, from pairs made on the spot."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.patient import Patient
from therapysim.train.dpo.dpo_settings import DPOSettings
from therapysim.train.dpo.run import train
from therapysim.train.runs.start_up import TrainResult

__all__ = ["Prefer", "made_pairs", "patients", "preferrer", "settings", "write_rows"]

Prefer = Callable[..., TrainResult]
# Six pairs, three an update: two updates are an epoch.
SHAPE: dict[str, Any] = {
    "max_turns": 2, "max_steps": 4, "batch_size": 3, "accumulation": 1, "lr": 3e-2, "save_steps": 2,
    "validate_every": 0, "validate_sessions": 2, "max_turn_tokens": 96,
}  # fmt: skip
_STARTS = (("marta", 1), ("owen", 2), ("marta", 3))
_REJECTED = "You should just go for a run and stop thinking about it."


def patients(patient: Patient | None = None, max_turns: int = 2) -> SessionBatch:
    """Whom the policy meets in validations, with the rubric that a run has by itself."""
    return SessionBatch(SessionConfig(max_turns=max_turns), patient=patient, rubric="grpo")


def made_pairs(*, show_state: bool = True) -> list[dict[str, Any]]:
    """Rows of a file: what `attuned` said in three sessions of two turns, and advice in its place."""
    rows = []
    played = play(patients(), baseline("attuned"), [Start(seed, persona) for persona, seed in _STARTS])
    for episode in played:
        talk = conversation(episode.session, show_state=show_state)
        for i in (2, 4):
            rows.append({
                "prompt": talk[:i], "chosen": [talk[i]], "rejected": [{"role": "assistant", "content": _REJECTED}],
                "persona": episode.session.persona.id, "prompt_short": "[STATE: MDD]", "margin": 0.5,
            })  # fmt: skip
    return rows


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    """A file of JSON lines; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def settings(source: Path, out: Path, made: Path, /, **changes: Any) -> DPOSettings:
    """Those of a small run, changed."""
    return DPOSettings(**{"model": str(source), "out": str(out), "pairs": (str(made),), **SHAPE, **changes})


def preferrer(model: Path, place: Path) -> Prefer:
    """Trains in folders of ``place``: ``preferrer(...)("one", lr=0.1)``."""
    made = write_rows(place / "made.jsonl", made_pairs())

    def start(out: str = "run", patient: Patient | None = None, **changes: Any) -> TrainResult:
        return train(settings(model, place / out, made, **changes), patients(patient))

    return start

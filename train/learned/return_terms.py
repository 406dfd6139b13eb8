"""The benchmark's session files: the return under the training's own rubric, and each turn's terms.

A benchmark scores by one rubric and a run may have been trained by another. Its session files keep every term before
its weight, so that the return can be had by the training's rubric too.
"""

from therapysim.agents.bench.results import SessionResult
from therapysim.agents.sessions.pay import earned
from therapysim.agents.sessions.session_file import SessionRecord, load_session, session_file
from therapysim.errors import ConfigError
from therapysim.rewards.rubric import Rubric
from therapysim.train.learned.compared_runs import Key, Study
from therapysim.train.runs.kept_rubric import kept_settings

__all__ = ["recorded", "trained_return", "training_rubric"]

#: Where ``therapysim bench --sessions`` puts them.
_SESSIONS = "sessions"


def recorded(study: Study, result: SessionResult) -> SessionRecord | None:
    """The file of a session; None where the benchmark kept none.

    Raises:
        ConfigError: it cannot be read, or is of another session.
    """
    folder = session_file(study.bench / _SESSIONS, study.simulator, "any", 0).parent
    file = session_file(folder, result.policy, result.persona, result.seed)
    if not file.exists():
        return None
    found = load_session(file)
    said = tuple(message.text for message in found.messages if message.speaker == "therapist")
    if said != tuple(turn.therapist for turn in result.turns):
        raise ConfigError(f"session file {file} is of another session than the results' row of {result.policy!r}; "
                          "run the same `therapysim bench` in a new folder")  # fmt: skip
    return found


def training_rubric(study: Study) -> Rubric | None:
    """What the runs were trained by; None where they differ or do not say, or where code of one's own decided.

    Raises:
        ConfigError: a ``rubric.json`` is none.
    """
    files = [run.folder / "rubric.json" for run in study.runs]
    if not all(file.exists() for file in files):
        return None
    found = {kept_settings(file) for file in files}
    settings = found.pop()
    return None if settings is None or found else Rubric(settings)


def trained_return(study: Study) -> dict[str, dict[str, dict[Key, float]]]:
    """policy -> "trained_return" -> session -> the return by the training's rubric; empty without the files for it."""
    rubric = training_rubric(study)
    if rubric is None:
        return {}
    told: dict[str, dict[str, dict[Key, float]]] = {}
    for policy, sessions in study.sessions.items():
        files = {key: recorded(study, result) for key, result in sessions.items()}
        sound = {key: earned(file, rubric) for key, file in files.items() if file is not None}
        if len(sound) < len(files):
            return {}
        told[policy] = {"trained_return": sound}
    return told

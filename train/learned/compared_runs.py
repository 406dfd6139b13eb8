"""What a report on trainings is made of: the runs' folders, and a benchmark that played base and trained alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

from therapysim.agents.bench.faults import failures, replacements
from therapysim.agents.bench.report.runs import Runs, flat, read_runs
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.statistics.intervals import FEW
from therapysim.agents.therapists.policies import run_of
from therapysim.errors import ConfigError
from therapysim.records import read_record
from therapysim.train.dpo.dpo_settings import DPOSettings
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.run_settings import RunSettings, free
from therapysim.train.runs.rows import read_rows
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["Key", "Run", "Study", "open_study", "rounded"]

#: (patient, seed) of one session.
Key = tuple[str, int]

#: What runs of one mode may differ in: it changes where and how they ran, not what they learned from.
_OWN = frozenset({*free(GRPOSettings), *free(SFTSettings), *free(DPOSettings), "seed"})
_KINDS: Mapping[str, type[RunSettings]] = {kind.training: kind for kind in (GRPOSettings, SFTSettings, DPOSettings)}
#: What a benchmark must prompt and sample alike for a difference to be the training's.
_PROMPTED = ("show_state", "max_tokens", "temperature", "top_p", "engine")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        folder: what it left behind.
        name: as tables show it.
        policy: what the benchmark calls it.
        mode: what it is pooled by: the label that it was given, else its training, or how its tokens were credited.
        settings: those of its folder.
        rows: of ``metrics.jsonl``, oldest first.
    """

    folder: Path
    name: str
    policy: str
    mode: str
    settings: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @property
    def steps(self) -> int:
        """Updates made."""
        return int(self.rows[-1]["step"])


@dataclass(frozen=True)
class Study:
    """Trainings, and the sessions of their policies and of the base with the same patients and seeds.

    Attributes:
        bench: the benchmark's folder.
        base: the policy that they are compared with.
        simulator: who worded the patients.
        runs: in the order given.
        sessions: policy -> (patient, seed) -> the session; those that failed are left out.
        settings: the benchmark's own; empty where it left none.
        digest: SHA-256 of its results.
        notes: what a reader must know before believing a difference.
    """

    bench: Path
    base: str
    simulator: str
    runs: tuple[Run, ...]
    sessions: Mapping[str, Mapping[Key, SessionResult]]
    settings: Mapping[str, Any]
    digest: str
    notes: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """Policy -> what tables call it, the base first; no path of a machine."""
        base = Path(self.base).name if Path(self.base).is_absolute() else self.base
        return {self.base: base, **{run.policy: run.name for run in self.runs}}

    @property
    def sampling(self) -> dict[str, str] | None:
        """How base and trained were prompted and sampled; None where it differed, or the benchmark does not say."""
        about = self.settings.get("policies", {})
        told = [dict(flat(about.get(policy, {}))) for policy in self.names]
        held = [{name: own[name] for name in _PROMPTED if name in own} for own in told]
        return held[0] if held[0] and all(own == held[0] for own in held) else None

    @property
    def modes(self) -> dict[str, tuple[Run, ...]]:
        """mode -> its runs."""
        names = dict.fromkeys(run.mode for run in self.runs)
        return {name: tuple(run for run in self.runs if run.mode == name) for name in names}

    @property
    def starts(self) -> dict[str, str]:
        """Policy -> that of the run it went on from, where this is one of the study's too."""
        last = {run.folder.name: run.policy for run in self.runs}
        places = {run.policy: Path(str(run.settings.get("model", ""))) for run in self.runs}
        return {
            who: last[at.parent.name] for who, at in places.items() if at.name == "policy" and at.parent.name in last
        }


def open_study(folders: Sequence[str | Path], bench: str | Path, base: str, simulator: str = "") -> Study:
    """Reads the runs and the benchmark.

    Args:
        folders: of ``therapysim train grpo``, ``sft`` and ``dpo``; ``LABEL=FOLDER`` pools it with others of that label.
        bench: a folder of ``therapysim bench`` that played the base and every run.
        base: the base's name in it.
        simulator: who worded the patients, where the benchmark had more than one.

    Raises:
        ConfigError: a run or policy is missing, runs of one mode were trained differently, or base and trained
            policies did not meet the same patients under the same seeds.
    """
    held = read_runs([bench])
    who = _simulator(held, simulator)
    played = _played(held, who)
    if base not in played:
        raise ConfigError(f"benchmark {bench} has no policy {base!r}, expected one of {', '.join(played)}")
    runs = _read_all(folders, tuple(played), bench)
    _require_alike(runs)
    chosen = {name: played[name] for name in (base, *(run.policy for run in runs))}
    _require_same_sessions(chosen, base, bench)
    source = held.sources[0]
    sound = {name: {key: r for key, r in own.items() if not r.failed} for name, own in chosen.items()}
    prompted = _prompted(source.settings, base, runs)
    notes = (*source.warnings, *prompted, *_unlike_steps(runs), *_failed(chosen), *_few(chosen[base]))
    return Study(Path(bench), base, who, runs, sound, source.settings, source.sha256, notes)


def rounded(value: float, digits: int = 6) -> float | None:
    """A number for a file, to so many significant digits; None for what JSON has no number for."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _simulator(held: Runs, asked: str) -> str:
    there = tuple(dict.fromkeys(result.simulator for result in held.results))
    if asked in there:
        return asked
    if asked or len(there) > 1:
        raise ConfigError(
            f"the benchmark's patients were worded by {', '.join(there)}, found {asked or 'no choice'!r}; name one of "
            "them by --patient"
        )
    return there[0]


def _played(held: Runs, simulator: str) -> dict[str, dict[Key, SessionResult]]:
    found: dict[str, dict[Key, SessionResult]] = {}
    for result in held.results:
        if result.simulator == simulator:
            found.setdefault(result.policy, {})[result.persona, result.seed] = result
    return found


def _read_all(folders: Sequence[str | Path], policies: Sequence[str], bench: str | Path) -> tuple[Run, ...]:
    if not folders:
        raise ConfigError("no run is given, expected at least one folder of `therapysim train grpo`, `sft` or `dpo`")
    runs = tuple(_read(folder, policies, bench) for folder in folders)
    for kind, own in (("policy", [run.policy for run in runs]), ("name", [run.name for run in runs])):
        if len(set(own)) < len(own):
            raise ConfigError(f"runs {', '.join(map(str, folders))}: two have one {kind}, {max(own, key=own.count)!r}; "
                              "name each once, and give their folders different names")  # fmt: skip
    return runs


def _read(given: str | Path, policies: Sequence[str], bench: str | Path) -> Run:
    """A run by its folder, or by that of one of its policies, such as ``best``; with a label before it, or none."""
    label, folder = _parted(given)
    place = folder.resolve()
    home = run_of(place) or place
    settings, rows = _settings(home), _metrics(home / "metrics.jsonl")
    name = place.relative_to(home.parent).as_posix()
    mode = label or settings.get("advantage") or settings["training"]
    return Run(home, name, _policy(folder, name, policies, bench), mode, settings, rows)


def _parted(given: str | Path) -> tuple[str, Path]:
    """Label and folder; a folder that has an equals sign in its name is itself."""
    label, mark, folder = str(given).partition("=")
    return (label, Path(folder)) if mark and not Path(given).exists() else ("", Path(given))


class _Kept(TypedDict):
    """What is needed of a run's settings; an older run may lack others, or have some that are no more."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    seed: int
    training: NotRequired[str]


def _settings(folder: Path) -> dict[str, Any]:
    where = f"run {folder}: settings.json is none of a training"
    held = {"training": GRPOSettings.training, **read_record(folder / "settings.json", _Kept, ConfigError, where)}
    held.pop("version", None)
    return held


def _metrics(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Rows up to the first that a crash cut in half."""
    rows = read_rows(path)
    steps = [row["step"] for row in rows]
    if not rows or steps != sorted(steps):
        raise ConfigError(f"metrics {path}: steps {steps[:5]}…, expected at least one update, in order; train again")
    return tuple(rows)


def _policy(folder: Path, name: str, policies: Sequence[str], bench: str | Path) -> str:
    """What the benchmark calls a run: its path as it was given there, or, if moved since, the end of it."""
    place, end = folder.resolve(), Path(name).parts
    found = [p for p in policies if p == str(folder) or Path(p).resolve() == place]
    found = found or [p for p in policies if Path(p).parts[-len(end) :] == end]
    if len(found) != 1:
        what = f"{len(found)} policies like it" if found else "no such policy"
        raise ConfigError(
            f"run {folder}: benchmark {bench} has {what} among {', '.join(policies)}, expected one; play it by "
            f"`therapysim bench {folder} --out {bench}`"
        )
    return found[0]


def _require_alike(runs: Sequence[Run]) -> None:
    """Runs that are pooled differ in their seed alone."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.mode, run)
        one, two = _recipe(other.settings), _recipe(run.settings)
        unlike = [name for name in {**one, **two} if name not in _OWN and one.get(name) != two.get(name)]
        if unlike:
            name = unlike[0]
            raise ConfigError(
                f"runs {other.name} and {run.name} are both {run.mode!r}, but {name} is {one.get(name)!r} "
                f"and {two.get(name)!r}, expected the same but for the seed; report them apart"
            )


def _recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run learned by: a setting that it lacks, since it is older, has its default.

    In how many passes an update's rows go through the model is a matter of memory: losses are normalised over all of
    them, so that only batch_size times accumulation counts.
    """
    fields = _KINDS.get(str(settings["training"]), GRPOSettings).model_fields
    held = {name: own.get_default(call_default_factory=True) for name, own in fields.items() if not own.is_required()}
    held |= {**settings, "model": _start(settings)}
    held["batch_size × accumulation"] = held.pop("batch_size") * held.pop("accumulation")
    return held


def _start(settings: Mapping[str, Any]) -> object:
    """What a run started from; one that went on from a run's policy has a start of its own."""
    model = settings.get("model")
    return "a run's policy" if Path(str(model)).name in ("policy", "best") else model


def _require_same_sessions(chosen: Mapping[str, Mapping[Key, SessionResult]], base: str, bench: str | Path) -> None:
    for policy, own in chosen.items():
        if apart := sorted(own.keys() ^ chosen[base].keys()):
            persona, seed = apart[0]
            who = policy if apart[0] in own else base
            raise ConfigError(
                f"benchmark {bench}: {base!r} and {policy!r} differ in {len(apart)} sessions; only {who!r} met "
                f"{persona!r} under seed {seed}; expected the same patients and seeds; go on with "
                "the same `therapysim bench`"
            )


def _prompted(settings: Mapping[str, Any], base: str, runs: Sequence[Run]) -> list[str]:
    """Where base and trained were prompted or sampled differently, a difference is not the training's alone."""
    about = settings.get("policies", {})
    own, told = dict(flat(about.get(base, {}))), []
    for run in runs:
        other = dict(flat(about.get(run.policy, {})))
        unlike = [n for n in _PROMPTED if n in own and n in other and own[n] != other[n]]
        sides = "; ".join(f"{n} {own[n]} and {other[n]}" for n in unlike)
        told += [f"{base} and {run.name} were not prompted and sampled alike: {sides}"] if unlike else []
    return told


def _unlike_steps(runs: Sequence[Run]) -> list[str]:
    steps = {run.name: run.steps for run in runs}
    told = ", ".join(f"{name} {count}" for name, count in steps.items())
    return [f"the runs made different numbers of updates: {told}"] if len(set(steps.values())) > 1 else []


def _failed(chosen: Mapping[str, Mapping[Key, SessionResult]]) -> list[str]:
    counts = {policy: sum(r.failed for r in own.values()) for policy, own in chosen.items()}
    told = [f"{n} sessions of {policy} failed and are left out" for policy, n in counts.items() if n]
    every = [r for own in chosen.values() for r in own.values()]
    return [*told, *failures(every), *(text.removesuffix(".") for text in replacements(every))]


def _few(own: Mapping[Key, SessionResult]) -> list[str]:
    people = len({persona for persona, _ in own})
    return [f"{people} patients are few: intervals are rough below {FEW}"] if people < FEW else []

"""``therapysim demo``: the whole path once. A session, a therapist that copies and then learns, and what came of it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.benchmark import paired, results_table
from therapysim.agents.bench.report.page import report_page
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import summarise
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.bench.runner import run as play_all
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.text_profile import mood_profile
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.personas.load import personas
from therapysim.personas.opening import describe_patient, open_patient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["DemoSettings", "run"]

#: Tokens of a turn at most, in training and in the comparison.
_TURN_TOKENS = 48


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo.

    Attributes:
        model: whatever ``therapysim.models.checkpoint.resolve`` accepts.
        out: the folder of its runs.
        copies: SFT updates.
        steps: GRPO updates.
        seed: of everything.
        turns: therapist turns in each of the comparison's sessions.
        people: test patients that base and trained policies meet, one session each.
    """

    model: str = "smollm2"
    out: str = "runs/demo"
    copies: int = 18
    steps: int = 3
    seed: int = 0
    turns: int = 4
    people: int = 16

    def __post_init__(self) -> None:
        for name in ("copies", "steps", "turns", "people"):
            if getattr(self, name) < 1:
                raise ConfigError(f"demo {name} is {getattr(self, name)}, expected at least 1")


def run(settings: DemoSettings) -> None:
    """Runs the demo and prints what a newcomer should see."""
    with warnings.catch_warnings():
        _quieten()
        _run(settings)


def _quieten() -> None:
    """Leaves one progress bar, the training's; a small model loads at once."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)


def _run(settings: DemoSettings) -> None:
    from therapysim.train.grpo.run import train as train_grpo
    from therapysim.train.sft.run import train as train_sft

    out = Path(fresh(settings.out))
    print("1. A session: the scripted patient with a therapist that reflects and asks\n")
    show_session(settings.seed)
    print(f"\n2. SFT: {settings.model} copies scripted therapists, {settings.copies} updates\n", flush=True)
    copied = train_sft(copying(settings, out / "sft"))
    print(f"\n3. GRPO: it goes on by its own sessions with training patients, {settings.steps} updates\n", flush=True)
    trained = train_grpo(practising(settings, str(copied.policy), out / "grpo"))
    print(f"\n4. Before and after, with {settings.people} test patients that no training met\n", flush=True)
    places = {"before": settings.model, "copied": str(copied.policy), "trained": str(trained.policy)}
    results = compare(settings, places, out / "bench")
    tell(results, out)


def fresh(folder: str) -> str:
    """The folder, or the first of folder-2, folder-3, … that is free: a demo never touches an earlier run."""
    names = (folder if i == 1 else f"{folder}-{i}" for i in count(1))
    return next(name for name in names if not Path(name).exists())


def show_session(seed: int) -> None:
    """Plays one short session and prints it with its mood profile."""
    batch = SessionBatch(SessionConfig(max_turns=6))
    (episode,) = play(batch, baseline("attuned"), [Start(seed, personas("train")[0].id)])
    print(f"{episode.session.transcript}\n\n{mood_profile(episode.session)}")


def copying(settings: DemoSettings, out: Path) -> SFTSettings:
    """An SFT small enough for two cores: two short sessions an update."""
    return SFTSettings(
        model=settings.model,
        out=str(out),
        seed=settings.seed,
        draws=12,
        max_turns=settings.turns,
        max_turn_tokens=_TURN_TOKENS,
        max_steps=settings.copies,
        batch_size=2,
        accumulation=1,
        lr=1e-3,
        validate_every=0,
        save_steps=settings.copies,
    )


def practising(settings: DemoSettings, model: str, out: Path) -> GRPOSettings:
    """A GRPO small enough for two cores: one group of four sessions an update."""
    return GRPOSettings(
        model=model,
        out=str(out),
        seed=settings.seed,
        max_steps=settings.steps,
        generations=4,
        batch_size=4,
        accumulation=1,
        max_turns=2,
        max_turn_tokens=_TURN_TOKENS,
        lr=1e-4,
        validate_every=0,
        mask_cut_turns=False,
        cut_penalty=0.5,
        save_steps=settings.steps,
    )


def compare(settings: DemoSettings, places: dict[str, str], out: Path) -> list[SessionResult]:
    """Plays each policy with the same patients under the same seed, and keeps the sessions."""
    policies = [Policy(name, partial(_speaker, place), {"kind": "model"}) for name, place in places.items()]
    scripted = Simulator(
        "scripted", lambda: open_patient("scripted", shipped_sensor().affect), describe_patient("scripted")
    )
    whom = BenchSettings(people=settings.people, seeds=1, turns=settings.turns, rubric="grpo")
    return play_all(whom, policies, [scripted], out, command="therapysim demo", sessions=True)


def _speaker(place: str) -> ChatTherapist:
    return ChatTherapist(HuggingFaceChat(place), Sampling(max_tokens=_TURN_TOKENS))


def tell(results: Sequence[SessionResult], out: Path) -> None:
    """The comparison, one session of the trained policy with the patient's mood, and a page of it all."""
    last = [result for result in results if result.policy == "trained"][-1]
    told = "\n".join(f"Therapist: {turn.therapist}\nPatient: {turn.patient}" for turn in last.turns)
    print(f"the trained policy with {last.persona}:\nPatient: {last.opening}\n{told}\n")
    print(results_table(results, ("total", "beliefs", "alliance", "polarity", "safe")))
    for name in ("copied", "trained"):
        change = paired(results, "before", name, "total")
        print(f"\n{name} - before, return, paired by patient: {change.interval} (mean, 95 % interval)")
    runs = read_runs([out / "bench"])
    page = out / "report.html"
    with whole(page) as part:
        part.write_text(report_page(runs, summarise(runs, "before")), encoding="utf-8")
    print(
        f"\nsessions, mood profiles and every term, open in a browser: {page.resolve()}\n"
        f"policies: {out / 'sft' / 'policy'}, {out / 'grpo' / 'policy'}\n"
        "SFT made most of it; so few GRPO updates show that the path works. What a GPU makes of it: docs/training.md."
    )

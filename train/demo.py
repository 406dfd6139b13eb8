"""``therapysim demo``: the whole path once. A session, its mood profile, a short training, and a comparison."""

import warnings
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from therapysim.agents.bench.benchmark import benchmark, paired, results_table
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.text_profile import mood_profile
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.personas.load import personas
from therapysim.train.grpo.grpo_settings import GRPOSettings

__all__ = ["DemoSettings", "run"]


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo.

    Attributes:
        model: whatever ``therapysim.models.checkpoint.resolve`` accepts.
        out: the training run's folder.
        steps: GRPO updates.
        seed: of everything.
        turns: therapist turns in each of the comparison's sessions.
        seeds: sessions with each held-out patient, before and after.
    """

    model: str = "smollm2"
    out: str = "runs/demo"
    steps: int = 3
    seed: int = 0
    turns: int = 3
    seeds: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "turns", "seeds"):
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
    from therapysim.train.grpo.run import train

    print("1. A session: the scripted patient with a therapist that reflects and asks\n")
    show_session(settings.seed)
    held_out = [p.id for p in personas("test")[:2]]
    print(f"\n2. {settings.model} as the therapist of {' and '.join(held_out)}, before training\n", flush=True)
    results = evaluate(settings, "before", settings.model, held_out)
    print(f"\n3. GRPO, {settings.steps} updates on the training patients\n", flush=True)
    trained = train(training(settings))
    print("\n4. The trained policy, with the same patients and seeds\n", flush=True)
    results += evaluate(settings, "after", str(trained.policy), held_out)
    print(results_table(results, ("total", "deficit", "alliance", "unsafe")))
    change = paired(results, "before", "after", "total")
    paired_over = f"{change.interval} over {change.n_sessions} sessions (mean, 95 % interval)"
    print(f"\nafter - before, reward of a session, paired: {paired_over}")
    print(f"{settings.steps} updates show that the path works, not that the policy improved: see docs/training.md.")
    print(f"\npolicy:  {trained.policy}\nmetrics: {Path(trained.out) / 'metrics.jsonl'}")


def fresh(folder: str) -> str:
    """The folder, or the first of folder-2, folder-3, … that is free: a demo never touches an earlier run."""
    names = (folder if i == 1 else f"{folder}-{i}" for i in count(1))
    return next(name for name in names if not Path(name).exists())


def show_session(seed: int) -> None:
    """Plays one short session and prints it with its mood profile."""
    batch = SessionBatch(SessionConfig(max_turns=6))
    (episode,) = play(batch, baseline("attuned"), [Start(seed, personas("train")[0].id)])
    print(f"{episode.session.transcript}\n\n{mood_profile(episode.session)}")


def evaluate(settings: DemoSettings, name: str, model: str, who: list[str]) -> list[SessionResult]:
    """Plays the policy with the held-out patients."""
    therapist = ChatTherapist(HuggingFaceChat(model), Sampling(max_tokens=32))
    seeds = range(1000, 1000 + settings.seeds)
    batch = SessionBatch(SessionConfig(max_turns=settings.turns))
    results = benchmark(batch, {name: therapist}, who, seeds)
    print(f"the last of them:\n{batch.sessions[-1].transcript}", flush=True)
    return results


def training(settings: DemoSettings) -> GRPOSettings:
    """A training small enough for two cores: one group of four sessions an update."""
    return GRPOSettings(
        model=settings.model,
        out=fresh(settings.out),
        seed=settings.seed,
        max_steps=settings.steps,
        generations=4,
        batch_size=4,
        accumulation=1,
        max_turns=2,
        max_turn_tokens=24,
        lr=5e-4,
        validate_every=0,
        mask_cut_turns=False,  # 24 tokens cut most turns, and nothing would be learned
        save_steps=settings.steps,
    )

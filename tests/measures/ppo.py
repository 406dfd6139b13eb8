"""Can a learner that knows no language learn to choose acts? PPO against random choice, on patients it never met.

    python -m tests.measures.ppo --steps 20000 --seed 0 --out ppo.json

trains Stable-Baselines3's PPO on the training patients, then plays each dev patient under eight seeds with it (taking
the likeliest act each turn), with random acts in the same words, and with a heap of words. Prints each policy's
measures, the paired differences with 95 % intervals by patient, and how often each policy chose each act;
``--transcripts N`` also N sessions. Needs stable-baselines3.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import therapysim  # noqa: F401 - registers TherapySim-v0
from therapysim.agents.bench.benchmark import benchmark, paired, results_table
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.therapists.act_choice import ACTIONS, ActChoice, ActTherapist, act_of, random_act
from therapysim.agents.therapists.baselines import Baseline, baseline
from therapysim.envs.batch import SessionBatch
from therapysim.personas.load import personas

MEASURES = ("total", "alliance", "deficit", "unsafe", "turns", "goal", "crisis", "rupture")
ENVIRONMENTS, GAMMA, SEEDS = 8, 0.98, range(8)


def train(steps: int, seed: int) -> PPO:
    """PPO after that many turns with training patients. Rewards are scaled by their running spread, views are not."""
    makers = [lambda: ActChoice(gym.make("TherapySim-v0", split="train"))] * ENVIRONMENTS
    environments = VecNormalize(DummyVecEnv(makers), norm_obs=False, gamma=GAMMA)
    # Each environment takes the next number for its own seed: two runs must not share any.
    model = PPO(
        "MlpPolicy", environments, seed=1_000 * seed, device="cpu", n_steps=128, batch_size=256, n_epochs=10,
        gamma=GAMMA, learning_rate=1e-3, ent_coef=0.01, policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    return model.learn(steps)


def evaluate(model: PPO) -> list[SessionResult]:
    """Every dev patient under every seed, by the model, by random acts, and by random words."""
    policies = {
        "ppo": ActTherapist(lambda views: model.predict(views, deterministic=True)[0]),
        "random_acts": Baseline("random_acts", random_act),
        "random": baseline("random"),
    }
    return benchmark(SessionBatch(), policies, [p.id for p in personas("dev")], SEEDS)


def frequencies(results: Sequence[SessionResult], policy: str) -> dict[str, float]:
    """How often a policy chose each act, as a share of its turns."""
    counts = Counter(act_of(turn.therapist) for r in results if r.policy == policy for turn in r.turns)
    return {act: round(counts[act] / counts.total(), 3) for act in ACTIONS}


def report(results: Sequence[SessionResult], transcripts: int) -> dict[str, Any]:
    """Prints what was found, and gives it as plain values."""
    print(results_table(results, MEASURES))
    told: dict[str, Any] = {"difference": {}, "frequency": {}}
    for other in ("random_acts", "random"):
        for measure in ("total", "alliance", "unsafe"):
            found = paired(results, other, "ppo", measure)
            print(f"ppo - {other}, {measure}: {found.interval}")
            told["difference"][f"{other} {measure}"] = [found.interval.mean, found.interval.low, found.interval.high]
    for policy in ("ppo", "random_acts"):
        told["frequency"][policy] = frequencies(results, policy)
        print(f"{policy}: " + ", ".join(f"{act} {share:.1%}" for act, share in told["frequency"][policy].items()))
    for r in [r for r in results if r.policy == "ppo"][:: len(SEEDS)][:transcripts]:
        print(f"\n--- {r.persona}, seed {r.seed}, return {r['total']:.1f}, ending {r.ending!r}\nPatient: {r.opening}")
        print("\n".join(f"Therapist: [{act_of(t.therapist)}] {t.therapist}\nPatient: {t.patient}" for t in r.turns))
    return told


def main() -> None:
    """Trains, plays, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="turns of training")
    parser.add_argument("--seed", type=int, default=0, help="of the learner and its patients")
    parser.add_argument("--transcripts", type=int, default=0, help="sessions to print")
    parser.add_argument("--out", type=Path, help="JSON file for what was found")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    model = train(given.steps, given.seed)
    seconds = time.perf_counter() - begun
    print(f"{model.num_timesteps} turns in {seconds:.0f} s")
    told = report(evaluate(model), given.transcripts)
    if given.out:
        told |= {"steps": model.num_timesteps, "seed": given.seed, "train_seconds": round(seconds)}
        given.out.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

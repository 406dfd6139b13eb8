"""Sessions at their own pace against sessions in step, beside the same slow patients; nothing here passes or fails.

    python -m tests.measures.pace [--sessions 24] [--turns 8] [--median 0.1] [--sigma 0.8] [--seed 0]

Every patient takes a log-normal time to answer, which its cue's seed decides: the same in all ways. An engine in
vLLM's place says a fixed turn after so many steps of so many seconds. Three ways, after a first play in which the
sensor reads every text once; and how long the waits alone would be:

    one after another   all sessions speak, then one patient answers after the other
    in step             all sessions speak, then all patients are asked at once, and the slowest is waited for
    apart               each session goes on as soon as its own patient has answered
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from tests.parts.tiny import make_tiny
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.grpo.sampler import Said

#: Steps that a turn takes, and seconds that a step does.
STEPS, STEP_S = 16, 0.001


class Slow:
    """Says one line, each time after a wait that the cue's seed decides."""

    at_once = 64

    def __init__(self, median_s: float, sigma: float) -> None:
        self.median_s, self.sigma = median_s, sigma
        self.waits: defaultdict[str, list[float]] = defaultdict(list)

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue."""
        for cue in cues:
            wait_s = self.median_s * np.random.default_rng(cue.seed).lognormal(0.0, self.sigma)
            self.waits[cue.persona.id].append(wait_s)
            time.sleep(wait_s)
        return [Line("I do not know what to say.") for _ in cues]


class Steady:
    """An engine that says the same after so many steps, however many turns are under way; and TRL's way to sample."""

    use_vllm = False
    accelerator = SimpleNamespace(process_index=0, num_processes=1)

    def __init__(self, tokenizer: Any) -> None:
        self.eos_token_ids = self.ends = [tokenizer.eos_token_id]
        self.words = tokenizer("What is that like for you?")["input_ids"] + self.ends
        self.under_way: dict[str, int] = {}
        self.asked = 0

    def sync_engine(self) -> None:
        """It has no weights."""

    def ask(self, prompt: list[int]) -> str:
        """Puts a turn under way."""
        self.asked += 1
        self.under_way[str(self.asked)] = STEPS
        return str(self.asked)

    def take(self) -> list[Said]:
        """Goes one step on."""
        time.sleep(STEP_S)
        self.under_way = {name: left - 1 for name, left in self.under_way.items()}
        done = [name for name, left in self.under_way.items() if not left]
        self.under_way = {name: left for name, left in self.under_way.items() if left}
        return [Said(name, self.words, [-1.0] * len(self.words)) for name in done]

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        time.sleep(STEPS * STEP_S)
        return [self.words for _ in prompts], None


def waits_alone(waits: Sequence[Sequence[float]]) -> dict[str, float]:
    """What the waits of each session come to in each way, in seconds."""
    turns = zip_longest(*waits, fillvalue=0.0)
    each = [sum(own) for own in waits]
    return {"one after another": sum(each), "in step": sum(map(max, turns)), "apart": max(each)}


def seconds(rollout: Rollout, engine: Steady, starts: list[Start], *, apart: bool) -> float:
    """How long one play takes."""
    rollout.engine = engine if apart else None  # type: ignore[assignment]
    began = time.perf_counter()
    rollout.play(engine, starts)
    return time.perf_counter() - began


def main() -> None:
    """Plays the sessions in each way, and prints how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--median", type=float, default=0.1)
    parser.add_argument("--sigma", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    ids = [persona.id for persona in personas("train")]
    if chosen.sessions > len(ids):
        parser.error(f"--sessions is {chosen.sessions}, expected at most {len(ids)}, a patient each")
    starts = [Start(chosen.seed + k, ids[k]) for k in range(chosen.sessions)]
    patient = Slow(0.0, chosen.sigma)
    settings = GRPOSettings(max_turns=chosen.turns, max_completion_tokens=4096)
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    engine, batch = Steady(tokenizer), SessionBatch(SessionConfig(max_turns=chosen.turns), patient=patient)
    ways = {
        "one after another": (settings.changed(patients_at_once=1), False),
        "in step": (settings, False),
        "apart": (settings, True),
    }
    rollouts = {way: (Rollout(changed, batch, tokenizer), apart) for way, (changed, apart) in ways.items()}
    seconds(rollouts["apart"][0], engine, starts, apart=True)  # warms up, without any wait
    patient.median_s = chosen.median
    took = {}
    for way, (rollout, apart) in rollouts.items():
        patient.waits.clear()
        took[way] = seconds(rollout, engine, starts, apart=apart)
    alone = waits_alone(list(patient.waits.values()))
    for way, value in took.items():
        print(
            f"{way:18} {value:6.2f} s {value / took['apart']:6.2f} x"
            f"   waits alone {alone[way]:6.2f} s {alone[way] / alone['apart']:6.2f} x"
        )


if __name__ == "__main__":
    main()

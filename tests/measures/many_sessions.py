"""What an update of thousands of sessions takes beside model and patients; nothing here passes or fails.

    python -m tests.measures.many_sessions [--sessions 512 2048 8192 10000] [--turns 4]

Each size is one GRPO update in a process of its own: the model's passes are left out, an engine in the place of vLLM
says turns at once, and patients answer at once with one of a few lines. What is left is what grows with the number of
sessions and not with the model: coroutines, the environment, rows of tokens, what is gathered and logged, padding.
Printed for each size: seconds of the play and of all else; the most memory; what a session takes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LINES = (
    "It sounds as if this week has been heavy, and you have carried most of it alone.",
    "What goes through your mind in the moment before it starts?",
    "You have kept going although nobody noticed what it cost you.",
    "When was the last time that it was a little easier?",
    "Part of you wants to rest, and part of you is afraid of what would happen then.",
    "What would you say to a friend who thought the same about herself?",
    "You have told me how tired you are of being the strong one.",
    "How would you notice that things are getting better?",
)
ANSWERS = ("I do not know what to say.", "It is mostly at night.", "My sister said that too.", "Perhaps you are right.")
_BATCH = 16


class Patient:
    """Answers at once."""

    def speak(self, cues: Sequence[Any]) -> list[Any]:
        """One line a cue."""
        from therapysim.personas.patient import Line

        return [Line(ANSWERS[len(cue.transcript) // 2 % len(ANSWERS)]) for cue in cues]


class Ready:
    """An engine that says each turn at once, another one in each turn of a session."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self.ends = list(ends)
        self.said = [tokenizer(line, add_special_tokens=False)["input_ids"] + self.ends[:1] for line in LINES]
        self.waiting: list[tuple[str, int]] = []
        self.asked = self.most = 0

    def sync_weights(self) -> None:
        """It has none."""

    def ask(self, prompt: list[int]) -> str:
        """Puts a turn under way."""
        self.asked += 1
        self.waiting.append((str(self.asked), sum(prompt) % len(LINES)))
        self.most = max(self.most, len(self.waiting))
        return str(self.asked)

    def take(self) -> list[Any]:
        """All turns that wait."""
        from therapysim.train.grpo.sampler import Said

        done, self.waiting = self.waiting, []
        return [Said(name, self.said[k], [-1.0] * len(self.said[k])) for name, k in done]


def measure(sessions: int, turns: int) -> dict[str, float]:
    """One update of so many sessions, in this process."""
    from tests.parts.tiny import make_tiny
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.train.grpo import run
    from therapysim.train.grpo.grpo_settings import GRPOSettings
    from therapysim.train.grpo.trainer import SessionGRPOTrainer
    from therapysim.train.runs import model

    opened: list[Ready] = []

    def open_engine(settings: GRPOSettings, trainer: Any) -> Any:
        opened.append(Ready(trainer.processing_class, trainer.eos_token_ids))
        return opened[-1]

    SessionGRPOTrainer._get_per_token_logps_and_entropies = _no_pass
    run._open_engine = open_engine
    model._check_packages = lambda settings: None
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder) / "model")
        settings = GRPOSettings(
            model=str(Path(folder) / "model"), out=str(Path(folder) / "run"), vllm="colocate", max_steps=1,
            generations=8, groups=sessions // 8, batch_size=_BATCH, accumulation=sessions // _BATCH, max_turns=turns,
            max_turn_tokens=64, max_prompt_tokens=512, max_completion_tokens=1536, save_steps=1, validate_every=0,
            transcripts_every=0, patients_at_once=1, show_state=False,
        )  # fmt: skip
        run.train(settings, SessionBatch(SessionConfig(max_turns=turns), patient=Patient(), rubric="grpo"))
        row = json.loads((Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    play = row["seconds/generation"] + row["seconds/environment"]
    return {
        "sessions": sessions,
        "turns": row["session/turns"],
        "tokens": row["completions/mean_length"],
        "under_way": opened[0].most,
        "play_s": play,
        "rest_s": row["step_time"] - play,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _no_pass(self: Any, model: Any, ids: Any, mask: Any, keep: int, *_: Any, **__: Any) -> tuple[Any, Any, None]:
    """In the place of a pass through the model: every token as likely as under the engine."""
    import torch

    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]  # none of a reference
    logps = torch.full((len(ids), keep), -1.0) + sum(0.0 * parameter.sum() for parameter in learns)
    self._token_logps = logps.detach()
    return logps, torch.zeros_like(self._token_logps), None


def main() -> None:
    """Each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[512, 2048, 8192, 10000])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--here", action="store_true", help="in this process, and tell it in JSON")
    chosen = parser.parse_args()
    if wrong := [n for n in chosen.sessions if n % _BATCH]:
        parser.error(f"--sessions is {wrong[0]}, expected multiples of {_BATCH}")
    if chosen.here:
        print(json.dumps(measure(chosen.sessions[0], chosen.turns)))
        return
    for sessions in chosen.sessions:
        command = [sys.executable, "-m", "tests.measures.many_sessions", "--here", "--sessions", str(sessions)]
        done = subprocess.run([*command, "--turns", str(chosen.turns)], capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{sessions:6} sessions: exit status {done.returncode}: {why}")
            continue
        own = json.loads(done.stdout.strip().splitlines()[-1])
        play_s, rest_s = own["play_s"], own["rest_s"]
        print(
            f"{sessions:6} sessions of {own['turns']:.1f} turns: play {play_s:6.1f} s, all else {rest_s:6.1f} s, "
            f"{own['gib']:5.1f} GiB; a session takes {1000 * play_s / sessions:.1f} and "
            f"{1000 * rest_s / sessions:.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Speed and memory of GRPO's ways of sampling, measured side by side on one GPU; nothing here passes or fails.

python -m tests.measures.grpo_speed steps --out FOLDER [--only vllm qlora] [--model smollm2] [--steps 6]
python -m tests.measures.grpo_speed rollout --out FOLDER [--model smollm2]

``steps`` trains with each way in a process of its own, on the same groups, and tells how long an update takes, what
share of it goes where, and how much memory the GPU held at most. ``rollout`` plays one generation of sessions with the
engine, and then lets vLLM generate the very same tokens without any patient, as many turns at once.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

# What each way changes in the work below.
WAYS: dict[str, dict[str, Any]] = {
    "hf": {},
    "vllm": {"vllm": "colocate"},
    "qlora": {"vllm": "colocate", "quantize_4bit": True},
    "unsloth": {"vllm": "colocate", "unsloth": True},
    "unsloth-4bit": {"vllm": "colocate", "unsloth": True, "quantize_4bit": True},
    # Without an engine beside them, for what training alone holds.
    "hf-4bit": {"quantize_4bit": True},
    "unsloth-hf": {"unsloth": True},
}
WORK: dict[str, Any] = {
    "groups": 8, "generations": 8, "batch_size": 16, "accumulation": 4, "max_turns": 6, "max_turn_tokens": 64,
    "max_completion_tokens": 1536, "lr": 1e-5, "beta": 0.01, "validate_every": 0, "transcripts_every": 0,
    "vllm_gpu_memory": 0.15, "mask_cut_turns": False,
}  # fmt: skip


def main() -> None:
    """Runs one of the two, and prints and writes what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "rollout"))
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--patients", choices=("processes", "thread"), default="processes")
    parser.add_argument("--name", help="of the file that is written, default what is measured")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    found = measure_steps(chosen) if chosen.what == "steps" else measure_rollout(chosen)
    print(json.dumps(found, indent=1))
    (chosen.out / f"{chosen.name or chosen.what}.json").write_text(json.dumps(found, indent=1) + "\n")


def measure_steps(chosen: argparse.Namespace) -> dict[str, Any]:
    """Updates of each way, the first two left out (the first alone where there are only two): they warm up."""
    return {way: measure_way(way, chosen) for way in chosen.only}


def measure_way(way: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Trains in a process of its own; what went wrong is kept as its last words."""
    out, began = chosen.out / f"run-{way}", time.perf_counter()
    work = {**WORK, **WAYS[way], "model": chosen.model, "out": str(out), "max_steps": chosen.steps,
            "save_steps": chosen.steps, "vllm_compile": chosen.compile}  # fmt: skip
    file = chosen.out / f"{way}.json"
    file.write_text(json.dumps(work))
    command = [sys.executable, "-m", "therapysim.cli.main", "train", "grpo", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    (chosen.out / f"{way}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        return {"failed": (done.stdout + done.stderr).splitlines()[-12:]}
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return tell(rows[min(2, len(rows) - 1) :]) | {"seconds_in_all": time.perf_counter() - began}


def tell(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over updates, and what share of an update each part takes."""
    parts = {
        name: float(np.median([row[name] for row in rows]))
        for name in rows[0]
        if name.startswith(("seconds/", "tokens/"))
    }
    step = float(np.median([row["step_time"] for row in rows]))
    played = parts["seconds/generation"] + parts["seconds/environment"]
    return {
        "updates": len(rows),
        "step_seconds": step,
        "generation_share": parts["seconds/generation"] / step,
        "waiting_for_patients_share": parts["seconds/environment"] / step,
        "patients_busy_share": parts["seconds/environment_busy"] / step,
        "sampled_tokens": parts["tokens/sampled"],
        "sampled_tokens_per_second": parts["tokens/sampled"] / played,
        "peak_gib": max(row.get("memory/peak_gib", float("nan")) for row in rows),
        **{
            name.removeprefix("sampling/"): float(np.median([row[name] for row in rows]))
            for name in rows[0]
            if name.startswith("sampling/")
        },
        "ratio_mean": float(np.median([row["ratio/mean"] for row in rows])),
    }


def measure_rollout(chosen: argparse.Namespace) -> dict[str, Any]:
    """Sessions with patients, then the same tokens without, as many turns under way at once."""
    from therapysim.envs.batch import Start
    from therapysim.personas.load import personas
    from therapysim.train.grpo.grpo_settings import GRPOSettings
    from therapysim.train.grpo.rollout import Rollout
    from therapysim.train.grpo.run import open_patients, open_processes
    from therapysim.train.grpo.sampler import Engine
    from therapysim.train.runs.model import load_policy, lora_config, set_ends

    settings = GRPOSettings(**WORK | {"vllm": "colocate", "model": chosen.model, "vllm_compile": chosen.compile})
    model, tokenizer = load_policy(settings)
    model = _adapted(model.cuda(), lora_config(model, settings))
    rollout = Rollout(settings, open_patients(settings), tokenizer)
    rollout.engine = engine = Engine(model, settings, set_ends(model, tokenizer, settings), chosen.sessions)
    if chosen.patients == "processes":
        rollout.patients = open_processes(settings, rollout.batch)
    ids = [p.id for p in personas("train")]
    runs: list[dict[str, float]] = []
    for repeat in range(4):
        starts = [Start(100 * repeat + i // 8, ids[i // 8 % len(ids)]) for i in range(chosen.sessions)]
        rollout.count_anew()
        began = time.perf_counter()
        episodes = rollout.play(_Alone(engine), starts)
        played = time.perf_counter() - began
        engine.sync_weights()  # empties the prefix cache
        tokens, pure, lengths = _generate_again(engine, settings, episodes)
        spent = {f"seconds_{name}": value for name, value in rollout.seconds.items()}
        runs.append({"tokens": tokens, "turns": len(lengths), "rollout_seconds": played, "pure_seconds": pure, **spent})
    rollout.close()
    kept = runs[1:]  # the first warms up
    rates = {
        f"{name}_tokens_per_second": float(np.median([row["tokens"] / row[f"{name}_seconds"] for row in kept]))
        for name in ("rollout", "pure")
    }
    ratio = float(np.median([row["pure_seconds"] / row["rollout_seconds"] for row in kept]))
    work = {"sessions": chosen.sessions, "patients": chosen.patients, "compile": chosen.compile}
    return {**work, "ratio": ratio, **rates, "runs": runs}


class _Alone:
    """What ``Rollout.play`` asks of a trainer."""

    accelerator = type("One", (), {"process_index": 0, "num_processes": 1})

    def __init__(self, engine: Any) -> None:
        self.sync_engine = engine.sync_weights


def _adapted(model: Any, config: Any) -> Any:
    from peft import get_peft_model

    return get_peft_model(model, config)


def _generate_again(engine: Any, settings: Any, episodes: list[Any]) -> tuple[int, float, list[int]]:
    """Every turn that was played, from the same tokens and of the same length, all handed to vLLM at once."""
    prompts, lengths = [], []
    for turn in range(settings.max_turns):
        for episode in episodes:
            places = [i for i, t in enumerate(episode.turn_ids) if t == turn]
            if places:
                prompts.append({"prompt_token_ids": episode.prompt_ids + episode.completion_ids[: places[0]]})
                lengths.append(len(places))
    fixed: dict[str, Any] = {"ignore_eos": True, "temperature": 1.0, "logprobs": 0, "detokenize": False}
    drawn = [engine._vllm.SamplingParams(max_tokens=n, min_tokens=n, **fixed) for n in lengths]
    began = time.perf_counter()
    engine._llm.generate(prompts, drawn, use_tqdm=False)
    return sum(lengths), time.perf_counter() - began, lengths


if __name__ == "__main__":
    main()

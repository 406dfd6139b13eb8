"""What each process of a run plays and learns; ``test_processes.py`` starts it through accelerate, and by itself."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.measures.grpo_recording import Recording, Speech, record, spell
from therapysim.cli.main import main as cli
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train

# Three groups of four: two processes play six sessions each, and the second group sits on both.
SHAPE = {
    "generations": 4, "groups": 3, "batch_size": 3, "max_turns": 2, "max_turn_tokens": 8, "lr": 1e-2, "save_steps": 2,
    "validate_every": 0, "transcripts_every": 0, "advantage": "turn", "mask_cut_turns": False, "threads": 1,
}  # fmt: skip
SESSIONS = 12


def observe(model: str, out: Path, speech: Speech | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Trains, and tells of every session in the order played: patient, seed, turns' rewards and their advantages."""
    with pytest.MonkeyPatch.context() as patch:
        seen = record(patch, speech)
        play(settings_of(model, out, **changes))
    return _told(seen)


def play(settings: GRPOSettings) -> None:
    """Trains with the patients that a run has by itself; what one run has read of them, the next knows."""
    train(settings, SessionBatch(SessionConfig(max_turns=settings.max_turns), rubric=settings.rubric))


def settings_of(model: str, out: Path, **changes: Any) -> GRPOSettings:
    """As many sessions an update on two processes as on one."""
    shape = {**SHAPE, "accumulation": 4 // _place()[1], **changes}
    return GRPOSettings(model=model, out=str(out), **shape)


def _told(seen: Recording) -> list[dict[str, Any]]:
    credit = {id(episode): call.inputs["advantages"][k].tolist() for episode, call, k in seen.rows()}
    return [
        {
            "start": [start.persona, start.seed],
            "rewards": episode.turn_rewards,
            "shared": [episode.shared, *(episode.session.transcript.said_by("therapist") if episode.session else ())],
            "advantages": [credit[id(episode)][episode.turn_ids.index(turn)] for turn in range(episode.shared, 2)]
            if id(episode) in credit  # else its group was drawn anew
            else None,
        }
        for start, episode in zip(seen.starts, seen.episodes, strict=True)
    ]


def scripted(model: str) -> Speech:
    """Words by turn and place in the whole generation, whichever process plays it."""
    tokenizer, rank, processes = AutoTokenizer.from_pretrained(model), *_place()
    # The first is hostile: a process whose sessions are not must know of it in its metrics.
    said = [
        "Shut up",
        *(f"{word} on" for word in "how when where who what which whose whom whence why whither".split()),
    ]
    return lambda turn, k: spell(tokenizer, said[rank * SESSIONS // processes + k])[-8:]


def _place() -> tuple[int, int]:
    """Which process this is, and of how many; as its starter says, since accelerate's state begins with the run."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def refusal(model: str, out: Path, **changes: Any) -> str:
    """What a run that cannot be is refused with; empty if it was not."""
    try:
        play(settings_of(model, out, **changes))
    except ConfigError as error:
        return str(error)
    return ""


def command_line(model: str, out: Path) -> list[str]:
    """A short training by the command line."""
    return [
        "train", "grpo", "--model", model, "--out", str(out), "--max-steps", "2", "--generations", "4",
        "--accumulation", "2", "--max-turns", "2", "--max-turn-tokens", "6", "--save-steps", "2",
        "--validate-every", "2", "--validate-sessions", "3", "--transcripts-every", "0", "--threads", "1",
        "--no-mask-cut-turns",
    ]  # fmt: skip


def main(model: str, folder: str) -> None:
    """Every run of the test, and what this process saw of it."""
    out = Path(folder)
    seen: dict[str, Any] = {"command": cli(command_line(model, out / "command"))}
    seen["whole"] = observe(model, out / "whole", max_steps=3)
    observe(model, out / "parts", max_steps=2)
    seen["rest"] = observe(model, out / "parts", max_steps=3, resume=True)
    seen["redrawn"] = observe(model, out / "redrawn", max_steps=1, redraw_groups=4, redraw_spread=1e9)
    seen["parted"] = observe(model, out / "parted", max_steps=2, shared_turns=1)
    seen["scripted"] = observe(model, out / "scripted", scripted(model), max_steps=2)
    seen["straddles"] = refusal(model, out / "other", max_steps=2, groups=1, generations=6, batch_size=1, save_steps=3)
    seen["taken"] = refusal(model, out / "whole", max_steps=3)
    (out / f"seen-{_place()[0]}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])

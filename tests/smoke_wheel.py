"""Runs against an installed wheel, away from the checkout: the base install alone must play a session."""

import importlib.util
import sys
from pathlib import Path

import gymnasium as gym

import therapysim

SHIPPED = (
    "rewards/reading/weights/emotions.onnx",
    "rewards/reading/weights/MODEL_CARD.md",
    "rewards/reading/weights/order.npz",
    "agents/therapists/doctor.yaml",
    "agents/bench/report/templates/page.html",
    "personas/lines.yaml",
    "py.typed",
)


def main() -> None:
    """Plays one session and checks that what ran is the installed package without the extras."""
    where = Path(therapysim.__file__).parent
    if "site-packages" not in where.parts:
        raise SystemExit(f"therapysim was imported from {where}, expected the installed wheel")
    if importlib.util.find_spec("torch"):
        raise SystemExit("torch is installed beside the base wheel: the base must not need it")
    for file in SHIPPED:
        if not (where / file).is_file():
            raise SystemExit(f"the wheel lacks {file}")
    env = gym.make("therapysim:TherapySim-v0", render_mode="ansi", max_turns=3)
    env.reset(seed=0)
    for _ in range(3):
        *_, truncated, info = env.step("That sounds hard. What is it like for you?")
    print(env.render())
    if not truncated or not info["terms"]:
        raise SystemExit("the session did not run to its limit")
    for split in ("train", "dev", "test"):
        env.unwrapped.reset(seed=0, options={"split": split})
    print(f"wheel ok: therapysim {therapysim.__version__} on Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()

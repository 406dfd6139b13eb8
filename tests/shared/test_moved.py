"""Who imports by the first layout is told where things are now."""

import importlib
import subprocess
import sys

import pytest

import therapysim
from therapysim.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_place_names_the_new_one(old: str) -> None:
    with pytest.raises(ImportError, match=f"^{old} has moved; import it from {MOVED[old]}$"):
        importlib.import_module(old)


@pytest.mark.parametrize("new", sorted(set(MOVED.values())))
def test_a_new_place_is_there(new: str) -> None:
    assert importlib.util.find_spec(new) is not None


def test_old_names_say_what_they_are_called_now() -> None:
    with pytest.raises(ImportError, match=r"^therapysim.agents.table is now therapysim.agents.results_table$"):
        from therapysim.agents import table  # noqa: F401
    with pytest.raises(ImportError, match=r"^therapysim.agents.Result is now therapysim.agents.SessionResult$"):
        from therapysim.agents import Result  # noqa: F401
    with pytest.raises(ImportError, match=r"^therapysim.train.grpo.train is now therapysim.train.train_grpo$"):
        from therapysim.train.grpo import train  # noqa: F401
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(therapysim.agents, "nothing")  # noqa: B009


def test_what_never_was_is_python_s_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named .therapysim\.nothing"):
        importlib.import_module("therapysim.nothing")


def test_every_public_name_is_there_and_its_import_is_light() -> None:
    rooms = "agents, envs, models, personas, rewards"
    code = (
        f"import sys; from therapysim import {rooms}, train\n"
        f"for room in ({rooms}): [getattr(room, name) for name in room.__all__]\n"
        "train.GRPOSettings, train.presets\n"
        "print([m for m in ('torch', 'transformers', 'aiohttp', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_trainer_s_public_names_are_there() -> None:
    pytest.importorskip("trl")
    from therapysim import train

    assert all(getattr(train, name) for name in train.__all__)

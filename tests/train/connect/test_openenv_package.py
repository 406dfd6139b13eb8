"""What OpenEnv's tools and Docker are told of the server is so; needs ``openenv``."""

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("openenv", reason="OpenEnv has an environment of its own: docs/connections.md")

from openenv.validation.parsers.openenv_yaml import OpenEnvYamlParser

import therapysim
from therapysim.cli.main import main
from therapysim.rewards.rubric_settings import RubricSettings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "train" / "connect" / "serve"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")


def test_openenvs_parser_takes_the_manifest() -> None:
    manifest = OpenEnvYamlParser().parse(FOLDER)
    assert (manifest.name, manifest.version) == ("therapysim", therapysim.__version__)
    raw = yaml.safe_load((FOLDER / "openenv.yaml").read_text(encoding="utf-8"))
    module, name = raw["app"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_no_turn_earns_beyond_the_range_it_declares() -> None:
    table = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
    ranges = dict(re.findall(r"^\| `(\w+)` \| `\w+\.py` \| ([^|]+) \|", table, re.MULTILINE))
    low, high = 0.0, 0.0
    for term, weight in RubricSettings.preset("grpo").weights.items():
        if weight:
            bounds = [float(number) for number in re.findall(r"-?\d+\.?\d*", ranges[term])]
            # Unbounded: facts told are a few, and turns lost no more than a session has.
            low += weight * min(*bounds, -20.0 if "less" in ranges[term] else 0.0)
            high += weight * max(*bounds, 20.0 if "more" in ranges[term] else 0.0)
    declared = OpenEnvYamlParser().parse(FOLDER).reward.range
    assert declared[0] <= low < 0 < high <= declared[1]


def test_the_image_starts_what_the_command_knows(capsys: pytest.CaptureFixture[str]) -> None:
    command = json.loads(re.findall(r"^ENTRYPOINT (\[.+\])$", DOCKERFILE, re.MULTILINE)[0])
    assert command[0] == "therapysim"
    with pytest.raises(SystemExit) as end:
        main([*command[1:], "--help"])
    assert end.value.code == 0 and "--idle" in capsys.readouterr().out
    port = yaml.safe_load((FOLDER / "openenv.yaml").read_text(encoding="utf-8"))["port"]
    assert command[command.index("--port") + 1] == str(port) and f"EXPOSE {port}\n" in DOCKERFILE

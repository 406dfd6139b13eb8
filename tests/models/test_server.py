"""A secret in a server's name: refused before a byte is written or printed, wherever one can be given."""

from pathlib import Path

import gymnasium as gym
import pytest

import therapysim  # noqa: F401 - registers the environment
from tests.parts.bench_parts import SMALL, play_small, scripted
from therapysim.agents.bench.bench_settings import Simulator
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.runner import run
from therapysim.agents.therapists.policies import Policy, find_policy, kind_of
from therapysim.cli.main import main
from therapysim.errors import ConfigError
from therapysim.models.replay import RecordedChat
from therapysim.personas.opening import describe_patient, open_patient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings

KEY = "tell-nobody-0123456789"

#: Names of a server that hold a secret, each in another way.
SECRETS = [
    f"http://me:{KEY}@host:8000/v1#m",
    f"https://{KEY}@host/v1#m",
    f"HTTPS://me:{KEY}@host/v1#m",
    f" http://me:{KEY}@host/v1#m",
    f"http:/me:{KEY}@host/v1#m",
    f"http:///me:{KEY}@host/v1#m",
    f"me:{KEY}@host:8000/v1#m",
    f"http://me%3A{KEY}%40host/v1#m",
    f"http://me%253A{KEY}%2540host/v1#m",
    f"http%3A%2F%2Fme:{KEY}@host/v1#m",
    f"http://host/v1?api_key={KEY}#m",
    f"http://host/v1?API-KEY={KEY}#m",
    f"http://host/v1?a=b&key={KEY}#m",
    f"http://host/v1?token={KEY}#m",
    f"http://host/v1?access_token={KEY}#m",
    f"http://host/v1?X-Amz-Signature={KEY}#m",
    f"http://host/v1?%61pi%5Fkey%3D{KEY}#m",
    f"http://host/v1%3Fapi_key={KEY}#m",
    f"http://host/v1#m&api_key={KEY}",
    f"http://host/v1#api_key={KEY}",
    f"http://host/v1#m?Access_Token={KEY}",
    f"http://host/v1;password={KEY}#m",
    f"host:8000/v1?api_key={KEY}#m",
]
#: Refused, and not shown, since a password may be what makes them no URL.
MALFORMED = [
    f"http://me:{KEY}/w@host/v1#m",
    f"http://me:two {KEY}@host/v1#m",
    f"http://me:{KEY}\n@host/v1#m",
    f"http://host:{KEY}/v1#m",
    f"http://host/v1?version={KEY}#m",
    f"http://host/v1/@{KEY}#m",
]
#: Names as they should be.
SOUND = ["http://localhost:8000/v1#my-model", "https://host/v1/#org/model@2025", "HTTP://[::1]:8000/v1#@cf/meta/llama"]


def unseen(error: BaseException) -> bool:
    return KEY not in str(error) and KEY.replace("-", "") not in str(error).replace("-", "")


@pytest.mark.parametrize("name", [*SECRETS, *MALFORMED])
def test_a_secret_in_a_policys_or_patients_name_is_refused_unseen(name: str) -> None:
    feel = shipped_sensor().affect
    for read in (kind_of, find_policy, describe_patient, lambda text: open_patient(text, feel)):
        with pytest.raises(ConfigError) as caught:
            read(name)
        assert unseen(caught.value)


@pytest.mark.parametrize("name", SOUND)
def test_a_servers_sound_name_is_taken(name: str) -> None:
    assert kind_of(name) == "server" and describe_patient(name)["kind"] == "server"
    assert GRPOSettings(patient=name).patient == name


@pytest.mark.parametrize("name", ["runs/a@b", "org/model", "mine.own:act", "runs/a?b", "runs/100%"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert kind_of(name) in ("model", "function")


@pytest.mark.parametrize("name", [SECRETS[0], SECRETS[10], SECRETS[18], MALFORMED[0]])
def test_the_environment_refuses_it_unseen(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gym.make("TherapySim-v0", patient=name)
    assert unseen(caught.value)


@pytest.mark.parametrize("name", [*SECRETS, *MALFORMED])
def test_a_trainings_settings_refuse_it_unseen(name: str, tmp_path: Path) -> None:
    for setting in ("patient", "vllm_server_url"):
        with pytest.raises(ConfigError) as caught:
            GRPOSettings(**{setting: name})
        assert unseen(caught.value)
    file = tmp_path / "settings.yaml"
    file.write_text(f"patient: {name!r}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert unseen(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["bench", "{url}", "--out", "{out}"],
        ["bench", "neutral", "--patient", "{url}", "--out", "{out}"],
        ["bench", "neutral", "--patient={url}", "--out", "{out}"],
        ["bench", "neutral", "--out", "{out}", "--seeds", "{url}"],
        ["bench", "neutral", "--dry-run", "--no-such-option", "{url}"],
        ["train", "grpo", "--out", "{out}", "--patient", "{url}"],
        ["train", "grpo", "--out", "{out}", "--vllm", "server", "--vllm-server-url", "{url}"],
        ["train", "grpo", "--out", "{out}", "--model", "{url}", "--print"],
        ["train", "patient-lines", "--out", "{out}/lines.jsonl", "--model", "{url}"],
        ["chat", "--policy", "{url}", "--save", "{out}/talk.json"],
        ["chat", "--patient-model", "{url}", "--save", "{out}/talk.json"],
        ["portrayal", "scripted", "{url}", "--cues", "4", "--out", "{out}/portrayal.json"],
        ["agreement", "scripted", "{url}", "--out", "{out}/agreement.json"],
        ["attack", "--patient", "{url}", "--out", "{out}/attack.json"],
        ["audit", "--patient", "{url}", "--out", "{out}/audit.json"],
        ["export", "{url}", "--out", "{out}"],
        ["demo", "--model", "{url}", "--out", "{out}"],
        ["bench", "neutral", "--out", "{out}", "--api-key-env", KEY],
        ["bench", "neutral", "--out", "{out}", "--patient-key-env", "hf_aBcDeFgHiJkLmNo0123456789"],
    ],
)
def test_no_command_prints_or_writes_it(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for url in (SECRETS[0], SECRETS[13], SECRETS[16]):
        assert main([part.format(url=url, out=out) for part in command]) == 2
        shown = "".join(capfd.readouterr())
        assert "not shown here" in shown and KEY not in shown and "hf_a" not in shown
        assert not out.exists()


def test_names_of_ones_own_and_the_command_are_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the policy's name holds") as caught:
        Policy(SECRETS[0], lambda: None)  # type: ignore[arg-type, return-value]
    assert unseen(caught.value)
    with pytest.raises(ConfigError, match="the patient's name holds") as caught:
        Simulator(SECRETS[0], lambda: None, {})  # type: ignore[arg-type, return-value]
    assert unseen(caught.value)
    with pytest.raises(ConfigError, match="the command that is kept") as caught:
        run(SMALL, [find_policy("neutral")], scripted(), tmp_path / "out", command=f"bench {SECRETS[0]}")
    assert unseen(caught.value) and not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="RecordedChat: identity holds") as caught:
        RecordedChat(None, tmp_path, "replay", identity=f"remote m at {SECRETS[10]}")
    assert unseen(caught.value)


@pytest.mark.parametrize("file", ["settings.json", "results.jsonl"])
def test_a_report_publishes_no_secret_that_an_earlier_version_kept(file: str, tmp_path: Path) -> None:
    play_small(tmp_path, "neutral")
    held = tmp_path / file
    held.write_text(held.read_text(encoding="utf-8").replace('"neutral"', f'"{SECRETS[0]}"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="not shown here") as caught:
        read_runs([tmp_path])
    assert unseen(caught.value)

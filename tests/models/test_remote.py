"""The remote chat model, against a real server process that misbehaves on request: see ``chat_server``."""

import asyncio
import json
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.parts.patience import HANGS_S
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatMessage, ChatModel, Sampling

pytest.importorskip("aiohttp")

from tests.parts.chat_server import line, serving, stats
from therapysim.envs.batch import SessionBatch, Start
from therapysim.models.completions import retry_after_s
from therapysim.models.remote import RemoteChat, RemoteSettings
from therapysim.models.replay import RecordedChat
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor

KEY = "sk-tell-nobody-0123456789"
SAMPLING = Sampling(max_tokens=12, temperature=0.5, top_p=0.9)
QUICK: dict[str, Any] = {"backoff_s": 0.01, "timeout_s": 0.5, "retries": 2}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as base:
        yield base


def chat(url: str, **settings: Any) -> RemoteChat:
    return RemoteChat(url, "tiny", settings=RemoteSettings(**{**QUICK, **settings}))


def ask(*texts: str) -> list[list[ChatMessage]]:
    return [[{"role": "user", "content": text}] for text in texts]


def say(url: str, plan: str, **settings: Any) -> str:
    return chat(url, **settings).reply(ask(plan), SAMPLING, [1])[0]


def attempts(url: str, plan: str) -> int:
    return int(stats(url)["attempts"].get(plan, 0))


# --- what is sent and what comes back ---


def test_it_is_a_chat_model(url: str) -> None:
    model = chat(url)
    assert isinstance(model, ChatModel)
    assert model.reply([], SAMPLING, []) == []
    assert say(url, "say   Hello there. ") == "Hello there."


def test_the_request_carries_seed_and_sampling_and_nothing_of_the_environment(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_CUSTOM_HEADERS", "HF_TOKEN"):
        monkeypatch.setenv(name, "X-Hidden: hidden-value")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden-value")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent = json.loads(say(url, "echo", extra={"chat_template_kwargs": {"enable_thinking": False}}))
    head = sent.pop("head")
    assert sent == {
        "model": "tiny", "messages": [{"role": "user", "content": "echo"}], "seed": 1, "max_tokens": 12,
        "temperature": 0.5, "top_p": 0.9, "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert head.startswith("POST /v1/chat/completions ") and "hidden" not in head
    assert "authorization" not in head.lower()


def test_the_token_limit_has_two_names(url: str) -> None:
    sent = json.loads(say(url, "echo", token_limit="max_completion_tokens"))
    assert sent["max_completion_tokens"] == 12 and "max_tokens" not in sent


def test_replies_keep_the_order_of_the_chats_whoever_is_first(url: str) -> None:
    plans = [f"slow {0.2 - 0.02 * i:.2f} reply {i}" for i in range(10)]
    assert chat(url).reply(ask(*plans), SAMPLING, range(10)) == [f"reply {i}" for i in range(10)]


def test_each_chat_has_its_own_seed(url: str) -> None:
    assert chat(url).reply(ask("a", "b", "a"), SAMPLING, [5, 6, 5]) == [line(5), line(6), line(5)]


def test_seeds_are_checked(url: str) -> None:
    with pytest.raises(ConfigError, match="2 chats and 1 seeds"):
        chat(url).reply(ask("a", "b"), SAMPLING, [1])


@pytest.mark.parametrize(("concurrency", "chats"), [(3, 40), (256, 256)])
def test_no_more_requests_run_at_once_than_allowed_and_no_fewer(concurrency: int, chats: int) -> None:
    with serving("--latency", "0.3") as base:
        model = chat(base, concurrency=concurrency, timeout_s=20)
        model.reply(ask(*(["hello"] * min(chats, 3 * concurrency))), SAMPLING, range(min(chats, 3 * concurrency)))
        assert stats(base)["max_in_flight"] == concurrency


def test_the_bound_holds_over_calls_from_several_threads() -> None:
    with serving("--latency", "0.1") as base:
        model, replies = chat(base, concurrency=4, timeout_s=20), {}

        def work(seed: int) -> None:
            replies[seed] = model.reply(ask(*(["hi"] * 6)), SAMPLING, [seed] * 6)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
        assert replies == {seed: [line(seed)] * 6 for seed in range(3)}
        assert stats(base)["max_in_flight"] == 4


def test_it_answers_inside_a_running_event_loop(url: str) -> None:
    async def notebook() -> str:
        return say(url, "say From a cell.")

    assert asyncio.run(notebook()) == "From a cell."


def _in_a_fork(model: RemoteChat, pipe: Any) -> None:
    pipe.send(model.reply(ask("say child"), SAMPLING, [1]))


def test_it_answers_after_a_fork_and_after_close(url: str) -> None:
    model = chat(url)
    assert model.reply(ask("say parent"), SAMPLING, [1]) == ["parent"]
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_a_fork, args=(model, there))
    child.start()
    assert here.poll(20) and here.recv() == ["child"]
    child.join(20)
    assert child.exitcode == 0
    model.close()
    model.close()
    assert model.reply(ask("say again"), SAMPLING, [1]) == ["again"]


def test_a_script_that_never_closes_it_ends(url: str) -> None:
    code = (
        "from therapysim.models.remote import RemoteChat; from therapysim.models.chat import Sampling\n"
        f"m = RemoteChat({url!r}, 'tiny')\n"
        "print(m.reply([[{'role': 'user', 'content': 'say done'}]], Sampling(), [1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS_S, check=True)
    assert done.stdout == "['done']\n" and done.stderr == ""


def test_the_import_is_light() -> None:
    heavy = ("aiohttp", "torch", "transformers")
    code = f"import sys, therapysim.models.remote; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_call_that_another_thread_has_under_way_can_be_broken_off(url: str, tmp_path: Path) -> None:
    """Through a patient and a recording, as a training holds its model; what is asked later is answered."""
    model, ended = chat(url, timeout_s=HANGS_S, retries=0), list[BaseException]()
    recorded = RecordedChat(model, tmp_path)
    patient = LLMPatient(recorded, ScriptedPatient(shipped_sensor().affect), shipped_sensor().affect)

    def wait() -> None:
        try:
            recorded.reply(ask("never; say too late"), SAMPLING, [1])
        except asyncio.CancelledError as error:
            ended.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while not attempts(url, "never; say too late"):
        time.sleep(0.01)
    while thread.is_alive():
        patient.interrupt()
        thread.join(0.05)
    assert len(ended) == 1 and model.reply(ask("say and again"), SAMPLING, [1]) == ["and again"]


# --- what passes when tried again ---


@pytest.mark.parametrize("trouble", ["500", "503", "429", "408", "cut", "malformed", "nothing", "null", "never",
                                     "trickle", "slow 5 too late"])  # fmt: skip
def test_trouble_that_passes_is_sat_out(trouble: str, url: str) -> None:
    plan = f"{trouble}; {trouble}; say Here I am."
    assert say(url, plan) == "Here I am."
    assert attempts(url, plan) == 3


@pytest.mark.parametrize(
    ("trouble", "found", "hint"),
    [
        ("500", "3 x status 500: told to fail", "server's log"),
        ("429", "3 x status 429", "lower THERAPYSIM_CONCURRENCY"),
        ("cut", "3 x the connection was cut", "server's log"),
        ("malformed", "3 x malformed JSON: {", "server's log"),
        ("nothing", "3 x an answer without choices: {", "server's log"),
        ("null", "3 x None as content, finish_reason 'stop'", "--chat-template-kwargs enable_thinking=false"),
        ("never", "3 x no answer in 0.5 s", "see that the server answers at all, then raise THERAPYSIM_TIMEOUT_S"),
        ("trickle", "3 x no answer in 0.5 s", "raise THERAPYSIM_TIMEOUT_S"),
    ],
)
def test_trouble_that_stays_says_what_was_tried_and_what_to_do(trouble: str, found: str, hint: str, url: str) -> None:
    with pytest.raises(ModelError) as caught:
        say(url, trouble)
    message = str(caught.value)
    assert f"model 'tiny' at {url}: 1 of 1 chats got no answer; chat 0: tried 3 times in " in message
    assert found in message and hint in message.split("Next: ")[1]


def test_the_first_of_each_trouble_is_told_at_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    model = chat(url)
    for words in ("Here I am.", "Here again."):
        assert model.reply(ask(f"503; never; say {words}"), SAMPLING, [0]) == [words]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"model 'tiny' at {url}: {what}; asked again, up to {model.settings.retries} times"
        for what in ("status 503: told to fail", "no answer in 0.5 s")
    ]


def test_each_failed_chat_has_its_reason_and_what_to_do(url: str) -> None:
    with pytest.raises(ModelError) as caught:
        chat(url).reply(ask("say Hello.", "404 no such model"), SAMPLING, [0, 1])
    fine, failed = caught.value.reasons
    assert not fine and failed.startswith("status 404: ") and "Next: check the model's name" in failed


def test_of_a_server_that_answered_before_nobody_is_told_to_see_whether_it_answers(url: str) -> None:
    model = chat(url)
    assert model.reply(ask("say Hello."), SAMPLING, [0]) == ["Hello."]
    with pytest.raises(ModelError, match="Next: raise THERAPYSIM_TIMEOUT_S"):
        model.reply(ask("never"), SAMPLING, [0])


def test_an_empty_text_is_a_reply(url: str) -> None:
    plan = "empty; say never asked"
    assert say(url, plan) == "" and attempts(url, plan) == 1


def test_retry_after_is_honoured(url: str) -> None:
    began = time.monotonic()
    assert say(url, "429 1; say Back.") == "Back."
    assert time.monotonic() - began >= 1  # a floor that the server set, not a measure of speed


def test_a_wait_longer_than_allowed_fails_at_once(url: str) -> None:
    plan = "429 3600; say too late"
    with pytest.raises(ModelError, match=r"the server asks to wait 3600 s.*max_wait_s"):
        say(url, plan)
    assert attempts(url, plan) == 1


def test_retry_after_gives_seconds_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after_s(soon) or 0) <= 90
    assert retry_after_s("2.5") == 2.5 and retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_s(None) is None and retry_after_s("soon") is None
    assert retry_after_s("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") is None


# --- what does not ---


@pytest.mark.parametrize("status", ["400", "403", "404", "422"])
def test_other_client_errors_fail_at_once_in_the_servers_words(status: str, url: str) -> None:
    plan = f"{status} the context is too long; say never asked"
    with pytest.raises(ModelError, match=f"tried once: status {status}: the context is too long"):
        say(url, plan)
    assert attempts(url, plan) == 1


def test_one_failure_leaves_the_others_replies(url: str) -> None:
    plans = ["say one", "500", "say three", "400 no", "say five"]
    with pytest.raises(ModelError, match="2 of 5 chats got no answer; chat 1: tried 3 times") as caught:
        chat(url).reply(ask(*plans), SAMPLING, range(5))
    assert caught.value.replies == ["one", None, "three", None, "five"]


def test_one_failure_fails_one_session_and_is_not_sent_again_for_the_others() -> None:
    class OneRefused(RemoteChat):
        """Asks the server something that it refuses in place of the chat in the middle."""

        def reply(self, chats: Any, sampling: Sampling, seeds: Any) -> list[str]:
            middle = len(chats) // 2
            return super().reply([*chats[:middle], *ask("400 no"), *chats[middle + 1 :]], sampling, seeds)

    with serving() as base:
        batch = SessionBatch()
        feel, settings = batch.sensor.affect, LLMPatientSettings(max_draws=1)
        batch.patient = LLMPatient(OneRefused(base, "tiny"), ScriptedPatient(feel), feel, settings)
        batch.reset([Start(seed=seed) for seed in range(5)])
        assert [s.failed for s in batch.sessions] == [False, False, True, False, False]
        assert stats(base)["requests"] == 5


def test_what_no_request_can_pass_is_not_met_by_every_request() -> None:
    with serving("--key", KEY) as base:
        model = RemoteChat(base, "tiny", api_key="wrong", settings=RemoteSettings(concurrency=2))
        with pytest.raises(ModelError, match="50 of 50 chats got no answer") as caught:
            model.reply(ask(*(f"chat {i}" for i in range(50))), SAMPLING, range(50))
        assert caught.value.replies == [None] * 50
        assert stats(base)["requests"] <= 4


def test_a_server_that_is_down_is_named_with_the_way_to_start_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError) as caught:
        say(base, "say hello")
    message = str(caught.value)
    assert base in message and "tried 3 times" in message and "3 x no connection" in message
    assert "start the server (such as `vllm serve MODEL`), and check the URL" in message


def test_a_server_that_goes_down_halfway_leaves_the_replies_before() -> None:
    with serving() as base:
        model = chat(base)
        assert model.reply(ask("say up"), SAMPLING, [1]) == ["up"]
    with pytest.raises(ModelError, match=r"3 x no connection|the connection was cut"):
        model.reply(ask("say down"), SAMPLING, [1])


# --- the key ---


def test_the_key_opens_the_door_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("--key", KEY) as base:
        monkeypatch.setenv("MY_LAB_KEY", KEY)
        model = RemoteChat(base, "tiny", api_key_env="MY_LAB_KEY")
        assert model.reply(ask("say in"), SAMPLING, [1]) == ["in"]
        assert KEY not in repr(model) + str(model) + model.identity + repr(model.settings)


def test_a_server_that_repeats_the_key_is_not_quoted_with_it() -> None:
    with serving("--key", "another") as base, pytest.raises(ModelError) as caught:
        RemoteChat(base, "tiny", api_key=KEY).reply(ask("hi"), SAMPLING, [1])
    assert "status 401: Incorrect API key provided: [the API key]. Next: check the API key" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", [f"{KEY}\n", f"two {KEY}", f"{KEY}é"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str, url: str) -> None:
    with pytest.raises(ConfigError, match="holds a space, a line break, or") as caught:
        RemoteChat(url, "tiny", api_key=key)
    assert KEY not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_LAB_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable MY_LAB_KEY is not set"):
        RemoteChat(url, "tiny", api_key_env="MY_LAB_KEY")
    with pytest.raises(ConfigError, match="both api_key and api_key_env"):
        RemoteChat(url, "tiny", api_key=KEY, api_key_env="MY_LAB_KEY")


# --- settings ---


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"concurrency": 0}, "concurrency is 0"), ({"timeout_s": 0}, "timeout_s is 0"), ({"retries": -1}, "retries"),
        ({"backoff_s": float("nan")}, "backoff_s is nan"), ({"max_wait_s": -1}, "max_wait_s"),
        ({"token_limit": "tokens"}, "token_limit is 'tokens'"), ({"extra": {"a": {1}}}, "extra is not a JSON object"),
    ],
)  # fmt: skip
def test_settings_are_checked(wrong: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=f"RemoteSettings: {found}"):
        RemoteSettings(**wrong)


def test_defaults_are_set_by_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (RemoteSettings().concurrency, RemoteSettings().timeout_s, RemoteSettings().retries) == (64, 120.0, 4)
    for name, value in (("CONCURRENCY", "3"), ("TIMEOUT_S", "7.5"), ("RETRIES", "0")):
        monkeypatch.setenv(f"THERAPYSIM_{name}", value)
    assert (RemoteSettings().concurrency, RemoteSettings().timeout_s, RemoteSettings().retries) == (3, 7.5, 0)
    assert RemoteSettings(retries=2).retries == 2
    monkeypatch.setenv("THERAPYSIM_RETRIES", "")
    assert RemoteSettings().retries == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("CONCURRENCY", "0"), ("CONCURRENCY", "many"), ("CONCURRENCY", "1.5"), ("TIMEOUT_S", "0"), ("TIMEOUT_S", "2 min"),
     ("TIMEOUT_S", "nan"), ("RETRIES", "-1")],
)  # fmt: skip
def test_a_wrong_variable_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"THERAPYSIM_{name}", value)
    with pytest.raises(ConfigError, match=f"the environment variable THERAPYSIM_{name} is '?{value}"):
        RemoteSettings()


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://host:0/v1", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"RemoteChat: url is .* expected one such as"):
        RemoteChat(url, "tiny")


@pytest.mark.parametrize(
    ("url", "model"),
    [(f"http://me:{KEY}@host/v1", "tiny"), (f"https://host/v1?key={KEY}", "tiny"), (f"https://host/v1?{KEY}", "tiny"),
     (f"http://host/v1#token={KEY}", "tiny"), (f"http://host/{KEY} /v1", "tiny"),
     ("http://host/v1", f"a&api_key={KEY}")],
)  # fmt: skip
def test_a_url_that_may_hold_a_key_is_refused_unseen(url: str, model: str) -> None:
    with pytest.raises(ConfigError, match=r"url holds|name holds") as caught:
        RemoteChat(url, model)
    assert KEY not in str(caught.value)


def test_without_aiohttp_the_extra_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ModelError, match=r"needs the package aiohttp; .*therapysim\[remote\]"):
        RemoteChat(url, "tiny")

"""What a server should not send, and a key that it sends back: our own errors, bounded, in words that show no key."""

import html
import json
import pickle
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import Sampling
from therapysim.models.redaction import in_brief

pytest.importorskip("aiohttp")

from tests.parts.chat_server import serving, stats
from therapysim.models.remote import RemoteChat, RemoteSettings

KEY = "sk-tell-nobody-0123456789"
SAMPLING = Sampling(max_tokens=12)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as base:
        yield base


def ask(url: str, plan: str, key: "str | SecretStr | None" = None) -> str:
    model = RemoteChat(url, "tiny", api_key=key, settings=RemoteSettings(retries=0, timeout_s=60))
    return model.reply([[{"role": "user", "content": plan}]], SAMPLING, [1])[0]


def coded(body: bytes) -> str:
    return b64encode(body).decode()


def shows_none_of(key: str, text: str) -> bool:
    """Not a third of it in a row: a part would be told as well."""
    part = len(key) // 3
    return not any(key[i : i + part].lower() in text.lower() for i in range(len(key) - part))


# --- answers that nobody should send ---

_DEEP = b"[" * 200_000


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "body",
    [
        _DEEP, b'{"choices": ' + _DEEP, b'{"error": ' + _DEEP, _DEEP + b"]" * 200_000, b"\xff\xfe\x80 no letters",
        b'{"choices": [{"message": {"content": ' + b"[" * 800 + b"]" * 800 + b"}}]}", b"1" * 5_000, b"null", b"[]",
        b'""', b'{"choices": {}}', b'{"choices": [[]]}', b'{"choices": [{"message": []}]}', b'{"error": [1]}',
        b'{"error": {"message": {"a": [1]}}}', b'{"error": {"message": "\\ud800"}}',
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)  # fmt: skip
def test_no_body_ends_in_an_error_that_is_not_ours(body: bytes, status: int, url: str) -> None:
    with pytest.raises(ModelError) as caught:
        ask(url, f"raw {status} {coded(body)}")
    message = str(caught.value)
    assert len(message) < 800 and "1 of 1 chats got no answer" in message
    message.encode()  # it can be written


def test_an_answer_without_an_end_is_given_up(url: str) -> None:
    with pytest.raises(ModelError, match="an answer of more than 8 MiB"):
        ask(url, "endless")
    assert stats(url)["attempts"]["endless"] == 1


def test_what_a_server_says_cannot_steer_the_terminal(url: str) -> None:
    body = b'{"error": {"message": "\\u001b[2J\\u202egone\\u0007"}}'
    with pytest.raises(ModelError) as caught:
        ask(url, f"raw 400 {coded(body)}")
    assert "status 400: [2Jgone" in str(caught.value) and str(caught.value).isprintable()


# --- anybody's secrets ---


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("Authorization: Bearer abcdefgh", "abcdefgh"),
        ('{"headers": {"Authorization": "Basic dXNlcjpwYXNz"}}', "dXNlcjpwYXNz"),
        ('"{\\"authorization\\": \\"Bearer q1w2e3r4\\"}"', "q1w2e3r4"),
        ("Proxy-Authorization=Digest username", "Digest"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJzdWIiOiIxIn0"),
        ("Incorrect API key provided: sk-proj-aB3*****x9", "aB3"),
        ("x-api-key: 0a1b2c3d4e", "0a1b2c3d4e"),
        ("retry with ?api_key=0a1b2c3d4e&model=m", "0a1b2c3d4e"),
        ("token='hf_AbCdEfGh1234'", "hf_AbCdEfGh1234"),
        ("password: hunter", "hunter"),
        ("client_secret=open", "open"),
        ("retry with ?api_key=open", "=open"),
        ("the password is tr0ub4dor", "tr0ub4dor"),
        ("see http://me:word@proxy:3128/", "me:word"),
        ("postgres://user:p@ss/word@host/db is down", "ss/word"),
        ('{"secret": ["A1b2c3d4e5f6g7"]}', "A1b2c3"),
        ('{"token": ["first", "A1b2c3d4e5f6g7"]}', "A1b2c3"),
        ("{'api_key': {'value': 'A1b2c3d4e5f6g7'}}", "A1b2c3"),
        ('{"Authorization": ["open sesame"]}', "sesame"),
        ("AKIAIOSFODNN7EXAMPLE is unknown", "AKIAIOSFODNN7EXAMPLE"),
        ("account 9f86d081884c7d659a2feaa0c55ad015 is off", "9f86d081884c7d659a2feaa0c55ad015"),
        ("Set-Cookie: session=a1b2c3d4e5; Path=/", "a1b2c3d4e5"),
        ("Traceback " * 5_000 + "token=hf_AbCdEfGh1234", "AbCdEfGh"),
    ],
)
def test_what_may_be_anybodys_secret_is_not_told(said: str, secret: str) -> None:
    told = in_brief(said)
    assert secret not in told and (len(said) > 400 or "[hidden]" in told) and len(told) <= 300


@pytest.mark.parametrize(
    "said",
    [
        "The model `meta-llama/Llama-3.1-8B-Instruct` does not exist.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (max_tokens: 64).",
        "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29000.",
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
        "missing key: messages",
        'nothing at "http://localhost:8000/v1"; write to "us@example.org"',
        '{"token": [], "key": ["body", "messages"]}',
        "Bearer authentication is required; the Authorization header is missing",
        "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 23.69 GiB total capacity)",
        "model Qwen_Qwen2_5_Coder_32B_Instruct is not loaded in /models/snapshots",
    ],
)
def test_what_helps_to_mend_it_is_told(said: str) -> None:
    assert in_brief(said) == said


def test_half_a_secret_at_the_end_of_what_is_read_is_not_told() -> None:
    assert "sec" not in in_brief("token=hf_AbCdEfGh1234 " * 950 + "password=secret" * 3)


def test_words_without_a_word_are_told_as_none() -> None:
    assert in_brief(" " * 30_000) == ""


# --- the key ---


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)])
def test_a_held_key_is_in_no_attribute_record_or_pickle(key: Any, url: str) -> None:
    model = RemoteChat(url, "tiny", api_key=key)
    assert model.reply([[{"role": "user", "content": "say in"}]], SAMPLING, [1]) == ["in"]
    parts = [model, model.settings, model._connection, model._connection and model._connection._session]
    assert not any(KEY in repr(vars(part) if hasattr(part, "__dict__") else part) for part in parts)
    assert KEY.encode() not in pickle.dumps(model.settings) and KEY not in json.dumps(asdict(model.settings))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(model)


@pytest.mark.parametrize(
    "extra", [{"api_key": KEY}, {"headers": [{"Authorization": f"Bearer {KEY}"}]}, {"x-api-key": 1}]
)
def test_a_key_among_the_extra_fields_is_refused_unseen(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="extra holds a key, a token or a password") as caught:
        RemoteSettings(extra=extra)
    assert KEY not in str(caught.value)
    assert RemoteSettings(extra={"stop_token_ids": [1], "prompt_cache_key": "a"})


@pytest.mark.parametrize("name", [KEY, "hf_aBcDeFgHiJkLmNo0123456789", "MY KEY", "", "MY_KEY=1"])
def test_a_key_in_place_of_its_variables_name_is_refused_unseen(name: str, url: str) -> None:
    with pytest.raises(ConfigError, match="not shown here: it may be the key") as caught:
        RemoteChat(url, "tiny", api_key_env=name)
    assert not name or name not in str(caught.value)


# One key of every sign that a header takes and a formatter spells otherwise.
ODD_KEY = "sk-a/b+c\\d\"e<f>g&h'i%j=0123"


def as_json(text: str) -> str:
    return "".join(f"\\u{ord(c):04X}" for c in text)


SPELT = {
    "as it is": ODD_KEY,
    "in capitals": ODD_KEY.upper(),
    "JSON": json.dumps(ODD_KEY)[1:-1],
    "JSON with slashes": json.dumps(ODD_KEY)[1:-1].replace("/", "\\/"),
    "JSON codes": as_json(ODD_KEY),
    "JSON in JSON": json.dumps(json.dumps(as_json(ODD_KEY)))[1:-1],
    "URL": quote(ODD_KEY, safe=""),
    "URL of a URL": quote(quote(ODD_KEY, safe=""), safe=""),
    "page": html.escape(ODD_KEY),
    "page codes": "".join(f"&#{ord(c)};" for c in ODD_KEY),
    "page hex codes": "".join(f"&#x{ord(c):X};" for c in ODD_KEY),
    "parted by what nobody sees": "\u200b".join(ODD_KEY),
}


@pytest.mark.parametrize("how", SPELT)
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("form", ["{}", '{{"error": {{"message": "{}"}}}}', '{{"error": {{"detail": ["{}"]}}}}'])
def test_an_error_quotes_no_spelling_of_the_key(how: str, status: int, form: str, url: str) -> None:
    body = form.format(SPELT[how]).encode()
    with pytest.raises(ModelError, match=r"\[the API key\]") as caught:
        ask(url, f"raw {status} {coded(body)}", ODD_KEY)
    assert shows_none_of(ODD_KEY, str(caught.value))


CONTENTS = {
    "list": [{"type": "text", "text": f"a {KEY}"}],
    "object": {KEY: {"said": [KEY]}},
    "finish": None,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_content_that_is_no_text_is_quoted_without_the_key(content: Any, url: str) -> None:
    reply = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": [KEY]}]}).replace("k", "\\u006b")
    with pytest.raises(ModelError, match="as content, finish_reason") as caught:
        ask(url, f"raw 200 {coded(reply.encode())}", KEY)
    assert shows_none_of(KEY, str(caught.value)) and "[the API key]" in str(caught.value)


@pytest.mark.parametrize("spelt", [KEY, KEY.upper(), as_json(KEY), "\\u200b".join(KEY)])
def test_a_reply_that_holds_the_key_comes_without_it(spelt: str, url: str) -> None:
    reply = f'"I know {spelt}."'.encode()
    assert ask(url, f"content {coded(reply)}", KEY) == "I know [the API key]."


def test_a_placeholder_for_a_key_leaves_a_replys_words_alone(url: str) -> None:
    assert ask(url, "say My house is empty.", "EMPTY") == "My house is empty."


def test_what_the_client_cannot_read_is_told_without_the_requests_headers(url: str) -> None:
    with pytest.raises(ModelError, match="the connection was cut") as caught:
        ask(url, "header", KEY)
    assert shows_none_of(KEY, str(caught.value)) and "Bearer" not in str(caught.value)

"""The page's server: sessions equal to a batch's own; to a bad request a clear answer, and nothing lost."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette"), pytest.importorskip("httpx2")

from starlette.testclient import TestClient  # noqa: E402

from therapysim.agents.sessions.session_file import save_session  # noqa: E402
from therapysim.agents.therapists.policies import find_policy  # noqa: E402
from therapysim.agents.web.addresses import listening  # noqa: E402
from therapysim.agents.web.house import PageSettings  # noqa: E402
from therapysim.agents.web.ratings import Rated, Ratings  # noqa: E402
from therapysim.agents.web.server import MOST_BYTES, make_app  # noqa: E402
from therapysim.cli.main import main  # noqa: E402
from therapysim.envs.batch import SessionBatch, SessionConfig, Start  # noqa: E402
from therapysim.errors import ConfigError, PatientError  # noqa: E402
from therapysim.personas.load import find  # noqa: E402
from therapysim.personas.patient import Cue, Line  # noqa: E402

SAID = ("What has this week been like for you?", "It sounds as if getting up costs you everything.", "")
Ask = Callable[..., Any]


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return open_page(tmp_path)


def open_page(out: Path, **own: Any) -> TestClient:
    policies = [find_policy("cbt")]
    app = make_app(PageSettings([find("marta"), find("kenji")], policies, turns=3, out=out, **own))
    return TestClient(app, base_url="http://127.0.0.1:8321")


def begin(client: TestClient, patient: str = "marta", seed: int = 3) -> str:
    answer = client.post("/api/sessions", json={"patient": patient, "seed": seed})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def say(client: TestClient, key: str, text: str) -> Any:
    return client.post(f"/api/sessions/{key}/say", json={"text": text})


def test_a_session_is_the_batches_own(client: TestClient, tmp_path: Path) -> None:
    batch = SessionBatch(SessionConfig(max_turns=3))
    batch.reset([Start(3, "marta")])
    turns = [batch.step([text])[0] for text in SAID]
    key = begin(client)
    for text in SAID:
        told = say(client, key, text).json()
    assert [message["text"] for message in told["messages"]] == [m.text for m in batch.sessions[0].messages]
    assert [turn["reward"] for turn in told["turns"]] == [turn.reward for turn in turns if turn]
    assert told["mood"] == [list(map(float, state.affect)) for state in batch.sessions[0].states]
    assert told["done"] and told["by"] == ["a person"] * 3
    for own, turn in zip(told["turns"], turns, strict=True):
        assert turn and turn.score and not turn.violations  # whose gate is open: its terms add up to its reward
        weighted = {name: value * turn.score.weights[name] for name, value in turn.terms.items()}
        assert own["terms"] == {name: value for name, value in weighted.items() if abs(value) >= 0.005}
    ours = save_session(tmp_path / "own.json", batch.sessions[0], [t for t in turns if t], "a person")
    assert client.get(f"/api/sessions/{key}/file").json() == json.loads(ours.read_text())
    look = client.post("/api/look", json=json.loads(ours.read_text())).json()
    assert {name: look[name] for name in look} == {name: told[name] for name in look}


def test_half_a_character_is_replaced_and_all_else_said_as_it_is(client: TestClient) -> None:
    key = begin(client)
    told = post(client, key, b'{"text": "So \\ud800 <b>"}').json()
    assert told["messages"][1]["text"] == "So ? <b>"


def test_the_same_words_bring_the_same_answer_in_another_branch(client: TestClient) -> None:
    key = begin(client)
    for text in SAID[:2]:
        told = say(client, key, text).json()
    undone = client.post(f"/api/sessions/{key}/undo", json={}).json()
    assert undone["messages"] == told["messages"][:3] and undone["branches"] == [1]
    again = say(client, key, SAID[1]).json()
    assert again["messages"] == told["messages"]
    other = client.post(f"/api/sessions/{key}/branch", json={"turns": 1}).json()
    assert (other["branch"], other["branches"]) == (1, [2, 1])
    say(client, key, "Calm down.")
    back = client.post(f"/api/sessions/{key}/choose", json={"branch": 0}).json()
    assert back["messages"] == told["messages"] and back["branches"] == [2, 2]


def test_a_policy_suggests_and_speaks(client: TestClient) -> None:
    key = begin(client)
    batch = SessionBatch(SessionConfig(max_turns=3))
    text = find_policy("cbt").open().respond(batch.reset([Start(3, "marta")]))[0]
    assert client.post(f"/api/sessions/{key}/suggest", json={"policy": "cbt"}).json() == {"text": text}
    told = client.post(f"/api/sessions/{key}/say", json={"policy": "cbt"}).json()
    assert told["messages"][1]["text"] == text and told["by"] == ["cbt"]
    assert client.post(f"/api/sessions/{key}/suggest", json={"policy": "mi"}).status_code == 404


def test_ratings_are_kept_and_read_by_calibrate_and_judge(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rate(key: str, turn: int, rating: str, why: str = "") -> None:
        body = {"turn": turn, "rating": rating, "why": why, "rater": "R"}
        told = client.post(f"/api/sessions/{key}/rate", json=body).json()
        assert told["ratings"][turn] == {"R": {"rating": rating, "why": why}}

    for seed in range(16):
        key = begin(client, seed=seed)
        say(client, key, SAID[0])
        rate(key, 0, "harmful")
        rate(key, 0, "good", 'it asks, "openly"')
        client.post(f"/api/sessions/{key}/branch", json={"turns": 0})
        say(client, key, "Pull yourself together, others have it worse.")
        rate(key, 0, "harmful", "blames")
    assert len((tmp_path / "ratings.jsonl").read_text().splitlines()) == 48
    assert len((tmp_path / "ratings.csv").read_text().splitlines()) == 33
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 16 and {pair["better"] for pair in pairs} == {SAID[0]}
    main(["judge", str(tmp_path / "pairs.jsonl")])
    assert "16" in capsys.readouterr().out
    out = str(tmp_path / "fit.json")
    main(["calibrate", str(tmp_path / "ratings.csv"), "--score", "score", "--out", out, "--folds", "2"])
    assert Path(out).exists()
    assert len(Ratings(tmp_path).of("marta", 15)) == 2  # a new page goes on from the folder


def test_half_a_row_of_a_killed_server_is_cut_off_and_nonsense_is_named(tmp_path: Path) -> None:
    first = Rated("a", "marta", 1, 0, ("Hi.",), "Hello.", "a person", "good", "", "R", 0.5)
    Ratings(tmp_path).add(first)
    file = tmp_path / "ratings.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"session": "b", "pers')
    second = replace(first, text="Well?", rating="harmful")
    Ratings(tmp_path).add(second)
    assert Ratings(tmp_path).of("marta", 1) == [first, second]
    file.write_text(whole.rstrip("\n"))  # whole but for its line end
    Ratings(tmp_path).add(second)
    assert Ratings(tmp_path).of("marta", 1) == [first, second]
    file.write_text('{"session": "b"}\n')
    with pytest.raises(ConfigError, match=r"ratings\.jsonl.*persona"):
        Ratings(tmp_path)


def test_raters_are_kept_apart_and_the_newest_of_each_counts(tmp_path: Path) -> None:
    client = open_page(tmp_path)
    key = begin(client)
    say(client, key, SAID[0])
    for rater, rating in (("A", "good"), ("B", "harmful"), ("A", "neutral")):
        body = {"turn": 0, "rating": rating, "why": "", "rater": rater}
        told = client.post(f"/api/sessions/{key}/rate", json=body).json()
    assert {name: own["rating"] for name, own in told["ratings"][0].items()} == {"A": "neutral", "B": "harmful"}
    other = begin(client)
    assert say(client, other, SAID[0]).json()["ratings"] == told["ratings"]  # the same words after the same


def test_what_was_asked_of_another_branch_is_refused(client: TestClient) -> None:
    key = begin(client)
    say(client, key, SAID[0])
    client.post(f"/api/sessions/{key}/branch", json={"turns": 0, "seen": [0, 1]})
    answer = client.post(f"/api/sessions/{key}/say", json={"text": "Hello.", "seen": [0, 1]})
    assert answer.status_code == 409 and "in another tab perhaps" in answer.json()["error"]
    assert client.post(f"/api/sessions/{key}/say", json={"text": "Hello.", "seen": [1, 0]}).status_code == 200


@pytest.mark.parametrize(
    ("status", "said", "ask"),
    [
        (404, "no such session", lambda c, k: say(c, "AAAAAAAAAAAAAAAAAAAAAA", "hi")),
        (404, "no such session", lambda c, k: c.get(f"/api/sessions/{k[:-1]}")),
        (415, "application/json", lambda c, k: c.post(f"/api/sessions/{k}/say", data={"text": "hi"})),
        (400, "the body cannot be read as text: byte 1", lambda c, k: post(c, k, b"\xff\xfe\x00")),
        (400, "the body cannot be read as JSON", lambda c, k: post(c, k, b"[" * 60_000)),
        (400, "no JSON object", lambda c, k: post(c, k, b"[1]")),
        (422, "words is an unknown field", lambda c, k: post(c, k, b'{"words": "hi"}')),
        (422, "text is empty, expected a text", lambda c, k: post(c, k, b'{"text": null}')),
        (422, "expected a text of at most 10000 characters", lambda c, k: say(c, k, "x" * 10_001)),
        (413, "longer than", lambda c, k: post(c, k, b" " * (MOST_BYTES + 1))),
        (422, "turn is 7", lambda c, k: c.post(f"/api/sessions/{k}/rate", json={"turn": 7, "rating": "good"})),
        (422, "rating is 'bad'", lambda c, k: c.post(f"/api/sessions/{k}/rate", json={"turn": 0, "rating": "bad"})),
        (422, "rating is", lambda c, k: c.post(f"/api/sessions/{k}/rate", json={"turn": 0, "rating": ["good"]})),
        (422, "turns is 9", lambda c, k: c.post(f"/api/sessions/{k}/branch", json={"turns": 9})),
        (422, "branch is 3", lambda c, k: c.post(f"/api/sessions/{k}/choose", json={"branch": 3})),
        (404, "patient is 'claire'", lambda c, k: start(c, {"patient": "claire", "seed": 1})),
        (422, "seed is -1, expected a whole number", lambda c, k: start(c, {"patient": "marta", "seed": -1})),
        (422, "seed is True, expected a whole number", lambda c, k: start(c, {"patient": "marta", "seed": True})),
        (422, "no session, expected", lambda c, k: c.post("/api/look", json={"a": 1})),
        (405, "", lambda c, k: c.delete(f"/api/sessions/{k}")),
        (404, "", lambda c, k: c.get("/../pyproject.toml")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_changes_nothing(client: TestClient, status: int, said: str, ask: Ask) -> None:
    key = begin(client)
    before = say(client, key, SAID[0]).json()
    answer = ask(client, key)
    assert answer.status_code == status and said in answer.text, answer.text
    assert client.get(f"/api/sessions/{key}").json() == before


def start(client: TestClient, body: dict[str, Any]) -> Any:
    return client.post("/api/sessions", json=body)


def post(client: TestClient, key: str, body: bytes) -> Any:
    return client.post(f"/api/sessions/{key}/say", content=body, headers={"Content-Type": "application/json"})


def test_nothing_is_said_after_the_end(client: TestClient) -> None:
    key = begin(client)
    for text in SAID:
        told = say(client, key, text).json()
    answer = say(client, key, "One more.")
    assert answer.status_code == 409 and "the session is over" in answer.json()["error"]
    assert client.get(f"/api/sessions/{key}").json() == told


class Waiting:
    """Answers when it is let."""

    at_once = 1

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.asked.set()
        if not self.go.wait(60):
            raise PatientError("never let")
        return [Line("Yes.") for _ in cues]


def test_the_same_session_is_not_asked_twice_at_once_and_others_go_on(tmp_path: Path) -> None:
    patient = Waiting()
    client = open_page(tmp_path, patient=patient)
    key, other = begin(client), begin(client, "kenji")
    patient.go.clear()
    patient.asked.clear()
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(say(client, key, "Hello.")))
    thread.start()
    assert patient.asked.wait(60)
    answer = say(client, key, "Hello?")
    assert answer.status_code == 409 and "still under way" in answer.json()["error"]
    assert client.get(f"/api/sessions/{other}").status_code == 200
    patient.go.set()
    thread.join(60)
    assert first[0].status_code == 200 and len(first[0].json()["turns"]) == 1


class Failing:
    """Fails from its second answer on."""

    def __init__(self) -> None:
        self.left = 1

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.left -= 1
        if self.left < 0:
            raise PatientError("gone")
        return [Line("Hello.") for _ in cues]


def test_a_turn_that_the_patient_does_not_answer_is_not_taken(tmp_path: Path) -> None:
    patient = Failing()
    client = open_page(tmp_path, patient=patient)
    key = begin(client)
    before = client.get(f"/api/sessions/{key}").json()
    answer = say(client, key, "Hi.")
    assert answer.status_code == 503 and "try again" in answer.json()["error"]
    assert client.get(f"/api/sessions/{key}").json() == before
    patient.left = 9
    assert say(client, key, "Hi.").status_code == 200
    patient.left = 0
    answer = client.post("/api/sessions", json={"patient": "marta", "seed": 1})
    assert answer.status_code == 503 and "could not begin" in answer.json()["error"]


def test_the_session_left_alone_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("therapysim.agents.web.house.MOST_DESKS", 2)
    client = open_page(tmp_path)
    first, second = begin(client, seed=1), begin(client, seed=2)
    say(client, first, "Hello.")
    third = begin(client, seed=3)
    held = [client.get(f"/api/sessions/{key}").status_code for key in (first, second, third)]
    assert held == [200, 404, 200]


def test_a_token_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    client = open_page(tmp_path, token="secret")
    assert client.get("/").status_code == 200  # the page itself knows nothing
    for given in (b"", b"Bearer wrong", b"Bearer secret\xe9", b"Basic secret"):
        answer = client.get("/api/start", headers={b"Authorization": given})
        assert answer.status_code == 401 and "token" in answer.json()["error"]
    assert client.get("/api/start", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_who_asks_by_another_name_is_refused_unless_it_has_the_token(client: TestClient, tmp_path: Path) -> None:
    for name in ("evil.example", "127.0.0.1.evil.example", "10.0.0.7"):
        answer = client.get("/api/start", headers={"Host": name})
        assert answer.status_code == 403 and "expected localhost" in answer.text
    for name in ("localhost:8321", "[::1]:8321", "127.0.0.2:8321"):
        assert client.get("/api/start", headers={"Host": name}).status_code == 200
    held = open_page(tmp_path, token="secret")
    headers = {"Host": "lab.example", "Authorization": "Bearer secret"}
    assert held.get("/api/start", headers=headers).status_code == 200


def test_nothing_is_fetched_from_elsewhere_or_kept_by_a_browser(client: TestClient) -> None:
    for path in ("/", "/play.js", "/play.css", "/api/start"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"
    page = client.get("/").text + client.get("/play.js").text + client.get("/play.css").text
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    assert "innerHTML" not in page


def test_no_test_patient_is_offered(client: TestClient) -> None:
    assert {own["split"] for own in client.get("/api/start").json()["patients"]} <= {"train", "dev"}


def test_a_port_in_use_is_named() -> None:
    with listening("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*name another --port"):
            listening("127.0.0.1", port)
    with pytest.raises(ConfigError, match="--port is 70000, expected 0 to 65535"):
        listening("127.0.0.1", 70_000)

"""The page in a browser: a session by mouse, by keyboard, on a phone, read aloud; hostile words stay words."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from tests.parts.browser import chromium  # noqa: E402
from therapysim.agents.sessions.session_file import load_session  # noqa: E402
from therapysim.agents.therapists.policies import find_policy  # noqa: E402
from therapysim.agents.web.addresses import listening  # noqa: E402
from therapysim.agents.web.house import PageSettings  # noqa: E402
from therapysim.agents.web.server import make_app  # noqa: E402
from therapysim.personas.load import find  # noqa: E402

ENTER, TAB = "\ue007", "\ue004"
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script> \u202e ${7*7}"
WAIT_S = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page's address, and the folder of its ratings."""
    out = tmp_path_factory.mktemp("play")
    people = [find(name) for name in ("marta", "kenji")]
    app = make_app(PageSettings(people, [find_policy("cbt"), find_policy("mi")], turns=4, out=out))
    with listening("127.0.0.1", 0) as own:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{own.getsockname()[1]}/", out
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Any]:
    yield from chromium(1300, 1000, downloads)


class Page:
    """What a person does on the page."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get("about:blank")
        browser.get(address)
        self.until(lambda: len(self.all("#patient option")) == 2)

    def until(self, seen: Callable[[], Any]) -> Any:
        """However busy the machine is: until it is seen, or a minute is over."""
        end = time.monotonic() + WAIT_S
        while not (found := seen()):
            assert time.monotonic() < end, f"not seen on the page: {self.text('body')[:2000]}"
            time.sleep(0.05)
        return found

    def all(self, what: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", what))

    def one(self, what: str) -> Any:
        return self.browser.find_element("css selector", what)

    def text(self, what: str) -> str:
        return str(self.one(what).text)

    def idle(self) -> None:
        self.until(lambda: self.one("body").get_attribute("aria-busy") is None)

    def begin(self, patient: str = "marta", seed: int = 3) -> None:
        self.one(f"#patient option[value={patient}]").click()
        self.one("#seed").clear()
        self.one("#seed").send_keys(str(seed), ENTER)
        self.until(lambda: len(self.all("#log > li")) == 1)
        self.idle()

    def say(self, text: str) -> None:
        before = len(self.all("#log > li"))
        self.one("#words").send_keys(text, ENTER)
        self.until(lambda: len(self.all("#log > li")) == before + 2)
        self.idle()

    def click(self, what: str) -> None:
        self.one(what).click()
        self.idle()


@pytest.fixture
def page(browser: Any, place: tuple[str, Path]) -> Page:
    return Page(browser, place[0])


def test_a_whole_session_is_played_undone_branched_rated_and_saved(
    page: Page, place: tuple[str, Path], downloads: Path
) -> None:
    page.begin()
    assert "Marta, 38" in page.text("#about")
    page.say("What has this week been like for you?")
    page.say("It sounds as if getting up costs you everything.")
    first = page.all("#log > li")[2].text
    page.click("#undo")
    assert len(page.all("#log > li")) == 3
    page.click("#suggest")
    assert page.one("#words").get_attribute("value")
    page.one("#words").clear()
    page.say("Pull yourself together.")
    page.click('[aria-label="turn 1 is good"]')
    page.all(".rate input")[1].send_keys("it blames")
    page.click('[aria-label="turn 2 is harmful"]')
    assert page.one('[aria-label="turn 2 is harmful"]').get_attribute("aria-pressed") == "true"
    page.click('[aria-label="other words in place of turn 2"]')
    assert len(page.all("#branch option")) == 2 and len(page.all("#log > li")) == 3
    page.say("What is the hardest part of getting up?")
    page.click('[aria-label="turn 2 is good"]')
    page.say("")
    page.click("#speak")
    page.until(lambda: page.text("#over") == "The turns are used up.")
    assert not page.one("#words").is_enabled()
    assert page.all("#log > li")[2].text == first
    assert len(page.all("#terms tr")) == 4 and len(page.all("#reward rect")) == 4
    page.click("#save")
    kept = page.until(lambda: list(downloads.glob("marta-3.json")))[0]
    record = load_session(kept)
    assert record.policy == "a person + cbt" and len(record.turns) == 4
    ratings = [json.loads(line) for line in (place[1] / "ratings.jsonl").read_text().splitlines()]
    assert [(row["turn"], row["rating"], row["why"]) for row in ratings][-1] == (1, "good", "")
    pairs = [json.loads(line) for line in (place[1] / "pairs.jsonl").read_text().splitlines()]
    assert [(pair["better"], pair["worse"]) for pair in pairs] == [
        ("What is the hardest part of getting up?", "Pull yourself together.")
    ]
    look = page.one("#look")
    look.send_keys(str(kept))
    page.until(lambda: page.text("#over") == "A session file, to look at. The turns are used up.")
    assert len(page.all("#log > li")) == 9 and not page.one("#say").is_displayed()


def test_it_works_by_keyboard_alone_and_goes_on_after_a_reload(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    def press(*keys: str) -> None:
        ActionChains(page.browser).send_keys(*keys).perform()

    def focused() -> str:
        return str(page.browser.execute_script("return document.activeElement.id"))

    for _ in range(8):
        press(TAB)
        if focused() == "seed":
            break
    press(ENTER)
    page.until(lambda: len(page.all("#log > li")) == 1 and focused() == "words")
    press("How was your night?", ENTER)
    page.until(lambda: len(page.all("#log > li")) == 3 and focused() == "words")
    reached = set()
    for _ in range(60):
        press(TAB)
        reached.add(focused())
    told = ("patient", "look", "branch", "undo", "save", "end", "words", "policy", "suggest", "speak", "show", "rater")
    assert reached >= set(told)
    page.browser.refresh()
    page.until(lambda: len(page.all("#log > li")) == 3)


def test_an_ended_session_can_still_be_rated_and_branched(page: Page) -> None:
    page.begin("kenji", 9)
    page.say("How are you?")
    page.click("#end")
    assert page.text("#over").startswith("You ended the session.") and not page.one("#words").is_enabled()
    page.click('[aria-label="turn 1 is good"]')
    assert page.text("#over").startswith("You ended the session.") and not page.one("#words").is_enabled()
    page.click('[aria-label="other words in place of turn 1"]')
    assert page.text("#over") == "" and page.one("#words").is_enabled()


def test_reasons_that_are_typed_are_kept_and_focus_stays(page: Page) -> None:
    page.begin("kenji", 11)
    page.say("How are you?")
    page.say("And today?")
    page.all(".rate input")[0].send_keys("opens")
    page.say("And tomorrow?")
    assert page.all(".rate input")[0].get_attribute("value") == "opens"
    page.click('[aria-label="turn 1 is good"]')
    assert page.browser.switch_to.active_element.get_attribute("aria-label") == "turn 1 is good"
    page.all(".rate input")[0].send_keys(" the talk")
    page.click('[aria-label="turn 2 is neutral"]')  # the reason is sent as its field is left, and the click is not lost
    page.one("#rater").clear()
    page.one("#rater").send_keys("other")
    pressed = page.all('.rate [aria-pressed="true"]')
    assert pressed == []
    page.one("#rater").clear()
    page.one("#rater").send_keys("me")
    assert [b.get_attribute("aria-label") for b in page.all('.rate [aria-pressed="true"]')] == [
        "turn 1 is good", "turn 2 is neutral"
    ]  # fmt: skip
    page.browser.refresh()
    page.until(
        lambda: page.all(".rate input") and page.all(".rate input")[0].get_attribute("value") == "opens the talk"
    )


def test_the_way_past_the_head_loses_no_session(page: Page) -> None:
    page.begin("kenji", 12)
    page.browser.execute_script("document.querySelector('.skip').click()")
    assert page.browser.switch_to.active_element.get_attribute("id") == "words"
    page.browser.refresh()
    page.until(lambda: len(page.all("#log > li")) == 1)


def test_two_pages_have_a_session_each(page: Page, place: tuple[str, Path]) -> None:
    page.begin("kenji", 1)
    page.say("How are you?")
    first = page.text("#log")
    page.browser.switch_to.new_window("tab")
    other = Page(page.browser, place[0])
    other.begin("marta", 2)
    other.say("What brings you?")
    page.browser.close()
    page.browser.switch_to.window(page.browser.window_handles[0])
    assert page.text("#log") == first
    page.say("And today?")


def test_hostile_words_stay_words(page: Page) -> None:
    page.begin("kenji", 5)
    page.one("#rater").clear()
    page.one("#rater").send_keys(HOSTILE.replace("\u202e", "")[:80])
    page.say(HOSTILE)
    page.all(".rate input")[0].send_keys(HOSTILE)
    page.click('[aria-label="turn 1 is neutral"]')
    assert "<img src=x" in page.text("#log") and page.browser.title == "TherapySim: be the therapist"
    assert not page.all("#log img") and not page.all("#log script")
    severe = [row["message"] for row in page.browser.get_log("browser") if row["level"] == "SEVERE"]
    assert severe == []


def test_what_cannot_be_done_is_told(page: Page, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"format": "something"}')
    page.one("#look").send_keys(str(wrong))
    page.until(lambda: page.one("#error").is_displayed())
    assert "no session, expected a JSON object" in page.text("#error")
    torn = tmp_path / "torn.json"
    torn.write_text("{")
    page.one("#look").send_keys(str(torn))
    page.until(lambda: "is no JSON" in page.text("#error"))


@pytest.mark.parametrize("width", [390, 1300])
def test_nothing_is_wider_than_the_screen_or_hard_to_reach(page: Page, width: int) -> None:
    axe = pytest.importorskip("axe_selenium_python").Axe(page.browser)
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    page.begin("marta", 3)
    page.say("What has this week been like for you?")
    page.say("Pull yourself together.")
    page.click('[aria-label="turn 2 is harmful"]')
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
    axe.inject()
    found = axe.run()["violations"]
    if shots := os.environ.get("SHOTS"):  # SHOTS=docs/pictures makes the page's pictures anew
        page.browser.execute_script("window.scrollTo(0, 0)")
        page.browser.get_full_page_screenshot_as_file if False else page.browser.save_screenshot(
            f"{shots}/play-{width}.png"
        )
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [f"{own['id']}: {own['help']}" for own in found if own["impact"] in ("serious", "critical")] == []

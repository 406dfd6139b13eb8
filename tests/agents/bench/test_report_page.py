"""The report's page in a browser: it asks for nothing, sorts, filters, and what was said in a session stays text."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.agents.bench.test_report import HOSTILE, grid, made, runs_of, write
from tests.parts.browser import chromium
from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.page import report_page
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import summarise
from therapysim.agents.bench.results import SessionResult

ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
#: How the page writes a lone surrogate, which no text of a browser's driver can carry.
WHOLE = [words.replace("\ud800", "\ufffd") for words in HOSTILE]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from chromium(1400, 1000)


def results() -> list[SessionResult]:
    """Two simulators, three policies; one session's therapist is hostile, one session failed."""
    said = made().turns[0]
    rows = [*grid("one", 2.0), *grid("two", -10.0), *grid("three", 100.0)]
    rows += [replace(row, simulator="llm", measures={**row.measures, "total": row["total"] - 7}) for row in rows]
    attack = [replace(said, therapist=words, shown=words, flags=("injection",), violations=("injection",),
                      acts=(words[:60],)) for words in WHOLE]  # fmt: skip
    rows[0] = replace(rows[0], persona="p0", opening=WHOLE[1], diagnosis=WHOLE[0], turns=tuple(attack))
    failed = replace(made("two", "p0", 9), failed=True, measures=dict.fromkeys(rows[0].measures, math.nan), turns=(),
                     failure=WHOLE[0])  # fmt: skip
    return [*rows, failed]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    runs = read_runs([write(folder, results(), {"turns": 4, "versions": {WHOLE[0]: WHOLE[1]}})])
    out = folder / "report.html"
    out.write_text(report_page(runs, summarise(runs)), encoding="utf-8")
    return out.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page, fresh; whatever a test does to it must leave the console empty and ask for nothing."""
    import json

    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(address)
    wait(browser, "#sessions[aria-busy=false]")
    yield browser
    assert browser.execute_script("return window.hacked === undefined")
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked[0] == address and all(url == address or url.startswith("data:") for url in asked)


def column(browser: Any, table: int, number: int) -> list[str]:
    """The first words of a column's cells in the page's n-th sortable table."""
    script = """return [...document.querySelectorAll("table.sortable")[arguments[0]].tBodies[0].rows]
        .map(row => (row.cells[arguments[1]].querySelector("b, a") ?? row.cells[arguments[1]]).textContent.trim())"""
    return list(browser.execute_script(script, table, number))


def send(browser: Any, *keys: str) -> Any:
    """Presses keys where the focus is, and tells where it is then."""
    browser.switch_to.active_element.send_keys(*keys)
    return browser.switch_to.active_element


def head(browser: Any, number: int) -> Any:
    return browser.find_elements("css selector", "table.sortable thead")[0].find_elements("css selector", "th")[number]


def press(browser: Any, element: Any) -> None:
    browser.execute_script("arguments[0].focus()", element)
    send(browser, ENTER)


def wait(browser: Any, selector: str) -> None:
    """The sessions are unpacked, and one is put in place, in the moment after they were asked for."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda b: b.find_elements("css selector", selector))


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-").replace(",", "")) for text in texts]


def choose(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("name", name)).select_by_visible_text(value)


def count(browser: Any) -> str:
    return str(browser.find_element("css selector", "#sessions .count").text)


def wait_for(browser: Any, told: str) -> None:
    """A choice made outside the filters is taken once the sessions are there."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda b: count(b) == told, f"{count(browser)!r}, expected {told!r}")


def sessions(browser: Any) -> list[str]:
    return list(
        browser.execute_script('return [...document.querySelectorAll(".session summary")].map(s => s.innerText)')
    )


def test_a_click_or_enter_on_a_head_sorts_by_number_both_ways(opened: Any) -> None:
    assert head(opened, 2).get_attribute("aria-sort") == "descending", "the board comes sorted by return"
    found = numbers(column(opened, 0, 2))
    assert found == sorted(found, reverse=True) and found[0] > 100 > 10 > found[1] > 0 > found[2]
    head(opened, 2).find_element("css selector", "button").click()
    assert numbers(column(opened, 0, 2)) == found[::-1]
    assert head(opened, 2).get_attribute("aria-sort") == "ascending"
    press(opened, head(opened, 0).find_element("css selector", "button"))
    assert column(opened, 0, 0) == ["one", "three", "two"]
    assert (head(opened, 0).get_attribute("aria-sort"), head(opened, 2).get_attribute("aria-sort")) == (
        "ascending",
        None,
    )
    press(opened, head(opened, 0).find_element("css selector", "button"))
    assert column(opened, 0, 0) == ["two", "three", "one"]


def test_a_cell_without_a_number_comes_last_either_way(opened: Any) -> None:
    button = head(opened, 3).find_element("css selector", "button")
    for _ in range(2):
        button.click()
        assert column(opened, 0, 3)[-1] == "–", "the reference has no difference to itself"


def test_one_simulator_is_shown_at_a_time(opened: Any) -> None:
    def shown() -> set[str]:
        panels = opened.find_elements("css selector", "[data-panel]")
        return {panel.get_attribute("data-panel") for panel in panels if panel.is_displayed()}

    assert shown() == {"scripted"} and count(opened) == "49 of 97 sessions"
    opened.find_element("css selector", ".switch input[value=llm]").click()
    assert shown() == {"llm"}
    wait_for(opened, "48 of 97 sessions")
    assert opened.find_element("id", "simulators").is_displayed()


def test_a_policys_name_and_its_row_lead_to_its_sessions(opened: Any) -> None:
    press(opened, opened.find_element("css selector", "#board a[data-policy=three]"))
    wait_for(opened, "16 of 97 sessions")
    assert all(" three with " in text.replace("\n", " ") for text in sessions(opened))
    assert opened.switch_to.active_element.get_attribute("id") == "sessions"
    cells = '#board [data-panel=scripted] tr:has(a[data-policy="one"]) td'
    opened.execute_script("arguments[0].click()", opened.find_element("css selector", cells))
    wait_for(opened, "16 of 97 sessions")
    assert " one with " in sessions(opened)[0].replace("\n", " ")


def test_sessions_are_filtered_and_ordered_by_return(opened: Any) -> None:
    choose(opened, "simulator", "any")
    assert count(opened) == "97 of 97 sessions" and len(sessions(opened)) == 40
    opened.find_element("css selector", ".more").click()
    assert len(sessions(opened)) == 80
    choose(opened, "policy", "two")
    choose(opened, "persona", "p0")
    assert count(opened) == "5 of 97 sessions"
    low = [text.split()[0] for text in sessions(opened)]
    choose(opened, "order", "highest return first")
    high = [text.split()[0] for text in sessions(opened)]
    assert low[-1] == high[-1] == "–", "a failed session has no return"
    assert numbers(low[:-1]) == sorted(numbers(low[:-1])) and high[:-1] == low[-2::-1]
    choose(opened, "seed", "1")
    assert count(opened) == "2 of 97 sessions"
    choose(opened, "ending", "patient failed")
    assert count(opened) == "0 of 97 sessions" and sessions(opened) == []


def test_what_was_said_stays_text(opened: Any) -> None:
    opened.find_element("name", "unsafe").click()
    assert count(opened) == "1 of 97 sessions"
    press(opened, opened.find_element("css selector", ".session summary"))
    wait(opened, ".session .numbers")
    opened.execute_script('document.querySelector(".session .numbers").open = true')
    words = opened.execute_script('return [...document.querySelectorAll(".talk .words")].map(w => w.textContent)')
    expected = [WHOLE[1]]
    for line in WHOLE:
        expected += [line, line, "Hm."]
    assert words == expected
    assert opened.find_elements("css selector", ".list img, .list script") == []
    assert opened.execute_script("return document.scripts.length") == 2
    assert WHOLE[0] in sessions(opened)[0]
    assert "violations injection" in opened.find_element("css selector", ".talk").text


def test_a_failed_session_says_why_as_text(opened: Any) -> None:
    choose(opened, "ending", "patient failed")
    assert count(opened) == "1 of 97 sessions"
    press(opened, opened.find_element("css selector", ".session summary"))
    wait(opened, ".talk .bad")
    told = opened.execute_script('return document.querySelector(".talk .bad b").textContent')
    warned = opened.execute_script('return document.querySelector(".warnings").textContent')
    assert told == WHOLE[0] and WHOLE[0] in warned


def test_a_lone_surrogate_reaches_the_page_as_it_was_said(browser: Any, tmp_path: Path) -> None:
    said = replace(made().turns[0], therapist="a\ud800b")
    runs = runs_of([made(turns=(said,))])
    (tmp_path / "x.html").write_text(report_page(runs, summarise(runs)), encoding="utf-8")
    browser.get((tmp_path / "x.html").as_uri())
    wait(browser, ".session")
    browser.execute_script('document.querySelector(".session").open = true')
    wait(browser, ".session .talk")
    script = (
        'return [...document.querySelectorAll(".talk .words")].map(w => [...w.textContent].map(c => c.codePointAt(0)))'
    )
    assert [97, 0xD800, 98] in browser.execute_script(script) or [97, 0xFFFD, 98] in browser.execute_script(script)


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_the_page_never_scrolls_sideways_as_a_whole(opened: Any, width: int, dark: bool) -> None:
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.find_element("name", "unsafe").click()
        opened.execute_script('for (const d of document.querySelectorAll("details")) d.open = true')
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        ink = opened.execute_script("return getComputedStyle(document.body).color")
        assert (int(ink.split("(")[1].split(",")[0]) > 128) is dark
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


#: Whatever takes a key, as far as it is shown.
CONTROLS = """const controls = [...document.querySelectorAll("button, select, input, a[href], summary, [tabindex='0']")]
    .filter(e => e.checkVisibility() && !e.disabled);"""


def test_every_control_has_a_name(opened: Any) -> None:
    opened.find_element("name", "unsafe").click()
    opened.execute_script('for (const d of document.querySelectorAll("details")) d.open = true')
    wait(opened, ".session .numbers")
    unnamed = """return controls.filter(e => !(e.getAttribute("aria-label") || e.textContent.trim()
        || e.closest("label")?.textContent.trim())).map(e => e.outerHTML)"""
    assert opened.execute_script(CONTROLS + unnamed) == []
    loose = """return [...document.querySelectorAll(".scroll, .words")]
        .filter(e => (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight)
            && !(e.tabIndex === 0 && e.getAttribute("aria-label"))).map(e => e.outerHTML.slice(0, 99))"""
    assert opened.execute_script(loose) == [], "what scrolls is reached by keyboard, and has a name"
    untold = """return [...document.querySelectorAll("table")].filter(t => !t.caption?.textContent
        || [...t.querySelectorAll("th")].some(h => !h.scope)).map(t => t.outerHTML.slice(0, 99))"""
    assert opened.execute_script(untold) == []
    doubles = """const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
        return ids.filter((id, i) => ids.indexOf(id) !== i)"""
    assert opened.execute_script(doubles) == []


def test_landmarks_and_groups_have_names_of_their_own(opened: Any) -> None:
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    kinds = ("region", "navigation", "form", "main", "banner", "complementary", "table")
    found = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    held = [(role, name) for role, name in found if role in kinds]
    assert {role for role, _ in held} == set(kinds) and len(held) == len(set(held)) > 20
    assert [role for role, name in held if not name] == [role for role, _ in held if role in ("banner", "main")]


def test_tab_reaches_every_control_in_the_order_of_the_page(opened: Any) -> None:
    opened.execute_script(CONTROLS + "controls.forEach((e, i) => e.dataset.place = i)")
    number = opened.execute_script(CONTROLS + "return controls.length")
    radios = opened.find_elements("css selector", ".switch input")
    opened.execute_script("document.activeElement.blur()")
    places = [int(send(opened, TAB).get_attribute("data-place")) for _ in range(number - len(radios) + 1)]
    # The arrow keys move between the radio buttons of a group: it is one stop.
    unreached = {int(radio.get_attribute("data-place")) for radio in radios[1:]}
    assert places == [place for place in range(number) if place not in unreached]


def told(browser: Any) -> list[str]:
    """Which tips are open."""
    script = "return [...document.querySelectorAll('.tip:popover-open')].map(t => t.textContent)"
    return list(browser.execute_script(script))


def test_what_a_column_is_is_told_to_keys_and_closed_by_escape(opened: Any) -> None:
    opened.execute_script("arguments[0].focus()", head(opened, 2).find_element("css selector", ".sort"))
    before = column(opened, 0, 2)
    help_ = send(opened, TAB)
    assert help_.accessible_name == "What return is" and told(opened) == []
    send(opened, ENTER)
    assert told(opened) == [f"return: {MEASURES['total'].meaning}"] and column(opened, 0, 2) == before
    assert opened.find_element("css selector", ".tip:popover-open").is_displayed()
    assert send(opened, ESCAPE) == help_ and told(opened) == []


def test_what_a_column_is_is_told_to_a_tap_and_read_aloud_with_the_head(opened: Any) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        button = head(opened, 1).find_element("css selector", ".help")
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        box = opened.execute_script("return arguments[0].getBoundingClientRect().toJSON()", button)
        assert min(box["width"], box["height"]) >= 24, "a finger hits it"
        for kind in ("touchStart", "touchEnd"):
            at = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}] if kind == "touchStart" else []
            opened.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        wait(opened, ".tip:popover-open")
        assert told(opened) == ["sessions: that did not fail"]
        edges = opened.execute_script("""const r = document.querySelector(".tip:popover-open").getBoundingClientRect();
            return [r.left, r.right]""")
        assert 0 <= edges[0] < edges[1] <= 390
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    described = {n["name"]["value"]: n["description"]["value"] for n in nodes if n.get("description", {}).get("value")}
    assert described["sessions"] == "sessions: that did not fail"


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_tables(browser: Any, address: str) -> None:
    lacking = {"source": "delete window.DecompressionStream"}
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", lacking)
    try:
        browser.get(address)
        wait(browser, "#sessions[aria-busy=false]")
        assert "cannot unpack the sessions" in count(browser) and "Firefox 113" in count(browser)
        assert not browser.find_element("css selector", ".filters").is_displayed() and sessions(browser) == []
        head(browser, 2).find_element("css selector", ".sort").click()
        assert head(browser, 2).get_attribute("aria-sort") == "ascending"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)

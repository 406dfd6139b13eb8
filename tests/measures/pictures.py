"""The README's pictures, from the board and one session: the report's page and a mood profile.

python -m tests.measures.pictures [FOLDER]; needs Debian's chromium and chromium-driver, and the extras report and dev.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from therapysim.cli.main import main

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1200, 788


def run(*arguments: object) -> None:
    """One command of therapysim, which must do well."""
    if status := main([str(argument) for argument in arguments]):
        raise SystemExit(status)


def take_report(work: Path, picture: Path) -> None:
    """The board at the top of the window, in light colours."""
    run("report", ROOT / "agents" / "bench" / "board", "--out", work / "report.html", "--reference", "neutral")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                     "--disable-dev-shm-usage", "--hide-scrollbars"):  # fmt: skip
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((work / "report.html").as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.find_elements("css selector", "#sessions[aria-busy=false]"))
    browser.execute_script('document.getElementById("board").scrollIntoView()')
    browser.save_screenshot(str(picture))
    browser.quit()


def draw_mood(work: Path, picture: Path) -> None:
    """One patient's session with the best scripted therapist."""
    run("bench", "attuned", "--split", "dev", "--patients", "kenji", "--seeds", 1, "--sessions", "--out", work / "run")
    run("profile", work / "run" / "sessions", "--out", picture, "--force")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        take_report(Path(temporary), folder / "report.png")
        draw_mood(Path(temporary), folder / "mood_profile.png")

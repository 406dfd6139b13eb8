"""Headless Chromium for tests of pages: it reaches this machine alone, and keeps its logs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NEEDED", "chromium"]

NEEDED = "the pages' tests need Debian's chromium and chromium-driver (apt-get install), and selenium (pip install)"


def chromium(width: int, height: int, downloads: Path | None = None) -> Iterator[Any]:
    """One browser, for a fixture to yield from; without one the tests are skipped, but not in CI.

    Args:
        width, height: of the window.
        downloads: where files go that a page offers.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None  # type: ignore[assignment]
    if not (browser and driver and webdriver):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NEEDED)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                     "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                     f"--window-size={width},{height}"):  # fmt: skip
        options.add_argument(argument)
    if downloads:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()

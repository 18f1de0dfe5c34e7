"""Each page of the site in headless Chromium: at desktop and phone width, light and dark."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.remote.command import Command

SITE = Path(os.environ["SIDECAR_SITE_FOLDER"])
PICTURES = os.environ.get("SIDECAR_SITE_PICTURES")
PAGES = sorted(path.parent.relative_to(SITE).as_posix() for path in SITE.glob("**/index.html"))
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
BRIGHT = 128
"""Between a light background and a dark one, of 255."""
WAIT_S = 60

LOADED = "return document.readyState === 'complete'"
FAULTS = """
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
return [
  ...(wide > 0 ? [`${wide} px wider than the window`] : []),
  ...[...document.images].filter((it) => !it.complete || it.naturalWidth === 0).map((it) => `no picture ${it.src}`),
  ...(document.querySelector("article h1") ? [] : ["no heading"]),
  ...(document.querySelector("article").textContent.includes("```") ? ["a fence that is no block of code"] : []),
  ...(document.querySelector("article").textContent.includes("\\\\|") ? ["an escaped bar"] : []),
  ...[...document.querySelectorAll("link[href], script[src], img[src]")]
    .map((it) => it.href || it.src).filter((it) => it.startsWith("http") && !it.startsWith(location.origin)
      && !["canonical", "prev", "next"].includes(document.querySelector(`[href="${it}"]`)?.rel)),
];
"""
BACKGROUND = """
const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number);
return (red + green + blue) / 3;
"""


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, *_: object) -> None:
        """Leave it out."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The site, served on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """One Chromium for all pages."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(shutil.which("chromedriver") or "chromedriver"))
    chrome.set_page_load_timeout(WAIT_S)
    try:
        yield chrome
    finally:
        chrome.quit()


def shown(browser: Chrome, url: str, size: str, scheme: str) -> None:
    """Open a page on a screen of this size and colour scheme."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(url)  # it returns once everything is loaded
    assert browser.execute_script(LOADED)


def complaints(browser: Chrome) -> list[str]:
    """Return the console's errors since the last call."""
    entries = browser.execute(Command.GET_LOG, {"type": "browser"})["value"]
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_loads_all_of_it_and_has_the_scheme(
    page: str, size: str, scheme: str, browser: Chrome, origin: str
) -> None:
    complaints(browser)  # those of the page before
    shown(browser, f"{origin}/{page}/", size, scheme)
    assert browser.execute_script(FAULTS) == []
    assert (browser.execute_script(BACKGROUND) > BRIGHT) == (scheme == "light")
    assert complaints(browser) == []
    if PICTURES:
        folder = Path(PICTURES)
        folder.mkdir(exist_ok=True)
        name = page.replace("/", "-").strip(".") or "index"
        browser.save_screenshot(str(folder / f"{name}-{size}-{scheme}.png"))

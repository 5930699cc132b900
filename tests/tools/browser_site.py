"""The site that `make site` has made, in a real browser: from a web server on loopback, and opened from its folder.

On every page: nothing is asked of another host, no request fails, the console has no error, pictures are there and
have a text, formulas are drawn, and a phone's width does not scroll sideways. The search finds, in both ways.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

from browser import PICTURES, headless, wait_for
from selenium import webdriver
from stored import ROOT

SITE = ROOT / "build" / "site"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
READY = """
if (document.readyState != "complete") return false;
return !document.querySelector(".math") || !!(window.MathJax && MathJax.startup && MathJax.startup.promise);
"""
TYPESET = """
const done = arguments[arguments.length - 1];
if (!document.querySelector(".math")) done(true);
else MathJax.startup.promise.then(() => done(true), error => done("" + error));
"""
SEEN = """
const pictures = [...document.querySelectorAll("article img")];
return {
  missing: pictures.filter(i => !(i.loading == "lazy" || (i.complete && i.naturalWidth > 0))).map(i => i.src),
  silent: pictures.filter(i => (i.alt || "").length < 20).map(i => i.src),
  formulas: document.querySelectorAll(".math").length,
  drawn: document.querySelectorAll("mjx-container").length,
  bad: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
};
"""
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOUND = "return [...document.querySelectorAll('#search-results li a, .search li a')].map(a => a.innerText)"


class Quiet(SimpleHTTPRequestHandler):
    """A web server that does not write down who asked for what."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def served() -> Iterator[str]:
    """The site from a web server; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def requests_gone_wrong(driver: webdriver.Chrome, host: str) -> list[str]:
    """What the last page asked for in vain, or of another host."""
    wrong = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        name, params = message["method"], message["params"]
        if name == "Network.requestWillBeSent":
            address = urlparse(params["request"]["url"])
            if address.scheme in ("http", "https", "ws", "wss") and address.netloc != host:
                wrong.append(f"asks another host: {params['request']['url']}")
        if name == "Network.responseReceived" and params["response"]["status"] >= 400:
            wrong.append(f"{params['response']['status']} for {params['response']['url']}")
        if name == "Network.loadingFailed" and not params.get("canceled"):
            wrong.append(f"a request failed: {params['errorText']}")
    return wrong


def look(driver: webdriver.Chrome, address: str) -> list[str]:
    """Open one page in a window and on a phone; what is wrong, in sentences."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get(address)
    wait_for(driver, READY, 60)
    driver.execute_async_script(TYPESET)
    seen = driver.execute_script(SEEN)
    wrong = requests_gone_wrong(driver, urlparse(address).netloc)
    wrong += [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    wrong += [f"a picture is missing: {source}" for source in seen["missing"]]
    wrong += [f"a picture has no text: {source}" for source in seen["silent"]]
    if seen["bad"] or seen["drawn"] < seen["formulas"]:
        wrong.append(
            f"{seen['drawn']} of {seen['formulas']} formulas are drawn, {seen['bad']} of them as errors"
        )
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    time.sleep(0.2)
    too_wide = driver.execute_script(SIDEWAYS)
    if too_wide > 0:
        wrong.append(f"a phone scrolls sideways by {too_wide} pixels")
    return wrong


def search(driver: webdriver.Chrome, site: str, word: str) -> list[str]:
    """What is wrong with what the search finds for a word."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get(f"{site}/search.html?q={word}")
    wait_for(driver, f"{FOUND}.length > 0", 30)
    time.sleep(1)
    found = driver.execute_script(FOUND)
    driver.get_log("performance")
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    time.sleep(0.2)
    if (too_wide := driver.execute_script(SIDEWAYS)) > 0:
        return [f"what the search for {word} finds scrolls sideways by {too_wide} pixels on a phone"]
    if not any(word.lower() in title.lower() or title[:1].isdigit() for title in found):
        return [f"the search for {word} finds {found}"]
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def take_pictures(driver: webdriver.Chrome, site: str) -> None:
    """The front page and a lecture: in a window, in the dark, and on a phone."""
    for name, page in (("front", "index"), ("lecture", "lectures/07_gpt"), ("reference", "reference/gpt")):
        for look_of in ("light", "dark", "phone"):
            size = PHONE if look_of == "phone" else {**PHONE, "width": 1300, "height": 1000, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if look_of == "dark" else "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            driver.get(f"{site}/{page}.html")
            wait_for(driver, READY, 60)
            driver.execute_script("window.scrollTo(0, arguments[0])", 2500 if name == "lecture" else 0)
            time.sleep(1.0)
            driver.save_screenshot(str(PICTURES / f"site_{name}_{look_of}.png"))


def check_site() -> list[str]:
    """Look at every page but those of the source; what is wrong, in sentences."""
    if not (SITE / "index.html").is_file():
        return ["there is no site in build/site: run make site"]
    pages = [path.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("*.html"))]
    pages = [page for page in pages if not page.startswith("_") and page != "search.html"]
    begun, wrong = time.monotonic(), []
    with served() as site, headless(("browser", "performance")) as driver:
        for page in pages:
            wrong += [f"{page}: {sentence}" for sentence in look(driver, f"{site}/{page}")]
        for word in ("softmax", "BPETokenizer", "Kneser"):
            wrong += search(driver, site, word)
        for page in ("index.html", "lectures/01_micrograd.html"):
            wrong += [
                f"{page}, from a folder: {sentence}" for sentence in look(driver, f"{SITE.as_uri()}/{page}")
            ]
        wrong += search(driver, SITE.as_uri(), "softmax")
        take_pictures(driver, site)
    print(
        f"site, {len(pages)} pages: {'; '.join(wrong) or 'green'} ({time.monotonic() - begun:.0f} s)",
        flush=True,
    )
    return wrong

"""`make browser`: all notebooks in JupyterLab by Run All, and the site, in a real browser.

A server on loopback with a token, a copy of the notebooks, a fresh kernel for each. After the run there is no error and
no stderr in any output, as many figures as are stored, formulas are drawn, no table or picture is wider than its cell,
and a slider that is moved changes what is below it. Nothing is downloaded, and nothing is written into the checkout but
the pictures in build/browser.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nbformat
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from stored import ROOT, SKIPPED, chosen, tags

PICTURES = ROOT / "build" / "browser"
# all cells stay in the page, so that they can be counted, and nothing is saved
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
OPEN = """
const done = arguments[arguments.length - 1], app = window.jupyterapp;
app.commands.execute("docmanager:open", {path: arguments[0], factory: "Notebook"}).then(async panel => {
  await panel.context.ready; await panel.context.sessionContext.ready; await panel.revealed;
  window.panel = panel; app.shell.activateById(panel.id); done(panel.content.widgets.length);
}).catch(error => done("error: " + error));
"""
# begun here and asked for later: an answer that takes two minutes would break the driver's connection
RUN_ALL = """
window.ended = null;
window.jupyterapp.commands.execute("notebook:run-all-cells").then(
  ok => { window.ended = {how: ok}; }, error => { window.ended = {how: "error: " + error}; });
"""
THEME = (
    "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]}).then(arguments[1])"
)
OUTPUTS = """
return window.panel.content.widgets.filter(cell => cell.model.type == "code").map(cell => ({
  count: cell.model.executionCount, source: cell.model.sharedModel.source,
  outputs: cell.model.outputs.toJSON().map(o => ({
    type: o.output_type, name: o.name, text: o.text || o.evalue || "", kinds: Object.keys(o.data || {})})),
}));
"""
DRAWN = """
const cells = [...window.panel.node.querySelectorAll(".jp-Cell")];
const wide = node => node.scrollWidth > node.clientWidth + 1;
return {
  figures: window.panel.node.querySelectorAll(".jp-OutputArea-output img").length,
  formulas: window.panel.node.querySelectorAll(".jp-MarkdownOutput mjx-container").length,
  bad_formulas: window.panel.node.querySelectorAll("mjx-merror, .MathJax_Error").length,
  unread: cells.filter(c => c.querySelector(".jp-MarkdownOutput")
                         && c.querySelector(".jp-MarkdownOutput").innerText.includes("$$")).length,
  cut: cells.filter(c => [...c.querySelectorAll(".jp-MarkdownOutput, .jp-RenderedImage")].some(wide))
            .map(c => c.innerText.slice(0, 60)),
};
"""


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """A JupyterLab server for the notebooks in a folder; yields its address, token included."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "settings"
    for name, content in SETTINGS.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--notebook-dir={folder / 'notebooks'}", f"--IdentityProvider.token={token}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    environment = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "w"),
    }
    with open(folder / "jupyter.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise RuntimeError("JupyterLab did not start:\n" + (folder / "jupyter.log").read_text()[-2000:])
        # a workspace of its own for each browser: no tabs of the others
        yield f"http://127.0.0.1:{port}/lab/workspaces/{{}}?token={token}"
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def headless(logs: tuple[str, ...] = ()) -> Iterator[webdriver.Chrome]:
    """A browser without a window; `logs` names what it writes down ("browser", "performance")."""
    options = webdriver.ChromeOptions()
    options.binary_location = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
    )
    flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-quic"
    flags += (
        " --disable-background-networking --disable-component-update --disable-sync --window-size=1300,1000"
    )
    for flag in flags.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def chromium(address: str) -> Iterator[webdriver.Chrome]:
    """A browser with JupyterLab loaded."""
    with headless() as driver:
        driver.set_script_timeout(600)
        driver.get(address)
        wait_for(driver, "return window.jupyterapp && window.jupyterapp.restored ? true : false", 60)
        driver.execute_async_script("window.jupyterapp.restored.then(arguments[0])")
        yield driver


def wait_for(driver: webdriver.Chrome, script: str, seconds: float, *arguments) -> None:
    """Until the script returns something true."""
    end = time.monotonic() + seconds
    while not driver.execute_script(script, *arguments):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {script}")
        time.sleep(0.2)


def check(path: Path, address: str) -> list[str]:
    """Open one notebook, run it, look at it; what is wrong, in sentences."""
    stored = nbformat.read(path, as_version=4)
    n_figures = sum("image/png" in o.get("data", {}) for c in stored.cells for o in c.get("outputs", []))
    with chromium(address.format(path.stem)) as driver:
        driver.execute_async_script(THEME, "JupyterLab Light")  # the last browser may have left the dark one
        opened = driver.execute_async_script(OPEN, path.name)
        if opened != len(stored.cells):
            return [f"{path.name}: opening gave {opened} instead of {len(stored.cells)} cells"]
        driver.execute_script(RUN_ALL)
        wait_for(driver, "return window.ended !== null", 600)
        finished = driver.execute_script("return window.ended.how")
        wait_for(driver, "return window.panel.sessionContext.session.kernel.status == 'idle'", 120)
        wrong = [] if finished is True else [f"Run All ended with {finished}"]
        cells = driver.execute_script(OUTPUTS)
        wrong += [
            f"a cell was not run: {cell['source'][:60]!r}"
            for cell in cells
            if cell["source"] and not cell["count"]
        ]
        for cell in cells:
            for output in cell["outputs"]:
                if output["type"] == "error" or output["name"] == "stderr":
                    wrong.append(f"{output['type']} in {cell['source'][:60]!r}: {str(output['text'])[:300]}")
        shown = sum("image/png" in output["kinds"] for cell in cells for output in cell["outputs"])
        wrong += moved_slider(driver, path, stored)
        n_dollars = sum(cell.source.count("$") for cell in stored.cells if cell.cell_type == "markdown")
        drawn = settled(driver, n_dollars // 5 if n_dollars > 20 else 0)
        if shown != n_figures or drawn["figures"] < n_figures:
            wrong.append(f"{shown} figures, {drawn['figures']} of them drawn; {n_figures} are stored")
        if drawn["bad_formulas"] or drawn["unread"] or drawn["missing"]:
            wrong.append(f"formulas not drawn: {drawn}")
        wrong += [f"cut at the right: {text!r}" for text in drawn["cut"]]
        take_pictures(driver, path.stem)
        driver.execute_async_script("window.panel.sessionContext.shutdown().then(arguments[0])")
    return [f"{path.name}: {sentence}" for sentence in wrong]


def settled(driver: webdriver.Chrome, n_formulas: int, seconds: float = 60) -> dict:
    """What is drawn, once the page is quiet: formulas are typeset late, and are wider until then."""
    end = time.monotonic() + seconds
    while True:
        time.sleep(2)
        drawn = driver.execute_script(DRAWN)
        drawn["missing"] = max(0, n_formulas - drawn["formulas"])
        if time.monotonic() > end or not any(drawn[key] for key in ("cut", "unread", "missing")):
            return drawn


def moved_slider(driver: webdriver.Chrome, path: Path, stored: nbformat.NotebookNode) -> list[str]:
    """Move the first slider of the last cell for playing, and see its picture or text change."""
    if not any(SKIPPED in tags(cell) for cell in stored.cells):
        return []
    look = """const area = document.querySelector(".widget-interact .jp-OutputArea, .widget-interact .widget-output");
    return area ? area.innerHTML.length + ":" + area.innerHTML.slice(-4000) : ""; """
    wait_for(driver, "return !!document.querySelector('.widget-interact .noUi-handle')", 60)
    handle = driver.find_element(By.CSS_SELECTOR, ".widget-interact .noUi-handle")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", handle)
    wait_for(driver, "return window.panel.sessionContext.session.kernel.status == 'idle'", 120)
    before = driver.execute_script(look)
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT):  # one of the two is not the end of the scale
        handle.send_keys(key)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if driver.execute_script(look) != before:
                driver.save_screenshot(str(PICTURES / f"{path.stem}_play.png"))
                return []
            time.sleep(0.2)
    return ["a slider was moved and nothing changed"]


def take_pictures(driver: webdriver.Chrome, stem: str) -> None:
    """The first page, three figures with what stands around them, and the last of them under the dark theme."""
    driver.execute_script("window.panel.node.querySelector('.jp-Cell').scrollIntoView({block: 'start'})")
    time.sleep(0.5)
    driver.save_screenshot(str(PICTURES / f"{stem}_1_first_page.png"))
    figures = driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output img")
    for number, figure in enumerate(figures[:: max(1, len(figures) // 3)][:3], start=2):
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
        time.sleep(0.5)
        driver.save_screenshot(str(PICTURES / f"{stem}_{number}_figure.png"))
    driver.execute_async_script(THEME, "JupyterLab Dark")
    time.sleep(1)
    driver.save_screenshot(str(PICTURES / f"{stem}_5_dark.png"))


def main(names: list[str]) -> int:
    """Check all notebooks and the site, or what is named: notebooks by their beginning, the site as `site`."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with ThreadPoolExecutor(1) as pool:  # the site, which mostly waits, is looked at beside the notebooks
        if not names or "site" in names:
            from browser_site import check_site

            found = pool.submit(check_site)
        if names != ["site"]:
            wrong += check_notebooks([name for name in names if name != "site"])
    if not names or "site" in names:
        wrong += found.result()
    return 1 if wrong else 0


def check_notebooks(names: list[str]) -> list[str]:
    """Two at a time; what is wrong, in sentences."""
    paths = chosen(names)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "notebooks", Path(folder) / "notebooks")
        with jupyter(Path(folder)) as address, ThreadPoolExecutor(2) as pool:
            start = time.monotonic()
            for path, found in zip(paths, pool.map(lambda path: check(path, address), paths), strict=True):
                print(
                    f"{path.name}: {'; '.join(found) or 'green'} ({time.monotonic() - start:.0f} s)",
                    flush=True,
                )
                wrong += found
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The page in a real browser, headless Chromium (Debian: chromium, chromium-driver): at both widths, light and dark.

Driven by chromedriver's own HTTP interface, https://www.w3.org/TR/webdriver2/ and its `goog/` extensions.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import wait_for
from report_artifacts import build_full, describe_job, describe_trial, describe_tuning, write_artifacts
from report_watched import build_watched, rule_status, write_aws_report

from dogbreed_cli import report
from dogbreed_cli.report.page import SECTIONS

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)
WIDTHS = (375, 1440)


class Browser:
    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]}
        asked = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.url += f"/session/{self.post('session', capabilities={'alwaysMatch': asked})['sessionId']}"

    def post(self, path: str, **body: Any) -> Any:
        answer = requests.post(f"{self.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()["value"]

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.post("goog/cdp/execute", cmd=command, params=parameters)

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.post("url", url=path.as_uri())
        wait_for(lambda: self.ask("document.readyState") == "complete")  # the driver does not always

    def ask(self, script: str) -> Any:
        return self.post("execute/sync", script=f"return {script}", args=[])

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.post("se/log", type="browser")]

    def requested(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.post("se/log", type="performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port))
        opened = Browser(port)
        yield opened
        requests.delete(opened.url, timeout=60)
    finally:
        driver.terminate()
        driver.wait(60)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A job with everything, one of 133 classes, one that left nothing, and two jobs side by side."""
    folder = tmp_path_factory.mktemp("pages")
    watched = build_watched(folder, DebugRuleEvaluationStatuses=[rule_status("Overfit", "NoIssuesFound")])
    classes = [f"{i:03}.Breed_with_a_long_name_{i}" for i in range(1, 134)]
    many = write_artifacts(folder / "many", classes=classes, images=10, epochs=30)
    write_aws_report(many)
    trials = [describe_trial(n % 60 + 1, 0.5 + n / 100) for n in range(40)]
    reason = "AlgorithmError: " + "/opt/ml/code/a/very/long/path/without/a/space" * 6
    built = {
        "everything": watched,
        "many": report.build(many, describe_job(), describe_tuning(), trials),
        "failed": report.build(folder / "no", describe_job(TrainingJobStatus="Failed", FailureReason=reason)),
    }
    found = {name: report.write(one, folder / "out" / name)["report.html"] for name, one in built.items()}
    compared = report.compare(build_full(folder / "other"), built["many"])
    return {**found, "compared": report.write_comparison(compared, folder / "out")["compare.html"]}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["everything", "many", "failed", "compared"])
def test_no_error_no_overflow_and_no_request(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.requested()
    browser.open(pages[name], width)
    assert browser.ask("window.innerWidth") == width
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.complaints() == []
    requested = browser.requested()
    assert requested and all(url.startswith("data:") or url == pages[name].as_uri() for url in requested)
    assert browser.ask("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("name", ["everything", "many", "failed"])
def test_every_section_is_there_and_says_something(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], WIDTHS[1])
    sections = browser.ask("[...document.querySelectorAll('section')].map(it => [it.id, it.innerText.length])")
    assert [one for one, _ in sections] == [one for one, _ in SECTIONS]
    assert all(length > 40 for _, length in sections)
    linked = browser.ask("[...document.querySelectorAll('nav a')].map(it => it.hash.slice(1))")
    assert linked == [one for one, _ in SECTIONS]


def test_everything_has_no_empty_part(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["everything"], WIDTHS[1])
    assert browser.ask("[...document.querySelectorAll('.nothing')].map(it => it.innerText)") == []
    assert browser.ask("document.querySelectorAll('.gallery img').length") == 21
    # What matplotlib drew lies within the picture: no label is cut off, and no legend sticks out.
    boxes = browser.ask("[...document.querySelectorAll('svg.chart')].map(it => [it.getBBox(), it.viewBox.baseVal])")
    assert len(boxes) == 17
    for drawn, picture in boxes:
        assert drawn["x"] >= -1 and drawn["x"] + drawn["width"] <= picture["width"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    browser.open(pages["everything"], WIDTHS[0], scheme)
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    for element in ("body", ".soft", "a", "thead th", ".n", "svg.chart text"):
        colour = browser.ask(
            f"(it => getComputedStyle(it)[it.closest('svg') ? 'fill' : 'color'])(document.querySelector('{element}'))"
        )
        assert contrast(colour, paper) >= 4.5, f"{element} is {colour} on {paper}"


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_keyboard_and_screen_reader(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["everything"], WIDTHS[0])
    assert browser.ask("[...document.querySelectorAll('.box')].every(it => it.tabIndex === 0 && it.ariaLabel)")
    assert browser.ask("[...document.images].every(it => it.alt)")
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    pictures = [node for node in nodes if node.get("role", {}).get("value") in ("img", "image")]
    assert len(pictures) > 21 and all(node["name"]["value"] for node in pictures if not node["ignored"])
    browser.devtools("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    assert browser.ask("document.activeElement.className") == "skip"


def test_it_prints(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["everything"], WIDTHS[1])
    assert len(browser.devtools("Page.printToPDF")["data"]) > 50_000

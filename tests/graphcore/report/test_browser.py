"""The page in headless Chromium, with the network off. Times and frames are printed (`pytest -s`), not judged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compiler.inspect.report_page import page
from compiler.text import parse

selenium = pytest.importorskip("selenium", reason="needs Selenium: pip install selenium")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs chromium and chromedriver on the path: apt-get install chromium chromium-driver",
    ),
]
MARKS = {
    "model": "Layers", "passes": "changed", "fusion": "Groups", "memory": "arena", "kernels": "Code",
    "profile": "By layer",
}  # fmt: skip
TABS = tuple(MARKS)
LONG = 5000

Browser = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Browser]]:
    """`opened(path)` shows a page; afterwards the console must be empty."""

    def show(path: Path, *, width: int = 1300, height: int = 900, dark: bool = False, scripts: bool = True) -> Browser:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        browser.get(f"{path.as_uri()}?{time.monotonic_ns()}")
        return browser

    browser.get_log("browser")
    yield show
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.get_log("browser") == []


def visible_text(driver: Browser, tab: str) -> str:
    driver.execute_script(f"document.getElementById('tab-{tab}').click()")
    return str(driver.find_element("css selector", "main").text)


@pytest.mark.parametrize("fixture", ["model_page", "graph_page"])
@pytest.mark.parametrize(("width", "dark"), [(1300, False), (400, True)])
def test_every_tab_shows_its_content_alone(
    opened: Callable[..., Browser], request: pytest.FixtureRequest, fixture: str, width: int, dark: bool
) -> None:
    driver = opened(request.getfixturevalue(fixture), width=width, dark=dark)
    for tab in TABS:
        text = visible_text(driver, tab)
        assert MARKS[tab] in text
        assert not any(other in text for name, other in MARKS.items() if name not in (tab, "passes", "memory"))
    # Nothing is wider than the window.
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    lightness = driver.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(lightness) < 80) == dark
    times = driver.execute_script("const n = performance.getEntriesByType('navigation')[0]; return n.loadEventEnd")
    print(f"{fixture} opened in {times:.0f} ms")


def test_nothing_that_came_from_names_has_run(opened: Callable[..., Browser], graph_page: Path) -> None:
    driver = opened(graph_page)
    for tab in TABS:
        assert visible_text(driver, tab)
    assert driver.execute_script("return document.querySelectorAll('main script:not([type]), img').length") == 0


def test_the_toggle_overrides_the_system_and_is_kept(opened: Callable[..., Browser], model_page: Path) -> None:
    driver = opened(model_page, dark=False)
    button = driver.find_element("id", "theme")
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(paper)
    assert button.text == "Theme: system"
    button.click()
    assert (button.text, driver.execute_script(paper)) == ("Theme: light", light)
    button.click()
    assert button.text == "Theme: dark"
    assert driver.execute_script(paper) != light
    button.click()
    assert driver.execute_script(paper) == light


def test_tabs_and_the_drawing_answer_to_keys(opened: Callable[..., Browser], model_page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = opened(model_page)
    tab = driver.find_element("id", "tab-model")
    driver.execute_script("arguments[0].focus()", tab)
    tab.send_keys(Keys.ARROW_RIGHT)
    assert driver.switch_to.active_element.get_attribute("id") == "tab-passes"
    assert driver.find_element("id", "passes").is_displayed()
    assert not driver.find_element("id", "model").is_displayed()
    driver.switch_to.active_element.send_keys(Keys.HOME)
    driver.find_element("id", "fold-all").click()
    (block,) = driver.find_elements("css selector", "#drawing g[data-block]")
    before = int(driver.find_element("id", "drawing").get_attribute("data-boxes"))
    driver.execute_script("arguments[0].focus()", block)
    block.send_keys(Keys.ENTER)
    assert driver.find_elements("css selector", "#drawing [data-close]")
    assert int(driver.find_element("id", "drawing").get_attribute("data-boxes")) == before
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert driver.switch_to.active_element.tag_name == "g"


def test_a_value_is_marked_where_it_is_made_and_used(opened: Callable[..., Browser], graph_page: Path) -> None:
    driver = opened(graph_page)
    listing = driver.find_element("id", "listing-optimized")
    value = listing.find_element("css selector", ".line:not(:first-child) b")
    value.click()
    assert listing.find_elements("css selector", ".line.def")
    assert listing.find_elements("css selector", ".line.use")
    assert "made in line" in driver.find_element("css selector", "[data-status=optimized]").text


def test_a_kernel_opens_with_its_ir_and_instructions(opened: Callable[..., Browser], model_page: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    driver = opened(model_page)
    visible_text(driver, "kernels")
    details = driver.find_element("css selector", "details.kernel")
    details.find_element("tag name", "summary").click()
    panes = details.find_element("css selector", ".panes")
    WebDriverWait(driver, 10).until(lambda _: panes.get_attribute("data-state") == "ready")
    WebDriverWait(driver, 10).until(lambda _: all(pane.text for pane in panes.find_elements("class name", "pane")))
    source, llvm, assembly = (pane.text for pane in panes.find_elements("class name", "pane"))
    assert "def " in source
    assert "ModuleID" in llvm or "define" in llvm or "source_filename" in llvm
    assert ".text" in assembly or ".file" in assembly or ".section" in assembly


def test_without_scripts_everything_is_there_as_text(opened: Callable[..., Browser], model_page: Path) -> None:
    driver = opened(model_page, scripts=False)
    text = driver.find_element("css selector", "body").text
    for mark in ("Layers", "fuse", "Groups", "The arena takes", "By layer", "graph train_step {"):
        assert mark in text
    details = driver.find_element("css selector", "details.kernel")
    details.find_element("tag name", "summary").click()
    assert "def kernel" in details.text
    assert "Theme:" not in text


def test_a_listing_of_5000_nodes_keeps_few_lines_in_the_page(
    opened: Callable[..., Browser], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f'  %{i + 1}: f32[batch,64] = exp(%{i}) @"layer_{i}"' for i in range(LONG)]
    text = "\n".join(["graph long {", '  input %0 "x": f32[batch,64]', *lines, f'  return "y"=%{LONG}', "}\n"])
    assert len(parse(text).nodes) == LONG
    monkeypatch.setattr(page, "_listings", lambda subject: [{"id": "optimized", "title": "Long", "text": text}])
    from compiler.inspect import report

    path = tmp_path / "long.html"
    report(parse('graph g {\n input %0 "x": f32[4]\n %1: f32[4] = exp(%0)\n return "y"=%1\n}'), path, measure=False)
    driver = opened(path)
    listing = driver.find_element("id", "listing-optimized")
    assert f"{LONG + 4:,} lines" in driver.find_element("id", "model").text
    driver.set_script_timeout(60)
    frames = driver.execute_async_script(SCROLL, listing)
    print(f"opened in {driver.execute_script(LOADED):.0f} ms; longest of {len(frames)} frames {max(frames):.0f} ms")
    assert len(frames) > 60
    assert driver.execute_script("return arguments[0].querySelectorAll('.line').length", listing) < 200
    assert f"{LONG + 4}" in listing.text  # the number of the last line
    find = driver.find_element("css selector", "[data-find=optimized]")
    find.send_keys("layer_2500\n")
    assert "layer_2500" in listing.find_element("css selector", ".line.here").text


def test_pages_of_whole_models(opened: Callable[..., Browser], large_page: Path) -> None:
    driver = opened(large_page)
    print(f"{large_page.stem} opened in {driver.execute_script(LOADED):.0f} ms", end="")
    for tab, mark in MARKS.items():
        assert mark in visible_text(driver, tab)
    assert int(driver.find_element("id", "drawing").get_attribute("data-boxes")) <= 150
    visible_text(driver, "model")
    driver.set_script_timeout(60)
    frames = driver.execute_async_script(SCROLL, driver.find_element("id", "listing-optimized"))
    print(f", longest of {len(frames)} frames {max(frames):.0f} ms")


LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
SCROLL = """
const root = arguments[0], done = arguments[1], frames = [], end = root.scrollHeight;
let last = performance.now();
function step(now) {
  frames.push(now - last); last = now;
  root.scrollTop += end / 120;
  if (root.scrollTop + root.clientHeight < root.scrollHeight - 1 && frames.length < 1000) requestAnimationFrame(step);
  else requestAnimationFrame(() => requestAnimationFrame(() => done(frames.slice(1))));
}
requestAnimationFrame(step);
"""

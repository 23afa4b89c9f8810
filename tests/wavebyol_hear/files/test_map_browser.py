"""The map in a real Chromium, opened from file://: at 390 and 1,280 pixels, by mouse and by keys.

Skipped where no Chromium or no playwright is: CI has neither. To run it: apt-get install chromium;
pip install playwright.
"""

import shutil
import time
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from wavebyol_hear.files.map import audio_uris, page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
FLAGS = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
NAMES = ["a #1?.wav", "b%20.wav", "<img src=x onerror=document.title='hacked'>.wav", "gone.wav"]
X, Y = [0.0, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 0.0]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A map of four clips, one of which is gone."""
    folder = tmp_path_factory.mktemp("a map")
    paths = []
    for index, name in enumerate(NAMES):
        path = folder / f"kind {index % 2}" / name
        path.parent.mkdir(exist_ok=True)
        paths.append(str(path))
        if name != "gone.wav":
            with wave.open(paths[-1], "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                tone = 3000 * np.sin(np.arange(48_000) * 0.1 * (index + 1))
                file.writeframes(tone.astype("<i2").tobytes())
    table: dict[str, list[Any]] = {"path": paths, "start": [1.0] * 4, "end": [2.0] * 4}
    out = folder / "map.html"
    groups = ["kind 0", "kind 1", "kind 0", "kind 1"]
    uris = audio_uris(table["path"], out)
    text = page(table, np.stack([X, Y], 1), groups, uris, caption="4 clips", color="folder")
    out.write_text(text, "utf-8")
    return out.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[390, 1280])
def tab(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page at a width; whatever it complains of fails the test."""
    context = browser.new_context(viewport={"width": request.param, "height": 844})
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("html[data-ready]")
    yield tab
    context.close()
    assert complaints == []


def click(tab: Any, index: int) -> None:
    x, y = tab.evaluate(f"position({index})")
    tab.locator("#plot").click(position={"x": x + 1, "y": y + 1})


def wait_for(tab: Any, condition: str) -> None:
    """Ask until it is so; the page's policy forbids playwright's own way, which evaluates text."""
    end = time.monotonic() + 10
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(20)


def test_nothing_lies_outside_the_page(tab: Any) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    box = tab.locator("#plot").bounding_box()
    assert box["width"] > 300
    assert box["y"] + box["height"] < 844, "the whole map is in sight"


def test_a_point_plays_its_part_of_the_file_when_it_is_clicked(tab: Any) -> None:
    for index in (0, 1, 2):
        click(tab, index)
        assert tab.locator("#name").text_content().endswith(NAMES[index])
        wait_for(tab, "!player.paused && player.currentTime >= 1")
        assert tab.locator("#trouble").text_content() == ""
    assert tab.title() == "Map of 4 clips", "the third name ran nothing"
    wait_for(tab, "player.paused && player.currentTime >= 1.9 && player.currentTime < 2.5")


def test_a_file_that_is_gone_says_so(tab: Any) -> None:
    click(tab, 3)
    assert "no such file" in tab.locator("#trouble").text_content()
    click(tab, 0)
    assert tab.locator("#trouble").text_content() == ""


def test_keys_choose_and_play(tab: Any) -> None:
    tab.locator("#plot").focus()
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate("chosen") == 0
    tab.keyboard.press("Enter")
    wait_for(tab, "!player.paused")
    tab.keyboard.press(" ")
    wait_for(tab, "player.paused")
    tab.keyboard.press("ArrowUp")
    assert tab.evaluate("chosen") == 2
    tab.keyboard.press("+")
    assert tab.evaluate("view.scale") == 1.5
    x, y = tab.evaluate("position(chosen)")
    box = tab.locator("#plot").bounding_box()
    assert 0 < x < box["width"]
    assert 0 < y < box["height"]
    tab.keyboard.press("0")
    assert tab.evaluate("view.scale") == 1


def test_names_are_found_and_groups_hidden(tab: Any) -> None:
    tab.locator("#find").fill("B%2")
    tab.locator("#matches button").click()
    assert tab.evaluate("chosen") == 1
    tab.locator("#find").fill("nothing like it")
    assert tab.locator("#matches").text_content() == "no such name"
    button = tab.locator("#legend button").first
    assert button.text_content() == "kind 02"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    x, y = tab.evaluate("position(0)")
    assert tab.evaluate(f"nearest({x}, {y}, 14)") == -1
    button.click()
    assert tab.evaluate(f"nearest({x}, {y}, 14)") == 0


def test_every_control_has_a_name_and_a_touchable_size(tab: Any) -> None:
    for control in tab.locator("button, input").all():
        name = control.get_attribute("aria-label") or control.text_content()
        assert name or control.get_attribute("id") == "find"
        assert control.bounding_box()["height"] >= 40


def test_colors_follow_the_reader_s_scheme(tab: Any) -> None:
    light = tab.evaluate("colors.join()")
    tab.emulate_media(color_scheme="dark")
    wait_for(tab, f"colors.join() !== {light!r}")
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(21, 23, 26)"

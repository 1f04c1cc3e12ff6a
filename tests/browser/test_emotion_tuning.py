"""The emotion notebook in real JupyterLab and Voila, as a person uses it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT, LabPage, VoilaPage, serving
from playwright.sync_api import Page

NOTEBOOK = "2_emotion_tuning.ipynb"
SHORT = "Good morning. The train was late again."
LONG = "The morning train was late again, and nobody on the platform seemed to mind at all."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("notebooks")
    shutil.copyfile(ROOT / "notebooks" / NOTEBOOK, made / NOTEBOOK)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    with serving("lab", folder, "--folder", str(folder)) as address:
        yield address


def playing(page: LabPage | VoilaPage) -> bool:
    """Whether a player says that it can be paused."""
    return page.page.locator(".qwen-audio-player").get_by_role("button", name="Pause").count() > 0


def test_a_person_tunes_an_emotion_in_jupyterlab(lab: str, folder: Path, window: Page) -> None:
    window.set_viewport_size({"width": 1280, "height": 1500})
    page = LabPage(window).open(lab, NOTEBOOK)
    choice = page.page.locator(".jp-Dialog", has_text="Select Kernel")
    if choice.count():  # on a busy machine the page asks before the server has told which kernels there are
        choice.locator("button.jp-mod-accept").click()
        page.wait_idle()
    page.run_all_and_wait()
    page.wait_text(re.compile("^custom_voice model, size pocket"))

    # Typing is linted as it goes, and a click puts a better wording in place.
    page.type("Instruction", "very sadly")
    page.wait_text(re.compile("“sadly” is a mood or a role"))
    page.click("Fix all")
    page.wait_until(lambda: "slower" in page.control("Instruction").input_value(), "a better wording")

    # The forecast follows the slider.
    before = page.page.get_by_text(re.compile("^forecast .* of ")).first.inner_text()
    page.slide("Chunk size in frames", -6)
    page.wait_until(
        lambda: page.page.get_by_text(re.compile("^forecast .* of ")).first.inner_text() != before, "the forecast moves"
    )

    # Sound starts while the rest is being made; both clips are there in the end, and all of it was received.
    page.type("Text", SHORT)
    page.page.get_by_label("Speak", exact=True).first.select_option("without and with the instruction")
    page.click("Speak")
    page.wait_text(re.compile("^Take 1 of 2: "))
    page.wait_until(lambda: playing(page), "it sounds")
    assert page.button("Cancel").first.is_enabled()
    page.wait_text(re.compile("^Done in"))
    page.wait_until(lambda: page.page.locator("a.qwen-audio-save[href]").count() >= 2, "both can be saved")
    assert 1 < page.sound(0)["seconds"] < page.sound(1)["seconds"] < 10
    page.page.locator(".widget-image[src]").first.wait_for()
    page.wait_text("median pitch, Hz")
    page.page.locator(".widget-image[src]").first.scroll_into_view_if_needed()
    page.screenshot("emotion-compare-light")

    # Cancel stops, and the notebook goes on.
    page.type("Text", LONG)
    page.page.get_by_label("Speak", exact=True).first.select_option("the instruction")
    page.click("Speak")
    page.wait_text(re.compile("^Take 1 of 1: "))
    page.page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.wait_text("Stopped", timeout_s=5)

    # Blind: the order is told after the scores only; the score lies in the book that is saved.
    page.page.get_by_role("tab", name="Blind listening").click()
    page.click("Begin")
    page.wait_until(lambda: page.button("Reveal").is_disabled() and page.button("Reveal").is_visible(), "hidden")
    assert page.page.get_by_text(re.compile("^Sound 1 was")).count() == 0
    for at in (0, 1):
        page.page.get_by_role("button", name=str(4 - at), exact=True).nth(at).click()
    page.click("sound 1")
    page.wait_until(lambda: page.button("Reveal").is_enabled(), "all is scored")
    page.screenshot("emotion-blind-light")
    page.click("Reveal")
    page.wait_text(re.compile("^Sound 1 was [AB]: .* \\(score 4\\)"))
    page.page.get_by_role("tab", name="Prompt book").click()
    page.click("Save")
    page.wait_text(re.compile("^Saved as .*emotion.yaml"))
    assert "preferences:\n- better:" in (folder / "emotion.yaml").read_text(encoding="utf-8")

    # The effect test refuses to lose the scores of another text; with progress, and stopped.
    page.page.get_by_role("tab", name="Effect test").click()
    page.slide("Seeds", -5)
    page.click("Run the test")
    page.wait_text("the prompt book on this page is of another text or model")
    page.type("Text", SHORT)
    page.click("Run the test")
    page.wait_text(re.compile(r"^\d+ of \d+ trials$"))
    page.page.get_by_role("button", name="Cancel", exact=True).nth(1).click()
    page.wait_until(lambda: page.page.get_by_text("Stopped", exact=True).count() >= 1, "the test has stopped")

    page.click("中文")
    page.page.get_by_role("tab", name="效果检验").wait_for()
    page.theme("dark")
    page.page.wait_for_timeout(1000)  # the change is drawn over the page for a moment
    page.screenshot("emotion-dark-zh")
    page.check_clean()


def test_a_person_tunes_an_emotion_in_voila(folder: Path, window: Page) -> None:
    with serving("app", folder, str(folder / NOTEBOOK)) as address:
        page = VoilaPage(window).open(address)
        page.wait_text(re.compile("^custom_voice model, size pocket"))
        page.type("Text", "Good morning.")
        page.click("Speak")
        page.wait_text(re.compile("^Done in"))
        page.wait_until(lambda: page.page.locator("a.qwen-audio-save[href]").count() >= 1, "it can be saved")
        assert 0.3 < page.sound(0)["seconds"] < 6
        page.page.locator(".widget-image[src]").first.wait_for()
        page.screenshot("emotion-voila")
        page.check_clean()

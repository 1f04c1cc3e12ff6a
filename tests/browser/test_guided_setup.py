"""The guided setup as a person uses it: seven steps, heard and written, left and resumed, in two languages."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from harness import ROOT, LabPage, NotebookPage, VoilaPage, serving
from playwright.sync_api import Page

NOTEBOOK = "1_guided_setup.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("setup")
    shutil.copy(ROOT / "notebooks" / NOTEBOOK, made)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    with serving("lab", folder, "--folder", str(folder)) as address:
        yield address


def turn(page: LabPage, theme: str) -> None:
    """Change the theme and wait until the page is there again."""
    page.theme(theme)
    page.page.locator("#jupyterlab-splash").wait_for(state="detached")


def step(page: NotebookPage, name: str) -> bool:
    """Whether a step's button can be pressed."""
    return page.page.get_by_role("button", name=re.compile(rf"[✓\d] {name}$")).first.is_enabled()


def check_machine(page: NotebookPage) -> None:
    page.click("Check this machine")
    page.wait_text(re.compile(r"^Support: "), timeout_s=60)


def test_a_person_sets_up_in_jupyterlab(lab: str, folder: Path, window: Page) -> None:
    page = LabPage(window).open(lab, NOTEBOOK)
    page.run_all_and_wait()
    page.wait_text("Check this machine")
    assert not (folder / "my-voice").exists()
    assert not step(page, "Python and service")

    # 1: lights with reason and fix, and a second look.
    check_machine(page)
    page.screenshot("setup-1-machine")
    page.page.locator('button[title="Check again: Free disk"]').click()
    page.wait_text(re.compile(r"^Done in"))
    page.wait_until(lambda: step(page, "Python and service"), "the second step is unlocked")
    assert not step(page, "Model")

    # 2: a folder that is none is told in a box; then this Python is kept.
    page.click("Next step")
    page.type("Service folder", "no/such/service")
    page.page.keyboard.press("Tab")
    page.click("Look at these")
    page.wait_text("Rule: usage-error")
    page.click("Keep this Python")
    page.wait_text(re.compile(r"^The start script will use"))

    # 3: the models weighed; the pocket voice is whole.
    page.click("Next step")
    page.wait_text("← suits this machine", timeout_s=60)
    page.click("Get and verify")
    page.wait_text(re.compile(r"^pocket is whole"), timeout_s=60)
    page.screenshot("setup-3-model")

    # 4 and 5: a reason, and a forecast that moves.
    page.click("Next step")
    page.wait_text(re.compile(r"^float32: a CPU computes|^bfloat16: compute"))
    page.click("Take these")
    page.click("Next step")
    before = page.wait_text(re.compile(r"^fits: [\d.]+ GB")).inner_text()
    page.slide("max_text_length (characters)", -5)
    page.wait_until(
        lambda: page.page.get_by_text(re.compile(r"^fits: [\d.]+ GB")).first.inner_text() != before, "the bar moves"
    )
    page.screenshot("setup-5-limits")
    page.click("Take these")

    # 6: it is heard, and what it took is told.
    page.click("Next step")
    page.type("Text", "The lamp glows.")
    page.page.keyboard.press("Tab")
    page.click("Speak")
    page.wait_text(re.compile(r"^Time: "), timeout_s=90)
    page.wait_until(lambda: page.sound()["seconds"] > 0.4, "the player holds it")
    page.screenshot("setup-6-sentence")

    # Left and resumed: the page is loaded again and the kernel restarted; the language switched.
    page.restart_kernel()
    page.run_all_and_wait()
    page.wait_text(re.compile(r"^6 of 7 steps are done"))
    page.click("中文")
    page.wait_text("写入 config.yaml")
    turn(page, "dark")
    page.screenshot("setup-7-dark-zh")
    page.click("English")

    # 7: written.
    page.click("Write config.yaml")
    page.wait_text(re.compile(r"^Written: "), timeout_s=60)
    config = yaml.safe_load((folder / "my-voice" / "config.yaml").read_text(encoding="utf-8"))
    assert (config["model"], config["max_text_length"], config["speaker"]) == ("pocket", 30, "serena")
    assert (folder / "my-voice" / "speak.sh").stat().st_mode & 0o100
    turn(page, "light")
    page.screenshot("setup-7-summary")
    page.check_clean()


def test_a_person_begins_in_voila(folder: Path, window: Page) -> None:
    shutil.rmtree(folder / "my-voice", ignore_errors=True)
    with serving("app", folder, str(folder / NOTEBOOK)) as address:
        page = VoilaPage(window).open(address)
        began = time.monotonic()
        check_machine(page)
        assert time.monotonic() - began < 60
        page.wait_until(lambda: step(page, "Python and service"), "the second step is unlocked")
        page.screenshot("setup-voila")
        page.click("中文")
        page.wait_text("检查本机")
        page.check_clean()

"""The notebooks of diagnosis and live card in real JupyterLab and Voila, as a person uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from harness import LabPage, VoilaPage, serving
from playwright.sync_api import Page

OOM = """Traceback (most recent call last):
  File "vocoder.py", line 210, in decode
    x = self.conv_post(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.65 GiB. GPU 0 has a total capacity of 15.99 GiB
"""
WORDS = "short sentences work, a whole chapter at once runs out of memory"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("notebooks")
    service = made / "service"
    service.mkdir()
    (service / "config.yaml").write_text("# mine\nmax_text_length: 5000  # characters\naudio_chunk_size: 300\n")
    (made / "app.log").write_text(OOM)
    times = np.arange(48_000) / 24_000
    sound = sum(np.sin(2 * np.pi * 150 * part * times) / part for part in range(1, 9)) * (1 + np.sin(9 * times))
    sound[20_000:23_000] = 0
    soundfile.write(made / "bad.wav", np.clip(1.2 * sound, -1, 1), 24_000, subtype="PCM_16")
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    with serving("lab", folder, "--folder", str(folder)) as address:
        yield address


def opened(lab: str, window: Page, name: str) -> LabPage:
    """A notebook that has run; a slow JupyterLab asks for the kernel, and offers the right one."""
    page = LabPage(window, 60.0).open(lab, name)
    choose = page.page.locator(".jp-Dialog button.jp-mod-accept", has_text="Select")
    for _ in range(8):
        page.page.wait_for_timeout(250)
        if choose.count():
            choose.click()
            choose.wait_for(state="detached")
            page.wait_idle()
            break
    page.run_all_and_wait()
    return page


def test_from_a_dropped_log_to_solved(lab: str, folder: Path, window: Page) -> None:
    page = opened(lab, window, "3_symptom_diagnosis.ipynb")
    page.button("Find the cause").wait_for()

    # Nothing given is a box with a fix, not a traceback.
    page.click("Find the cause")
    page.wait_text(re.compile("^nothing to diagnose"))

    page.type("In your words:", WORDS)
    zone = page.page.locator(".qwen-audio-drop").first
    page.drop(zone, folder / "app.log")
    page.wait_text("• app.log (log)")
    page.type("Path on this machine:", str(folder / "service"))
    page.page.keyboard.press("Tab")
    page.click("Find the cause")
    page.wait_text("Rule: long-text-memory")
    page.wait_text(re.compile("^To tell long-text-memory from vram-growth"))
    page.page.locator(".qwen-audio-finding").first.scroll_into_view_if_needed()
    page.screenshot("diagnosis-findings")

    # An answer goes back in.
    page.click("no, only with a long text")
    page.page.get_by_text("To tell long-text-memory from vram-growth").first.wait_for(state="detached")
    page.wait_text("Rule: long-text-memory")

    # Copy, then the change: shown, confirmed, written beside its copy.
    page.click("Copy")
    page.wait_text("Copied")
    page.wait_text("-max_text_length: 5000 # characters")
    page.click("Apply this change")
    page.wait_text(re.compile("^This writes"))
    page.screenshot("diagnosis-change")
    assert "5000" in (folder / "service" / "config.yaml").read_text()
    page.click("Yes, write it")
    page.wait_text(re.compile("the copy is config.yaml.bak"))
    assert "max_text_length: 300  # characters" in (folder / "service" / "config.yaml").read_text()

    page.type("New log:", "INFO spoke 1200 characters in 4 parts")
    page.page.keyboard.press("Tab")
    page.click("Check again")
    page.wait_text(re.compile("^Solved: long-text-memory"))
    page.screenshot("diagnosis-solved")

    # A recording: its faults are marked, and one hears them.
    page.click("Clear all")
    page.choose(page.page.locator(".qwen-audio-drop input").first, folder / "bad.wav")
    page.wait_text("• bad.wav (recording)")
    page.click("Find the cause")
    fault = page.page.get_by_role("button", name=re.compile(r"^clipping at \d")).first
    fault.wait_for()
    picture = page.page.locator("img[src^='blob:']").first
    page.wait_until(lambda: picture.evaluate("(image) => image.naturalWidth") > 400, "the picture is there")
    fault.click()
    page.page.get_by_role("button", name="Pause").first.wait_for()
    picture.scroll_into_view_if_needed()
    page.screenshot("diagnosis-sound")

    page.theme("dark")
    page.click("中文")
    page.button("查找原因").wait_for()
    page.wait_text(re.compile("^听出的故障"))
    page.screenshot("diagnosis-dark-zh")
    page.check_clean()


def test_the_live_card(lab: str, window: Page) -> None:
    page = opened(lab, window, "4_live_gpu.ipynb")
    page.control("What to watch:").select_option(label="Example: too hot, slowed down")
    page.wait_text(re.compile("^(There is no NVIDIA card here|An example, made up)"))
    page.click("Start watching")
    page.screenshot("live-started")
    page.wait_text("Rule: thermal-power-throttle", timeout_s=60)
    picture = page.page.locator("img[src^='blob:']").first
    before = picture.get_attribute("src")
    page.wait_until(lambda: picture.get_attribute("src") != before, "the picture is drawn anew")
    picture.scroll_into_view_if_needed()
    page.screenshot("live-hot")
    page.page.get_by_role("button", name="Stop", exact=True).and_(page.page.locator(":enabled")).first.click()
    page.page.get_by_text("Stopped").first.wait_for()
    page.theme("dark")
    page.screenshot("live-dark")
    page.check_clean()


def test_both_in_voila(folder: Path, window: Page) -> None:
    with serving("app", folder, str(folder / "3_symptom_diagnosis.ipynb")) as address:
        page = VoilaPage(window).open(address)
        page.drop(page.page.locator(".qwen-audio-drop").first, folder / "app.log")
        page.wait_text("• app.log (log)")
        page.click("Find the cause")
        page.wait_text(re.compile("Rule: "))
        page.wait_text(re.compile("14.65 GiB"))
        page.screenshot("diagnosis-voila")
        page.check_clean()

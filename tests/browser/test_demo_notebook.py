"""Jobs, player, error box and language switch in real JupyterLab and Voila, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import LabPage, VoilaPage, serving, write_notebook
from playwright.sync_api import Page

CELLS = (
    """
from ipywidgets import IntSlider, Text, VBox
from toolkit.widgets.controls import PlainText, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Worker
from toolkit.widgets.languages import language_switch, shared_texts
from toolkit.widgets.player import Player

texts = shared_texts()
worker = Worker.named("demo")
player = Player(title="demo")
pieces = IntSlider(value=9, min=1, max=400, description="Pieces")
task = Text(value="browser_tasks:tone", description="Task")
heard = PlainText()


def begin():
    player.begin(24_000)
    return worker.run(task.value, pieces=pieces.value)


def on_change(change):
    for part in change.partials:
        player.feed(part.value)


def on_end(job):
    if job.state == "done":
        player.finish()


def tell(_):
    heard.text = f"{player.state} {player.received_samples} {player.played_samples} {player.gaps} {player.peak:.2f}"


player.observe(tell)
view = JobView(worker, begin, on_change=on_change, on_end=on_end)
VBox([language_switch(), task, pieces, view, player, heard])
""",
    "joined = view.join()",
)
HEARD = re.compile(r"^(\w+) (\d+) (\d+) (\d+) (\d\.\d\d)$")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("notebooks")
    write_notebook(made / "demo.ipynb", *CELLS)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    with serving("lab", folder, "--folder", str(folder)) as address:
        yield address


def heard(page: LabPage | VoilaPage) -> tuple[str, int, int, int, float]:
    """State, samples received, samples played, gaps and peak, as the kernel has heard them from the browser."""
    found = HEARD.match(page.page.get_by_text(HEARD).first.inner_text())
    assert found is not None
    state, received, played, gaps, peak = found.groups()
    return state, int(received), int(played), int(gaps), float(peak)


def workers(folder: Path) -> set[int]:
    """Workers of the notebooks that are served there; other tests have their own beside them."""
    found = set()
    for process in psutil.process_iter(["cmdline", "environ"]):
        jobs = (process.info["environ"] or {}).get("QWEN_AUDIO_JOBS", "")
        if "toolkit.widgets.jobs.child" in (process.info["cmdline"] or []) and jobs.startswith(str(folder)):
            found.add(process.pid)
    return found


def test_a_person_in_jupyterlab(lab: str, folder: Path, window: Page) -> None:
    page = LabPage(window).open(lab, "demo.ipynb")
    page.run_all_and_wait()

    # Sound starts while the rest is being made, and all of it is played without a gap.
    page.click("Run")
    page.wait_until(lambda: page.page.get_by_text(HEARD).count() > 0, "the browser has told something")
    page.wait_until(lambda: heard(page)[0] == "playing", "it sounds")
    assert heard(page)[1] < 9 * 4800
    page.wait_text(re.compile(r"^Done in"))
    page.wait_until(lambda: heard(page)[0] == "ended", "it has ended")
    state, received, played, gaps, peak = heard(page)
    assert (state, received, played, gaps) == ("ended", 9 * 4800, 9 * 4800, 0)
    assert 0.45 < peak < 0.55
    assert page.sound() == {"seconds": pytest.approx(1.8), "bytes": 44 + 2 * 9 * 4800}

    # By keyboard: seek back, play, stop.
    page.control("Position").focus()
    page.page.keyboard.press("Home")
    page.wait_until(lambda: heard(page)[2] == 0, "back at the beginning")
    page.button("Play").focus()
    page.page.keyboard.press("Enter")
    page.wait_until(lambda: heard(page)[0] == "playing", "it plays again")
    page.click("Stop")
    page.wait_until(lambda: heard(page)[:3:2] == ("paused", 0), "it was stopped")

    # Cancel stops; the notebook stays usable.
    page.slide("Pieces", 60)
    page.click("Run")
    page.wait_text(re.compile(r"^piece \d+$"))
    page.click("Cancel")
    page.wait_text("Stopped", timeout_s=5)

    # An error is a box, and hostile text stays text.
    page.type("Task", "browser_tasks:hostile")
    page.page.keyboard.press("Tab")
    page.click("Run")
    page.wait_text("Rule: bad-audio")
    assert page.page.get_by_text("<script>alert(1)</script>").count() == 1
    page.wait_text("$5 and $6")
    page.screenshot("demo-error-light")

    # The switch turns it all.
    page.click("中文")
    page.wait_text("这不是可以测量的录音")
    assert page.button("运行").is_enabled()
    page.theme("dark")
    page.screenshot("demo-error-dark-zh")
    page.click("English")

    # SIGKILL is told, and the next run works.
    page.type("Task", "browser_tasks:endless")
    page.page.keyboard.press("Tab")
    page.click("Run")
    page.wait_text(re.compile(r"^piece \d+$"))
    (pid,) = workers(folder)
    os.kill(pid, signal.SIGKILL)
    page.wait_text("the worker was ended by signal 9 (SIGKILL)", timeout_s=5)
    page.click("Run")
    page.wait_text(re.compile(r"^piece \d+$"))

    # The page is loaded again: the running job is joined by running the cells again.
    page.reload()
    page.run_all_and_wait()
    page.wait_text(re.compile(r"^piece \d+$"))
    assert page.button("Cancel").is_enabled()

    # The kernel is restarted: no orphan, and the notebook says what was interrupted.
    assert workers(folder)
    page.restart_kernel()
    end = time.monotonic() + 5
    while workers(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert workers(folder) == set()
    page.run_all_and_wait()
    page.wait_text("The work was interrupted")
    page.check_clean()


def test_a_person_in_voila(folder: Path, window: Page) -> None:
    with serving("app", folder, str(folder / "demo.ipynb")) as address:
        page = VoilaPage(window).open(address)
        page.click("Run")
        page.wait_text(re.compile(r"^Done in"))
        page.wait_until(lambda: heard(page)[0] == "ended", "it has ended")
        assert heard(page)[1:4] == (9 * 4800, 9 * 4800, 0)
        page.screenshot("demo-voila")
        page.click("中文")
        page.wait_text(re.compile("^完成"))
        page.check_clean()

"""Real JupyterLab and Voila in a real browser: servers on loopback, and what a person does on their pages."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from chromium import chromium
from playwright.sync_api import Browser, Dialog, Locator, Page, Playwright

__all__ = ["LabPage", "NotebookPage", "VoilaPage", "launch", "serving", "write_notebook"]

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "build" / "screens"
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --mute-audio"
)
_START_S = 60.0


def launch(playwright: Playwright) -> Browser:
    """Headless Chromium of the system; it speaks with nobody but the page's server."""
    return playwright.chromium.launch(executable_path=str(chromium()), args=_FLAGS.split())


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, path)
    return path


@contextmanager
def serving(command: str, folder: Path, *more: str) -> Iterator[str]:
    """``qwen-audio lab`` or ``qwen-audio app`` on ``folder``, with a home of its own; gives its address."""
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    own = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "HOME": str(home), "QWEN_AUDIO_JOBS": str(home / "jobs")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "widgets"), os.environ.get("PYTHONPATH", "")])
    log = home / f"{command}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "toolkit.cli", command, *more, "--no-browser", "--port", str(_free_port())],
            cwd=folder, env={**os.environ, **own, "PYTHONPATH": paths, "PYTHONWARNINGS": ""},
            stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\S+token=\w+", log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            try:
                with urllib.request.urlopen(found.group(0), timeout=10):
                    return found.group(0)
            except urllib.error.HTTPError:
                return found.group(0)
            except OSError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NotebookPage:
    """What a person does with the controls of a notebook, in JupyterLab and in Voila alike."""

    def __init__(self, page: Page, timeout_s: float = 30.0) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.failures: list[str] = []
        page.set_default_timeout(timeout_s * 1000)
        page.on("request", self._note_request)
        page.on("requestfailed", self._note_blocked)
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on("dialog", self._note_dialog)

    def button(self, name: str) -> Locator:
        """A button by what is written on it or read out."""
        return self.page.get_by_role("button", name=name, exact=True)

    def click(self, name: str) -> None:
        """Press a button once it can be pressed."""
        self.button(name).first.click()

    def control(self, label: str) -> Locator:
        """A field, list or box by its label."""
        return self.page.get_by_label(label, exact=True).first

    def type(self, label: str, text: str) -> None:
        """Write into a field, in place of what is there."""
        self.control(label).fill(text)

    def slide(self, label: str, steps: int) -> None:
        """Move a slider by steps with the arrow keys, as one does without a mouse."""
        row = self.page.locator(".widget-hslider, .widget-slider").filter(has_text=label).first
        row.locator(".noUi-handle").first.focus()
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def choose(self, locator: Locator, path: Path) -> None:
        """Give a file to a file control, as its dialog does."""
        locator.set_input_files(path)

    def drop(self, locator: Locator, path: Path, kind: str = "text/plain") -> None:
        """Drop a file on something."""
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        locator.evaluate(
            """(node, [name, kind, data]) => {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type: kind }));
                for (const what of ["dragenter", "dragover", "drop"])
                    node.dispatchEvent(
                        new DragEvent(what, { dataTransfer: transfer, bubbles: true, cancelable: true })
                    );
            }""",
            [path.name, kind, data],
        )

    def wait_text(self, text: str | re.Pattern[str], timeout_s: float = 30.0) -> Locator:
        """Wait until a text can be seen."""
        found = self.page.get_by_text(text).first
        found.wait_for(state="visible", timeout=timeout_s * 1000)
        return found

    def wait_until(self, holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        """Wait until something holds, while the page goes on."""
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, f"{what}: not within {timeout_s:g} s"
            self.page.wait_for_timeout(50)

    def sound(self, number: int = 0) -> dict[str, float]:
        """What the save link of a player holds, decoded by an audio element: seconds, and whether it could be read."""
        link = self.page.locator("a.qwen-audio-save").nth(number)
        found: dict[str, float] = link.evaluate(
            """async (link) => {
                const audio = new Audio(link.href);
                await new Promise((ok, no) => { audio.oncanplaythrough = ok; audio.onerror = () => no(audio.error); });
                const bytes = await (await fetch(link.href)).arrayBuffer();
                return { seconds: audio.duration, bytes: bytes.byteLength };
            }"""
        )
        return found

    def theme(self, name: str) -> None:
        """``light`` or ``dark``."""
        raise NotImplementedError

    def screenshot(self, name: str) -> Path:
        """A picture of the window in ``build/screens``."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        path = SCREENS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def check_clean(self) -> None:
        """Nothing was fetched from elsewhere, no script failed, no dialog came up."""
        assert (self.foreign, self.failures) == ([], [])

    def _note_request(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", url):
            self.foreign.append(url)

    def _note_blocked(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if getattr(request, "failure", "") == "csp" and url in self.foreign:
            self.foreign.remove(url)  # the page's own policy has kept it from being sent

    def _note_dialog(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # a notebook that was not saved asks before it is left
            dialog.accept()
            return
        self.failures.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


class LabPage(NotebookPage):
    """A notebook in JupyterLab."""

    def open(self, address: str, notebook: str) -> LabPage:
        """Open a notebook by name and wait for its kernel."""
        base, token = address.split("?")
        self.page.goto(f"{base}/tree/{notebook}?{token}")
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.wait_idle()
        return self

    def run_all(self) -> None:
        """Run > Run All Cells."""
        self._menu("Run", "Run All Cells")

    def run_all_and_wait(self, timeout_s: float = 120.0) -> None:
        """Run all cells and wait until the last one has its number."""
        self._menu("Edit", "Clear Outputs of All Cells")
        last = self.page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-InputPrompt")
        # JupyterLab drops the wish while it is still connecting to the kernel, so it is said again.
        for _ in range(5):
            self.run_all()
            self.page.wait_for_timeout(1500)
            if re.search(r"\[(\d+|\*)\]", last.inner_text()):
                break
        self.wait_until(lambda: bool(re.search(r"\[\d+\]", last.inner_text())), "all cells have run", timeout_s)

    def restart_kernel(self) -> None:
        """Kernel > Restart Kernel, and say yes."""
        self._menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog").locator("button.jp-mod-accept").click()
        self.page.locator(".jp-Dialog").wait_for(state="detached")
        self.wait_idle()

    def reload(self) -> None:
        """Load the page again, as after a closed tab; the kernel goes on."""
        self.page.reload()
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()

    def save(self) -> None:
        """File > Save Notebook: the state of the controls is kept with it."""
        self.page.keyboard.press("Control+s")

    def wait_idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for()

    def theme(self, name: str) -> None:
        """``light`` or ``dark``, through Settings > Theme."""
        self._menu("Settings", "Theme", f"JupyterLab {name.capitalize()}")
        self.page.locator(f'body[data-jp-theme-light="{json.dumps(name == "light")}"]').wait_for(state="attached")

    def _menu(self, *names: str) -> None:
        dialogs = self.page.locator(".jp-Dialog").all_inner_texts()
        assert dialogs == [], f"a dialog is in the way: {dialogs}"
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{names[0]}$")).click()
        for name in names[1:]:
            label = re.compile("^" + re.escape(name).replace("…", "(…|\\.\\.\\.)") + "$")
            self.page.locator(".lm-Menu-itemLabel", has_text=label).last.click()


class VoilaPage(NotebookPage):
    """A notebook as a page without code."""

    def open(self, address: str) -> VoilaPage:
        """Open it and wait for its first control."""
        self.page.goto(address)
        self.page.locator(".jupyter-widgets").first.wait_for(timeout=90_000)
        return self

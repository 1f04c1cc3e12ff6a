"""The emotion notebook from top to bottom in a kernel: it speaks, survives SIGKILL and Cancel, and does not grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "2_emotion_tuning.ipynb"

BEFORE = """
import gc, json, os, signal, sys, time
began = time.monotonic()
"""
AFTER = """
shown_s = time.monotonic() - began
import psutil

def told(**values):
    print(json.dumps(values))

def speak(text):
    page.setting.text.value = text
    return page.speaking.view.run()

heavy = [name for name in ("torch", "transformers", "matplotlib", "pandas") if name in sys.modules]
page.errands.wait()
page.speaking.mode.value = "plain"
job = speak("Good morning.").wait(60)
page.errands.wait()
told(
    shown_s=shown_s, heavy=heavy, state=job.state, png=page.comparing.image.value[:4].hex(),
    seconds=[clip.player.samples.size / clip.player.sample_rate for clip in page.speaking.clips],
    peaks=[float(abs(clip.player.samples).max()) for clip in page.speaking.clips],
    rows=len(page.comparing.rows), first=[clip.told["first_audio_s"] for clip in page.speaking.clips],
)
"""
LONG = "The morning train was late again, and nobody on the platform seemed to mind at all."
KILL = f"""
page.speaking.mode.value = "one"
page.comparing.always.value = False
job = speak({LONG!r})
while not any(part.name == "piece" for part in job.partials):
    page.worker.drain()
    time.sleep(0.01)
killed = page.worker.pid
os.kill(killed, signal.SIGKILL)
job.wait(30)
view = page.speaking.view
first = dict(state=job.state, title=view.error_box.title.text, message=view.error_box.message.text,
             rule=view.error_box.rule.text, heard=page.speaking.clips[-1].player.samples.size)
again = speak("Good morning.").wait(60)
told(**first, again=again.state, box=view.error_box.note is None, other=page.worker.pid != killed)
"""
CANCEL = f"""
pid = page.worker.pid
job = speak({LONG!r})
while not any(part.name == "piece" for part in job.partials):
    page.worker.drain()
    time.sleep(0.01)
asked = time.monotonic()
page.speaking.view.cancel_button.click()
job.wait(30)
told(state=job.state, after_s=time.monotonic() - asked, warm=page.worker.pid == pid, again=speak("Yes.").wait(60).state)
"""
TWENTY = """
def resident():
    gc.collect()
    return psutil.Process().memory_info().rss

for _ in range(3):
    speak("Yes.").wait(60)
before = resident()
states = [speak("Yes.").wait(60).state for _ in range(20)]
told(states=sorted(set(states)), grown=resident() - before, clips=len(page.speaking.clips),)
"""
RERUN = """
from ipywidgets.widgets import widget as module
counts = []
for _ in range(3):
    page = emotion_tuning()
    page.errands.wait()
    counts.append(len(module._instances))
told(counts=counts, joined=len(page.speaking.clips), state=page.speaking.view.job.state)
"""


def test_the_pair_says_the_same() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    pair = jupytext.read(NOTEBOOK.with_suffix(".py"))
    assert [(one.cell_type, one.source) for one in notebook.cells] == [
        (one.cell_type, one.source) for one in pair.cells
    ]
    assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


# The kernel's messaging library warns about its own use of the event loop on some platforms.
@pytest.mark.filterwarnings("default")
def test_a_day_in_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("QWEN_AUDIO_LANGUAGE", "en")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [nbformat.v4.new_code_cell(source) for source in (AFTER, KILL, CANCEL, TWENTY, RERUN)]
    notebook.cells = [nbformat.v4.new_code_cell(BEFORE), *notebook.cells, *cells]
    client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    spoken, killed, cancelled, twenty, rerun = [said(cell) for cell in notebook.cells[-5:]]

    assert spoken["shown_s"] < 5
    assert spoken["heavy"] == []
    assert (spoken["state"], spoken["png"]) == ("done", "89504e47")
    assert all(0.3 < seconds < 6 for seconds in spoken["seconds"])
    assert all(0.02 < peak <= 1 for peak in spoken["peaks"])
    assert spoken["rows"] > 20
    assert all(0 < first < 5 for first in spoken["first"])

    assert (killed["state"], killed["title"]) == ("died", "The worker was ended from outside")
    assert killed["message"] == "the worker was ended by signal 9 (SIGKILL)"
    assert killed["rule"] == "Rule: worker-died"
    assert killed["heard"] > 0  # what had come can still be heard
    assert (killed["again"], killed["box"], killed["other"]) == ("done", True, True)

    assert (cancelled["state"], cancelled["warm"], cancelled["again"]) == ("cancelled", True, "done")
    assert cancelled["after_s"] < 1.5

    assert (twenty["states"], twenty["clips"]) == (["done"], 4)
    assert twenty["grown"] < 8 * 2**20
    assert len(set(rerun["counts"])) == 1, rerun["counts"]
    assert (rerun["joined"], rerun["state"]) == (1, "done")


def said(cell: Any) -> dict[str, Any]:
    text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found

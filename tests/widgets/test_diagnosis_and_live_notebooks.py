"""The notebooks of diagnosis and live card, run without a browser; what they find is asserted in the kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
DIAGNOSIS = """
import re
diagnosis.inputs.log_field.value = "TypeError: Got unsupported ScalarType BFloat16"
diagnosis.inputs.told.value = "gpu=RTX 4070"
report = diagnosis.find().wait(60).result["report"]["saved"]
assert report["findings"][0]["rule"] == "numpy-no-bf16"
assert "numpy-no-bf16" in "".join(one.text for one in diagnosis.findings.children[0].children[1:2])
assert any("float()" in text for text in diagnosis.fix.commands), diagnosis.fix.commands
diagnosis.again.log_field.value = "INFO done"
assert diagnosis.again.view.run().wait(60).result["outcome"] == "solved"
print("asserted")
"""
LIVE = """
import time
while live.no_card is None:
    time.sleep(0.05)
    live._watcher.drain()
assert (live.source.value == "example:healthy") == bool(live.no_card)
live.source.value = "example:hot"
job = live.watch()
while live.judgement.judgement is None or "rule" not in live.judgement.judgement:
    time.sleep(0.05)
    live._watcher.drain()
assert live.judgement.judgement["rule"]["id"] == "thermal-power-throttle"
assert bytes(live.picture.value).startswith(b"\\x89PNG")
assert live.readings.values["throttle"].text == "thermal"
job.cancel()
job.wait(10)
assert live.watch_view.status.text in ("Stopped", "已停止")
print("asserted")
"""


@pytest.mark.parametrize(("name", "cell"), [("3_symptom_diagnosis", DIAGNOSIS), ("4_live_gpu", LIVE)])
# The kernel's messaging library warns about its own use of the event loop on some platforms.
@pytest.mark.filterwarnings("default")
def test_a_notebook_finds_what_it_should(name: str, cell: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(cell))
    resources = {"metadata": {"path": FOLDER}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    assert [output["text"] for output in notebook.cells[-1].outputs] == ["asserted\n"]

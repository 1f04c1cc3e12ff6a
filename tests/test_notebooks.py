"""Notebooks run from top to bottom, show their controls, and are stored without outputs beside an equal .py."""

from __future__ import annotations

import json
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_and_its_percent_script_say_the_same(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    paired = jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]


# The guided setup and the emotion tuning are run, with what they must do, in tests/widgets.
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[0] not in "12"], ids=lambda path: path.stem)
# The kernel's messaging library warns about its own use of the event loop on some platforms.
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_AUDIO_JOBS", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    shown = [output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any(WIDGET in data for data in shown)
    assert all("<script" not in page for data in shown for page in data.values() if isinstance(page, str))

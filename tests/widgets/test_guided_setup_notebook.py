"""The notebook of the guided setup from top to bottom without a browser, and its pair as a script."""

from __future__ import annotations

import ast
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from toolkit.synthesis.speech_config import read_config
from toolkit.widgets.languages import Texts
from toolkit.widgets.setup.card import Card
from toolkit.widgets.setup.sentence_step import proof_lines
from toolkit.widgets.setup.session import Session

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "1_guided_setup.ipynb"

DRIVE = """
import asyncio, sys
steps = setup.steps
told = {"first": "torch" in sys.modules, "open": setup.current}
await steps["machine"].job_view.run()
setup.go_to("place")
steps["place"].keep()
setup.go_to("model")
await steps["model"].fit_view.job
await steps["model"].fetch_view.run()
setup.go_to("precision")
steps["precision"].take()
setup.go_to("limits")
while steps["limits"].forecast is None:
    await asyncio.sleep(0.05)
before = steps["limits"].forecast["need_bytes"]
steps["limits"].characters.value = 40
while steps["limits"].forecast["max_text_length"] != 40:
    await asyncio.sleep(0.05)
told["moved"] = steps["limits"].forecast["need_bytes"] < before
steps["limits"].take()
setup.go_to("sentence")
sentence = steps["sentence"]
sentence.text.value = "The lamp glows."
sentence.speaker.value = "ryan"
await sentence.job_view.run()
told["samples"] = int(sentence.player.samples.size)
told["proof"] = sentence.proof.text
setup.go_to("writing")
job = await steps["writing"].job_view.run()
told["files"] = job.result["files"]
steps["writing"].overwrite.value = False
refused = await steps["writing"].job_view.run()
told["refused"] = steps["writing"].job_view.error_box.note.kind
again = guided_setup("my-voice")
told["resumed"] = again.current, again.resumed.text
again.go_to("precision")
again.steps["precision"].asked.value = "bfloat16"
again.steps["precision"].take()
told["locked"] = [key for key, button in again.buttons.items() if button.disabled]
told
"""


def test_the_pair_is_in_step() -> None:
    own = nbformat.read(NOTEBOOK, as_version=4)
    pair = jupytext.read(NOTEBOOK.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in pair.cells] == [
        (cell.cell_type, cell.source) for cell in own.cells
    ]
    assert own.metadata["jupytext"]["formats"] == "ipynb,py:percent"


# The kernel's messaging library warns about its own use of the event loop on some platforms.
@pytest.mark.filterwarnings("default")
def test_the_seven_steps_end_in_a_config_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_AUDIO_LANGUAGE", "en")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(DRIVE))
    resources = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    (told,) = [
        ast.literal_eval(output["data"]["text/plain"])
        for output in notebook.cells[-1].outputs
        if output.output_type == "execute_result"
    ]
    assert (told["first"], told["open"], told["moved"]) == (False, "machine", True)
    assert told["samples"] > 0.4 * 24_000
    assert told["proof"].splitlines()[0].startswith("Time: ")
    assert told["refused"] == "BadOutput"
    assert told["resumed"] == ("writing", "7 of 7 steps are done and kept in my-voice/setup-state.json; you can leave "
                               "and go on later.")  # fmt: skip
    assert told["locked"] == ["sentence", "writing"]
    config = read_config(tmp_path / "my-voice" / "config.yaml")
    assert (config.model, config.max_text_length, config.speaker) == ("pocket", 40, "ryan")
    assert [Path(name).name for name in told["files"]] == ["config.yaml", "speak.sh", "setup-summary.html"]


@pytest.mark.parametrize(("mean", "said"), [(75.0, "inside"), (40.0, "below"), (99.0, "above")])
def test_the_proof_says_what_the_card_did(tmp_path: Path, mean: float, said: str) -> None:
    session = Session(Texts("en"), tmp_path)
    card = {"mean_percent": mean, "healthy_share": 0.9, "problem": "", "sample_count": 30}
    told = {
        "timings_s": {"total": 1.0}, "seconds": 3.0, "first_audio_s": 0.05, "x_real_time": 3.0, "load_s": 4.0,
        "peak_bytes": 5 * 10**9, "weights": {"talker": {"bfloat16": 999, "float32": 1}}, "card": card,
        "dtype": {"reason": "compute capability 8.9 has BF16 in hardware"},
    }  # fmt: skip
    lines = proof_lines(session, told)
    assert lines[1] == "Memory: 5.00 GB at most on the card."
    assert lines[2] == "BF16: yes. Weights of the model: bfloat16 99.9%, float32 0.1%."
    assert lines[3].startswith(f"GPU: {mean:.0f} % busy while speaking, {said} the window of 60 to 95 % (90%")
    assert Card("x", "cuda", 1, (8, 9)).choose_device() == "auto"

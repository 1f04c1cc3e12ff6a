"""The last step of the demo, with noise in place of the pocket voice: a table of measures, sounds, and a picture."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import soundfile
import torch

from toolkit.synthesis import pocket_voice
from toolkit.synthesis.demo_model import make_demo_model

SCRIPT = Path(__file__).parent.parent / "scripts" / "demo.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, run in an empty folder."""
    folder = make_demo_model(tmp_path / "pocket", eos_scale=8.0).folder
    monkeypatch.setattr(pocket_voice, "FOLDER", folder)
    monkeypatch.setattr(pocket_voice, "PINS_FILE", tmp_path / "pins.json")
    pocket_voice.write_pins(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    return module


def test_it_speaks_two_languages_each_plainly_and_as_told(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # other tests have chosen theirs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noise may miss its end
        demo._speak()
    told = capsys.readouterr().out
    assert told.startswith("pocket voice: small, synthetic, for trying the toolkit; not a Qwen model.\n")
    rows = re.findall(r"^ +(ryan|serena) +(\S.*?)  +(\d+\.\d\d) .* x *$", told, re.MULTILINE)
    assert [(name, style) for name, style, _ in rows] == [
        ("ryan", "-"), ("ryan", "30% slower"), ("serena", "-"), ("serena", "音调升高5个半音"),
    ]  # fmt: skip
    assert all(text.text in told for text in demo.LINES)
    place = tmp_path / "here" / "build" / "demo"
    assert f"picture: {place / 'pocket.png'}\n" in told
    assert (place / "pocket.png").read_bytes().startswith(b"\x89PNG")
    sounds = sorted(place.glob("*.wav"))
    assert [path.name for path in sounds] == [
        "chinese-five-semitones-up.wav", "chinese-plain.wav", "english-30-percent-slower.wav", "english-plain.wav",
    ]  # fmt: skip
    lengths = {path.name: soundfile.info(str(path)).duration for path in sounds}
    assert lengths["english-plain.wav"] == pytest.approx(float(rows[0][2]), abs=0.01)

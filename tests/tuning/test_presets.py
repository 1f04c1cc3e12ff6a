"""Presets: the file agrees with its forecast, measurements take its place, and a card finds its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.errors import UsageError
from toolkit.synthesis.forecasting import forecast_speech
from toolkit.synthesis.loading import LoadOptions, load_model
from toolkit.synthesis.speech_config import SpeechConfig
from toolkit.tuning.chunk_meter import found_for
from toolkit.tuning.presets import (
    CARD_SIZES_GB,
    Preset,
    by_forecast,
    from_measurements,
    preset_for,
    presets,
    presets_text,
)

ROOT = Path(__file__).parents[2]


def cell(outcome: str, seconds: float, need: int) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "need_bytes": need,
        "text_table": "cpu (8.0 GB are less than 10)",
        "runs": {"done": 50, "median_s": seconds},
    }


def document(**cells: dict[str, Any]) -> dict[str, Any]:
    row = {"audio_chunk_size": 300, "max_text_length": 300, "batch": 1}
    return {
        "kind": "presets", "device": "NVIDIA H100", "memory_bytes": 80 * 10**9, "measured": "2026-11-24",
        "emulated": "memory only",
        "candidates": {
            "toolkit": row,
            "batch": {**row, "batch": 8},
            "tutorial-8gb": {**row, "audio_chunk_size": 128, "max_text_length": 80},
        },
        "cells": {key.replace("__", "/").replace("tutorial_8gb", "tutorial-8gb"): one for key, one in cells.items()},
    }  # fmt: skip


MEASURED = document(
    **{
        "1b7__bfloat16__toolkit__8": cell("stable", 1.0, 5 * 10**9),
        "1b7__bfloat16__tutorial_8gb__8": cell("stable", 1.01, 4 * 10**9),
        "1b7__bfloat16__batch__8": cell("halved", 1.0, 7 * 10**9),
        "1b7__float16__tutorial_8gb__8": cell("stable", 0.1, 4 * 10**9),
        "1b7__bfloat16__toolkit__6": cell("failed", 1.0, 5 * 10**9),
    }
)


def test_every_card_and_model_has_one_and_a_config_takes_it() -> None:
    assert [(each.size, each.card_gb) for each in presets()] == [
        (size, card) for size in ("1b7", "0b6") for card in CARD_SIZES_GB
    ]
    for preset in presets():
        assert preset.source.need_bytes < preset.card_gb * 1e9
        config = SpeechConfig.model_validate(preset.settings())
        assert preset.source.kind in config.why["batch"]


def test_what_the_file_forecasts_is_what_is_forecast() -> None:
    for preset in presets():
        if preset.source.kind == "forecast" and preset.card_gb in (6, 24):
            assert by_forecast(preset.size, preset.card_gb) == preset


def test_the_fastest_stable_cell_becomes_the_preset() -> None:
    found = from_measurements(MEASURED, "1b7", 8)
    assert found is not None
    assert (found.audio_chunk_size, found.max_text_length, found.text_table) == (128, 80, "cpu")
    assert found.source.kind == "measured"
    assert "50 runs in a row under a cap of 8 GB on NVIDIA H100, 2026-11-24" in found.source.told
    assert found.source.compared["batch bfloat16"] == "halved, 7.00 GB"
    assert from_measurements(MEASURED, "1b7", 6) is None
    text = yaml.safe_load(presets_text(MEASURED))
    kinds = {(row["size"], row["card_gb"]): row["source"]["kind"] for row in text["presets"]}
    assert [key for key, kind in kinds.items() if kind == "measured"] == [("1b7", 8)]
    assert all(Preset(**row) for row in text["presets"])
    with pytest.raises(UsageError, match="presets do not come from a CPU"):
        presets_text({**MEASURED, "memory_bytes": None})


def test_a_card_finds_its_own() -> None:
    assert preset_for(8_585_740_288).card_gb == 8
    assert preset_for(25_300_000_000, "0b6").card_gb == 24
    assert preset_for(11_800_000_000).card_gb == 12  # sold as 12
    assert preset_for(80 * 10**9).card_gb == 24
    with pytest.raises(UsageError, match="the smallest is for 6 GB"):
        preset_for(4 * 10**9)
    with pytest.raises(UsageError, match="size must be one of"):
        preset_for(8 * 10**9, "3b")


@pytest.mark.parametrize("path", ["plain", "fast"])
def test_the_forecast_without_loading_is_that_of_a_loaded_model(path: Any) -> None:
    options = LoadOptions(device="cpu", dtype="float32", max_text_length=80, audio_chunk_size=64, path=path)
    with found_for("tiny") as found:
        loaded = load_model(found, options)
        assert forecast_speech(found, options, device="cpu", capability=None) == loaded.plan
        more = forecast_speech(found, options, device="cpu", capability=None, rows=4)
    assert more.total_bytes > loaded.plan.total_bytes


def test_the_script_measures_and_refuses_another_devices_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("presets_script", ROOT / "benchmarks" / "presets.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "presets_script", script)
    spec.loader.exec_module(script)
    out = tmp_path / "presets.json"
    argv = [
        "presets.py",
        "--out",
        str(out),
        "--runs",
        "2",
        "--sizes",
        "0b6",
        "--precisions",
        "bfloat16",
        "--caps",
        "16",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    script.main()
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["not_measured"] == []
    assert {one["outcome"] for one in found["cells"].values()} == {"stable"}
    assert all(one["runs"]["done"] == 2 for one in found["cells"].values())
    assert capsys.readouterr().out.count("stable") == len(found["cells"]) == 3
    found["device"] = "another"
    out.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(SystemExit):
        script.main()
    assert "holds results of another" in capsys.readouterr().err

"""What a sweep says: front, best, importance, picture and config.yaml, on made-up trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_child import PRECISIONS, measure

from toolkit.errors import UsageError
from toolkit.synthesis.speech_config import config_text, read_config, write_config
from toolkit.tuning.chunk_knobs import Settings, Tried, objectives, propose, space_for
from toolkit.tuning.chunk_meter import gapless_start_s
from toolkit.tuning.chunk_report import best_of, config_of, front_of, importance_of, plot_front, report_json

SPACE = space_for("both", card=True, longest=300, precisions=PRECISIONS)


def tried(slot: int, *values: float, **settings: object) -> Tried:
    return Tried(slot, Settings(**settings), values or None, None if values else "out of memory")  # type: ignore[arg-type]


def swept(count: int) -> list[Tried]:
    done: list[Tried] = []
    for slot in range(count):
        settings = propose(SPACE, done, slot, aim="both", seed=2)
        found = measure(settings)
        values = None if found.fault else tuple(float(getattr(found, name)) for name in objectives("both"))
        done.append(Tried(slot, settings, values, found.fault, measured=found))
    return done


def test_the_front_holds_what_nothing_beats() -> None:
    trials = [tried(0, 2.0, 5.0), tried(1, 1.0, 9.0), tried(2, 2.0, 6.0), tried(3), tried(4, 2.0, 5.0)]
    assert [trial.slot for trial in front_of(trials)] == [0, 1]
    assert front_of([tried(0)]) == ()


def test_of_the_nearly_fastest_the_one_with_least_memory_is_taken() -> None:
    trials = [tried(0, 1.00, 9.0), tried(1, 1.02, 5.0), tried(2, 1.05, 1.0), tried(3)]
    assert best_of(trials, "time") == trials[1]
    assert best_of([tried(0)], "time") is None
    both = [tried(0, 1.0, 0.4, 1.0), tried(1, 1.3, 0.1, 1.0), tried(2, 3.0, 0.1, 1.0)]
    assert best_of(both, "both") == both[1]


def test_importance_finds_the_knob_that_matters() -> None:
    done = []
    for slot, settings in enumerate(each.settings for each in swept(30)):
        done.append(Tried(slot, settings, (settings.batch / 10, 1.0, 10**9 + slot), None))
    found = importance_of(done, SPACE, "both")
    assert max(found["s_per_s"], key=found["s_per_s"].__getitem__) == "batch"
    assert found["s_per_s"]["batch"] > 0.8
    assert "start_s" not in found  # it does not vary
    assert importance_of(done[:5], SPACE, "both") == {}


def test_a_player_that_begins_then_never_halts() -> None:
    assert gapless_start_s([(0.1, 0.5), (0.4, 1.0), (0.9, 1.5)]) == pytest.approx(0.1)
    assert gapless_start_s([(0.1, 0.08), (0.5, 1.0)]) == pytest.approx(0.42)
    assert gapless_start_s([]) == 0.0


def test_the_settings_are_kept_with_their_origin(tmp_path: Path) -> None:
    best = Tried(7, Settings(audio_chunk_size=64, chunk_frames="2,4", text_table="cpu"), (0.1, 0.1, 1e9))
    config = config_of(
        best, SPACE, model="1b7", device="cuda:0", speaker=None, origin="trial 7 of 40 on a card", limit="8GB"
    )
    assert read_config(write_config(config, tmp_path / "config.yaml")) == config
    assert (config.model, config.text_table, config.vram_limit) == ("1.7B-CustomVoice", "cpu", "8GB")
    assert config.chunk_frames == [2, 4]
    assert "random weights of the shape 1b7" in config.why["model"]
    assert config.why["audio_chunk_size"] == "trial 7; compared were 300, 256, 128, 64, 24, 8"
    assert "trial 7 of 40 on a card" in config_text(config)
    on_cpu = config_of(best, SPACE, model="pocket", device="cpu", speaker="serena", origin="x", limit=None)
    assert (on_cpu.text_table, on_cpu.vram_limit, on_cpu.speaker) == ("auto", None, "serena")


def test_the_picture_and_the_document(tmp_path: Path) -> None:
    done = swept(16)
    for name in ("a.png", "a.svg"):
        path = plot_front(done, "both", tmp_path / name, limit_bytes=8 * 10**9, title="made up")
        assert path.stat().st_size > 5000
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg.count('<g id="axes_') == 2
    with pytest.raises(UsageError, match=r"ends in \.png"):
        plot_front(done, "both", tmp_path / "a.bmp", limit_bytes=None, title="")
    with pytest.raises(UsageError, match="no trial passed"):
        plot_front([tried(0)], "both", tmp_path / "b.png", limit_bytes=None, title="")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "a.svg"]
    data = report_json(done, SPACE, "both")
    assert data["best"] in data["front"]  # type: ignore[operator]
    assert len(data["trials"]) == 16  # type: ignore[arg-type]

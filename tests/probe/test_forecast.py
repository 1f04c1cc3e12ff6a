"""The forecast adds up what the published shapes say, and its verdict and changes follow from the sum."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.probe.child_output import facts_to_json_text
from toolkit.probe.forecast import Choice, Forecast, forecast_facts, forecast_memory, forecast_published
from toolkit.probe.model_manifest import PUBLISHED_CODEC_BYTES, PUBLISHED_WEIGHT_BYTES
from toolkit.probe.model_shape import PUBLISHED_SHAPES, CodecShape, DecoderShape, shape_from_facts
from troubleshoot.facts import NA

GIB = 2**30
LARGE = {"model.size": "1.7B", "model.type": "custom-voice", "gpu.cc": "8.6"}
FOLDER = {
    "model.name": "mine", "model.size": "1.7B", "model.type": "custom-voice", "model.max_new_tokens": 100,
    "model.weight_bytes": {
        "talker": {"BF16": 2_000_000}, "text_embedding": {"BF16": 600_000},
        "code_predictor": {"BF16": 400_000, "U32": 7},
        "codec_decoder": {"F32": 4_000_000}, "codec_encoder": {"F32": 2_000_000},
    },
    "model.talker": {"layers": 4, "heads": 4, "kv_heads": 2, "head_dim": 32, "hidden": 128, "code_groups": 16},
    "model.predictor": {"layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 32, "hidden": 64, "code_groups": 16},
    "model.codec": {"decoder_dim": 64, "latent_dim": 32, "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2]},
}  # fmt: skip


def value_of(forecast: Forecast) -> str:
    assert isinstance(forecast.verdict, Choice)
    return forecast.verdict.value


def line(forecast: Forecast, label: str) -> int:
    return next(line.byte_count for line in forecast.lines if line.label == label)


def test_the_published_shapes_weigh_what_the_published_files_weigh() -> None:
    for shape in PUBLISHED_SHAPES:
        main = sum(count for name, count in shape.elements.items() if not name.startswith("codec_"))
        published = PUBLISHED_WEIGHT_BYTES.get((shape.size, {"Base": "base"}.get(shape.kind, "custom-voice")))
        if published:
            assert 0 < published - 2 * main < 80_000  # the header of 404 to 480 tensors
        codec = shape.elements["codec_decoder"] + shape.elements["codec_encoder"]
        assert 0 < PUBLISHED_CODEC_BYTES - 4 * codec < 80_000


def test_a_position_of_the_published_cache_takes_114688_bytes_in_bf16() -> None:
    assert {shape.talker.kv_elements * 2 for shape in PUBLISHED_SHAPES} == {114_688}
    assert PUBLISHED_SHAPES[0].predictor.kv_elements * 2 * 16 == 327_680


def test_the_last_block_of_the_codec_is_the_widest() -> None:
    codec = CodecShape()
    assert codec.stages == ((1536, 4), (768, 32), (384, 160), (192, 640), (96, 1920))
    assert codec.peak_elements_per_frame() == (5 * 96 * 1920 + 192 * 640, "(5 x 96 ch x 1920 + 192 ch x 640)")


def test_every_line_shows_its_sum() -> None:
    forecast = forecast_memory({**LARGE, "gpu.free_gb": 24.0}, audio_chunk_size=256, text_characters=120)
    shown = {line.label: line.formula for line in forecast.lines}
    assert shown["weights: talker"] == "1,430.4 M x 2 bytes (bfloat16)"
    assert shown["KV cache: talker"] == "28 layers x 2 x 8 heads x 128 x 2 bytes x 8,325 positions"
    assert shown["hidden states that generate() keeps"] == "(28 layers + 1) x 2048 x 2 bytes x 8,325 positions"
    assert shown["codec decode, peak"] == "(5 x 96 ch x 1920 + 192 ch x 640) x 281 frames x 2 bytes"
    assert forecast.need_bytes == sum(line.byte_count for line in forecast.lines)
    assert line(forecast, "KV cache: talker") == 114_688 * 8_325


def test_our_own_runtime_keeps_no_hidden_states_and_float32_takes_twice() -> None:
    official, own = (forecast_memory(LARGE, runtime=runtime) for runtime in ("qwen-tts", "toolkit"))
    assert official.need_bytes - own.need_bytes == 29 * 2048 * 2 * 8_325
    wide = forecast_memory(LARGE, dtype="float32")
    assert line(wide, "weights: talker") == 2 * line(official, "weights: talker")


def test_a_batch_multiplies_everything_but_the_weights_and_the_context() -> None:
    one, four = (forecast_memory(LARGE, batch=batch) for batch in (1, 4))
    for label in ("KV cache: talker", "KV cache: code predictor", "codec decode, peak"):
        assert line(four, label) == 4 * line(one, label)
    assert line(four, "weights: talker") == line(one, "weights: talker")
    assert "x 4 texts" in four.lines[-2].formula


def test_a_folder_is_weighed_by_its_own_headers() -> None:
    forecast = forecast_memory({**FOLDER, "gpu.free_gb": 8})
    assert forecast.model == "mine"
    assert line(forecast, "weights: talker") == 2_000_000
    assert line(forecast, "weights: codec decoder") == 2_000_000  # float32 on disk, loaded in bfloat16
    assert line(forecast, "weights: quantised or whole-number tensors") == 7
    assert line(forecast, "KV cache: talker") == 4 * 2 * 2 * 32 * 2 * (14 + 120 + 99)
    assert line(forecast, "codec decode, peak") == (5 * 4 * 1920 + 8 * 640) * 99 * 2


@pytest.mark.parametrize(
    ("free_gb", "verdict"),
    [(24, "fits"), (8, "fits"), (6.8, "tight"), (6, "tight"), (5, "does-not-fit"), (0, "does-not-fit")],
)
def test_the_verdict_follows_the_free_memory(free_gb: float, verdict: str) -> None:
    assert value_of(forecast_memory({**LARGE, "gpu.free_gb": free_gb})) == verdict


def test_the_reason_names_the_figures() -> None:
    verdict = forecast_memory({**LARGE, "gpu.free_gb": 6.0}).verdict
    assert isinstance(verdict, Choice)
    assert verdict.reason == (
        "6.7 GiB of 6.0 GiB free at the longest run (8,191 frames); a text of 120 characters needs 5.0 GiB"
    )


def test_without_a_card_nothing_is_claimed() -> None:
    forecast = forecast_memory(LARGE)
    assert forecast.verdict == NA("the card's memory is not known")
    assert forecast.changes == ()
    reason = NA("NVML does not tell it")
    assert forecast_memory({**LARGE, "gpu.memory_gb": reason}).free_bytes is reason


def test_what_others_hold_and_the_desktop_count_when_free_memory_is_unknown() -> None:
    total = {"gpu.memory_gb": 12}
    assert forecast_memory({**LARGE, **total}).free_bytes == 12 * GIB
    assert forecast_memory({**LARGE, **total, "gpu.other_gb": 3}).free_bytes == 9 * GIB
    for windows in ({"os.family": "windows"}, {"os.wsl": True}, {"gpu.driver_model": "WDDM"}, {"gpu.display": True}):
        assert forecast_memory({**LARGE, **total, **windows}).free_bytes == 11 * GIB
        assert forecast_memory({**LARGE, **total, **windows, "gpu.other_gb": 0.5}).free_bytes == 11 * GIB
    measured = forecast_memory({**LARGE, **total, "gpu.free_gb": 10, "os.family": "windows"})
    assert measured.free_bytes == 10 * GIB
    assert measured.held[0].byte_count == 2 * GIB


def test_the_dtype_is_chosen_with_a_reason() -> None:
    assert forecast_memory({"gpu.cc": "8.9"}).dtype == Choice("bfloat16", "compute capability 8.9 has it in hardware")
    assert forecast_memory({"gpu.cc": 7.5}).dtype.value == "float32"
    assert forecast_memory({"gpu.cc": "7.5", "run.dtype": "float16"}).dtype.value == "float16"
    assert forecast_memory({}, dtype="float32").dtype == Choice("float32", "asked for")


def test_changes_are_listed_until_it_fits() -> None:
    forecast = forecast_memory({**LARGE, "gpu.free_gb": 6.0, "gpu.other_gb": 0.1}, audio_chunk_size=256)
    assert [(change.setting, change.before, change.after, change.verdict) for change in forecast.changes] == [
        ("max_new_tokens", "8192", "1024 (82 s)", "fits")
    ]
    assert forecast.changes[0].need_bytes == forecast.need_bytes - forecast.changes[0].saves_bytes
    crowded = {**LARGE, "gpu.free_gb": 3.6, "gpu.other_gb": 0.4, "run.dtype": "float32"}
    small = forecast_memory(crowded, audio_chunk_size=256)
    assert [change.setting for change in small.changes] == [
        "dtype", "other programs on the card", "max_new_tokens", "audio_chunk_size", "max_text_length",
        "text embedding", "model",
    ]  # fmt: skip
    assert small.changes[-1].verdict == "fits"
    design = forecast_memory({**LARGE, "model.type": "voice-design", "gpu.free_gb": 2.0})
    assert design.model == "Qwen3-TTS-12Hz-1.7B-VoiceDesign"
    assert "model" not in [change.setting for change in design.changes]  # there is no smaller one


def test_a_verdict_without_a_model_stands_only_when_it_is_the_same_for_all() -> None:
    assert forecast_facts({"gpu.free_gb": 24, "gpu.cc": "8.9"})["forecast.verdict"] == "fits"
    assert forecast_facts({"gpu.free_gb": 1, "gpu.cc": "8.9"})["forecast.verdict"] == "does-not-fit"
    told = forecast_facts({"gpu.free_gb": 4, "gpu.cc": "8.9"})
    assert told["forecast.verdict"] == NA(
        "no model was given, and it depends on the model: 0.6B-CustomVoice tight, 0.6B-Base tight, "
        "1.7B-CustomVoice does-not-fit, 1.7B-Base does-not-fit"
    )
    published = told["forecast.published"]
    assert isinstance(published, list)
    assert [row["verdict"] for row in published] == ["tight", "tight", "does-not-fit", "does-not-fit"]


def test_facts_are_json_and_carry_canonical_names() -> None:
    told = forecast_facts({**LARGE, "gpu.free_gb": 5.0})
    assert {"forecast.verdict", "forecast.need_gb", "forecast.free_gb"} <= set(told)
    table = json.loads(facts_to_json_text(told))
    assert table["forecast.lines"][0]["label"] == "weights: talker"
    assert table["forecast.changes"]


@pytest.mark.parametrize(
    "asked",
    [{"dtype": "int4"}, {"audio_chunk_size": 0}, {"batch": True}, {"text_characters": 10**9}, {"runtime": "x"}],
)
def test_values_out_of_range_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        forecast_memory(LARGE, **asked)  # type: ignore[arg-type]


def test_shapes_refuse_sizes_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DecoderShape(0, 1, 1, 1)
    with pytest.raises(ValueError, match="at least 1"):
        CodecShape(64, (), (2,))


def test_damaged_facts_fall_back_on_what_is_published() -> None:
    damage: list[dict[str, object]] = [
        {"model.talker": NA("x")}, {"model.weight_bytes": {}}, {"model.talker": {"layers": "many"}}
    ]  # fmt: skip
    for broken in damage:
        shape = shape_from_facts({**FOLDER, **broken})
        assert shape is PUBLISHED_SHAPES[2]
    assert shape_from_facts({}) is None
    assert shape_from_facts({**FOLDER, "model.codec": {"decoder_dim": -1}}) is not None


@settings(deadline=None)
@given(st.floats(0, 96), st.integers(1, 4096), st.integers(1, 9000), st.sampled_from(["bfloat16", "float32"]))
def test_more_memory_never_makes_it_worse(free_gb: float, chunk: int, frames: int, dtype: str) -> None:
    order = ["does-not-fit", "tight", "fits"]
    less, more = (
        forecast_memory({**LARGE, "gpu.free_gb": size}, dtype=dtype, audio_chunk_size=chunk, max_length_frames=frames)
        for size in (free_gb, free_gb + 1)
    )
    assert order.index(value_of(less)) <= order.index(value_of(more))
    assert less.typical_bytes <= less.need_bytes
    assert all(change.saves_bytes >= 0 for change in less.changes)


def test_the_four_published_models_are_ordered_by_need() -> None:
    needs = [forecast.need_bytes for forecast in forecast_published({"gpu.cc": "8.9"})]
    assert needs == sorted(needs)

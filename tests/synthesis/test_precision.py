"""Which precision is taken, and what the person is told about it."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.synthesis.precision import (
    Choice,
    choose_codec_dtype,
    choose_dtype,
    choose_predictor_dtype,
    choose_text_table_device,
)


@pytest.mark.parametrize(
    ("capability", "device", "value", "reason"),
    [
        ((8, 0), "cuda", "bfloat16", "compute capability 8.0 has BF16 in hardware"),
        ((8, 9), "cuda", "bfloat16", "compute capability 8.9 has BF16 in hardware"),
        ((12, 0), "cuda", "bfloat16", "compute capability 12.0 has BF16 in hardware"),
        ((7, 5), "cuda", "float32", "compute capability 7.5 only emulates BF16, and FP16 overflows"),
        ((6, 1), "cuda", "float32", "only emulates BF16"),
        (None, "cpu", "float32", "a CPU computes exactly in it"),
    ],
)
def test_auto_is_bf16_where_the_card_has_it(
    capability: tuple[int, int] | None, device: str, value: str, reason: str
) -> None:
    found = choose_dtype("auto", capability, device)
    assert found.value == value
    assert reason in found.reason
    assert found.warning == ""


def test_fp16_is_taken_only_when_asked_and_with_a_warning() -> None:
    found = choose_dtype("fp16", (8, 9), "cuda")
    assert (found.value, found.reason) == ("float16", "asked for")
    assert "65,504" in found.warning
    assert choose_predictor_dtype("float16").value == "float32"
    assert choose_predictor_dtype("bfloat16").value == "bfloat16"


def test_bf16_on_an_older_card_is_obeyed_with_a_warning() -> None:
    assert "only emulates BF16" in choose_dtype("bf16", (7, 5), "cuda").warning
    assert choose_dtype("bfloat16", None, "cpu") == Choice("bfloat16", "asked for")


@pytest.mark.parametrize("name", ["int8", "", "autocast", 16, None])
def test_another_name_is_refused(name: object) -> None:
    with pytest.raises(UsageError, match="dtype must be one of auto, bfloat16, float16, float32"):
        choose_dtype(name, None, "cpu")  # type: ignore[arg-type]


def test_the_codec_keeps_float32_where_it_fits() -> None:
    ample = choose_codec_dtype("auto", (8, 9), "cuda", need_bytes=5 * 10**9, memory_bytes=8 * 10**9)
    assert (ample.value, ample.warning) == ("tf32", "")
    asked = choose_codec_dtype("float32", (8, 9), "cuda")
    assert asked.value == "float32"
    tight = choose_codec_dtype("auto", (8, 9), "cuda", need_bytes=5 * 10**9, memory_bytes=4 * 10**9)
    assert (tight.value, tight.reason) == ("bfloat16", "with float32 it would need 5.0 GB of 4.0 GB")
    assert tight.warning
    assert choose_codec_dtype("auto", (7, 5), "cuda", need_bytes=5, memory_bytes=4).value == "float32"
    assert choose_codec_dtype("auto", None, "cpu", need_bytes=5, memory_bytes=4).value == "float32"
    assert choose_codec_dtype("bf16", None, "cpu").warning


def test_the_codec_is_never_fp16() -> None:
    with pytest.raises(UsageError, match="codec_dtype float16 overflows"):
        choose_codec_dtype("float16", (8, 9), "cuda")


def test_the_codec_runs_in_tf32_where_a_card_has_it() -> None:
    found = choose_codec_dtype("TF32", (8, 6), "cuda")
    assert found == Choice(
        "tf32",
        "asked for: matrix units round float32 to 10 bits of mantissa, which is faster; BF16 would leave 8 of the "
        "waveform",
    )
    for capability, device, where in (((7, 5), "cuda", "compute capability 7.5"), (None, "cpu", "cpu")):
        with pytest.raises(UsageError) as caught:
            choose_codec_dtype("tf32", capability, device)
        assert str(caught.value) == (
            f"codec_dtype tf32 needs a CUDA card of compute capability 8.0, not {where}; take float32"
        )
    with pytest.raises(UsageError, match="dtype must be one of auto, bfloat16, float16, float32, not 'tf32'"):
        choose_dtype("tf32", (8, 6), "cuda")
    with pytest.raises(UsageError, match="codec_dtype must be one of auto, bfloat16, .*, tf32, not 'int8'"):
        choose_codec_dtype("int8", (8, 6), "cuda")


def test_auto_means_tf32_for_the_codec_of_cards_alone() -> None:
    assert choose_codec_dtype("auto", (8, 9), "cuda").value == "tf32"
    assert choose_codec_dtype("auto", (7, 5), "cuda").value == "float32"
    assert choose_codec_dtype("auto", None, "cpu").value == "float32"


def test_the_text_table_stays_on_the_cpu_of_small_cards() -> None:
    assert choose_text_table_device("auto", "cuda", 8 * 10**9).value == "cpu"
    assert choose_text_table_device("auto", "cuda", 24 * 10**9).value == "cuda"
    assert choose_text_table_device(True, "cuda", 24 * 10**9) == Choice("cpu", "asked for")
    assert choose_text_table_device(False, "cuda", 8 * 10**9).value == "cuda"
    assert choose_text_table_device("auto", "cpu", None).value == "cpu"
    with pytest.raises(UsageError, match="text_embedding_on_cpu must be True, False or 'auto', not 'no'"):
        choose_text_table_device("no", "cuda", None)  # type: ignore[arg-type]


def test_a_choice_shows_its_reason() -> None:
    assert str(Choice("float32", "asked for")) == "float32 (asked for)"

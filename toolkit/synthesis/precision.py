"""In which precision a model runs, and where its text table lies; each choice comes with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from toolkit.errors import UsageError

__all__ = [
    "AUTO_CODEC_DTYPE",
    "NATIVE_BF16",
    "SMALL_CARD_BYTES",
    "Choice",
    "CodecDtypeName",
    "DtypeName",
    "choose_codec_dtype",
    "choose_dtype",
    "choose_predictor_dtype",
    "choose_text_table_device",
]

DtypeName = Literal["bfloat16", "float16", "float32"]

CodecDtypeName = Literal["bfloat16", "float16", "float32", "tf32"]
"""``tf32``: weights and activations in float32, which matrix units read with 10 bits of mantissa."""

AUTO_CODEC_DTYPE: Literal["float32", "tf32"] = "tf32"
"""What "auto" means for the codec on cards that have TF32, where it fits."""

NATIVE_BF16 = (8, 0)
"""Compute capability from which a card has BF16 units (Ampere). ``torch.cuda.is_bf16_supported()`` is no test: it is
true on a T4 (7.5), where each operation is emulated."""

SMALL_CARD_BYTES = 10 * 10**9
"""Below this the text embedding table (622 MB in BF16) stays on the CPU, where one row of it is read per token of the
prompt."""

_CODEC_REASONS = {
    "float32": "the waveform keeps its 24 bits of mantissa; BF16 would leave 8",
    "tf32": "matrix units round float32 to 10 bits of mantissa, which is faster; BF16 would leave 8 of the waveform",
}

_SHORT = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}


@dataclass(frozen=True)
class Choice:
    """A decision, its reason, and a warning when it is likely to disappoint."""

    value: str
    reason: str
    warning: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"


def choose_dtype(asked: str, capability: tuple[int, int] | None, device: str) -> Choice:
    """Dtype of talker and code predictor.

    ``autocast`` is no choice here: on BF16 weights it casts what is BF16 already and costs time (116 against 108 ms a
    frame, measured on the official package with the 1.7B model on an H200); it is for comparison only.

    Args:
        asked: "auto", "bfloat16", "float16", "float32", or a usual short name (bf16, fp16, fp32).
        capability: compute capability of the card, None where there is none.
        device: "cuda", "cpu", ...

    Raises:
        UsageError: an unknown name.
    """
    name = _named(asked, "dtype")
    native = capability is not None and capability >= NATIVE_BF16
    told = f"compute capability {capability[0]}.{capability[1]}" if capability else ""
    if name == "auto":
        if device != "cuda" or capability is None:
            where = "a CPU" if device == "cpu" else device
            return Choice("float32", f"{where} computes exactly in it; BF16 halves the memory and must be asked for")
        if native:
            return Choice("bfloat16", f"{told} has BF16 in hardware, and the weights are stored in it")
        return Choice("float32", f"{told} only emulates BF16, and FP16 overflows")
    if name == "float16":
        warning = (
            "FP16 ends at 65,504, which activations of these models pass: expect NaN or noise. The code predictor, "
            "softmax and sampling stay in float32, which helps but does not cure it."
        )
        return Choice(name, "asked for", warning)
    if name == "bfloat16" and device == "cuda" and not native:
        return Choice(name, "asked for", f"{told or 'this card'} only emulates BF16; float32 is faster and exact.")
    return Choice(name, "asked for")


def choose_predictor_dtype(dtype: str) -> Choice:
    """Dtype of the code predictor beside a talker in ``dtype``."""
    if dtype == "float16":
        return Choice("float32", "the code predictor overflows in FP16")
    return Choice(dtype, "as the talker")


def choose_codec_dtype(
    asked: str,
    capability: tuple[int, int] | None,
    device: str,
    *,
    need_bytes: int | None = None,
    memory_bytes: int | None = None,
) -> Choice:
    """Dtype of the codec. BF16 leaves 8 bits of mantissa in the waveform, so float32 is taken where it fits.

    Args:
        asked: "auto", "float32", "tf32", "bfloat16", or a usual short name.
        capability: compute capability of the card, None where there is none.
        device: "cuda", "cpu", ...
        need_bytes: what the whole model needs with a float32 codec, None where it is not known.
        memory_bytes: memory that may be used on the card, None where it is not known.

    Raises:
        UsageError: an unknown name; float16, in which the snake activations overflow; or tf32 without a card that has
            it.
    """
    name = _named(asked, "codec_dtype", get_args(CodecDtypeName))
    native = device == "cuda" and capability is not None and capability >= NATIVE_BF16
    if name == "float16":
        raise UsageError("codec_dtype float16 overflows in the codec; take float32, or bfloat16 to save memory")
    if name == "tf32" and not native:
        where = f"compute capability {capability[0]}.{capability[1]}" if capability else device
        raise UsageError(f"codec_dtype tf32 needs a CUDA card of compute capability 8.0, not {where}; take float32")
    if name == "tf32":
        return Choice(name, f"asked for: {_CODEC_REASONS[name]}")
    if name != "auto":
        warning = "The waveform of a BF16 codec has 8 bits of mantissa." if name == "bfloat16" else ""
        return Choice(name, "asked for", warning)
    if native and need_bytes is not None and memory_bytes is not None and need_bytes > memory_bytes:
        told = f"with float32 it would need {need_bytes / 1e9:.1f} GB of {memory_bytes / 1e9:.1f} GB"
        return Choice("bfloat16", told, "The waveform of a BF16 codec has 8 bits of mantissa.")
    chosen = AUTO_CODEC_DTYPE if native else "float32"
    return Choice(chosen, _CODEC_REASONS[chosen])


def choose_text_table_device(asked: bool | Literal["auto"], device: str, memory_bytes: int | None) -> Choice:
    """Where the text embedding table lies: "cpu" or ``device``.

    Args:
        asked: True keeps it on the CPU, False puts it on the device, "auto" keeps it on the CPU of small cards.
        device: where the model runs.
        memory_bytes: memory that may be used on the card, None where it is not known.

    Raises:
        UsageError: anything else.
    """
    if asked not in (True, False, "auto"):
        raise UsageError(f"text_embedding_on_cpu must be True, False or 'auto', not {asked!r}")
    if device == "cpu":
        return Choice("cpu", "all of the model is there")
    if asked == "auto":
        if memory_bytes is not None and memory_bytes < SMALL_CARD_BYTES:
            return Choice("cpu", f"{memory_bytes / 1e9:.1f} GB are less than 10, and only the prompt reads the table")
        return Choice(device, "the card has room for it")
    return Choice("cpu" if asked else device, "asked for")


def _named(asked: str, what: str, names: tuple[str, ...] = get_args(DtypeName)) -> str:
    name = _SHORT.get(asked.lower(), asked.lower()) if isinstance(asked, str) else ""
    known = ("auto", *names)
    if name not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, not {asked!r}")
    return name

"""Writes a checkpoint of random weights in the published folder layout, for demos, tests and speed measurements.

The scales "tiny" and "small" give the same bytes on every machine: the values come from NumPy's frozen legacy
generator, one seed a tensor, by additions and multiplications of doubles alone. "real" draws from a faster generator,
a few rows at a time.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import UsageError
from toolkit.synthesis.demo_shapes import (
    ADDED_TOKENS,
    GENERATION_CONFIG,
    Kind,
    Scale,
    Size,
    codec_json,
    model_json,
    model_shape,
    preprocessor_json,
    tokenizer_json,
)
from toolkit.synthesis.demo_tensors import CodebookSum, Normal, Ones, TensorPlan, Uniform, Usage, codec_plan, model_plan

__all__ = ["DemoModel", "make_demo_model", "write_texts"]

_PUBLISHED_BASE_VOCAB = 151643
_PUBLISHED_TEXT_VOCAB = 151936
_EOS_SCALES: dict[Scale, float] = {"tiny": 1.35, "small": 1.5, "real": 0.0}
_BLOCK_ELEMENTS = 2**22
_USAGE_FLOOR = np.float32(1e-5)
_DTYPES: dict[str, Any] = {"BF16": np.uint16, "F32": np.float32}

_Doubles = NDArray[np.float64]
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DemoModel:
    """A folder that was written, and the SHA-256 of its two files of weights by their names inside the folder."""

    folder: Path
    sha256: Mapping[str, str]


def make_demo_model(
    folder: Path,
    kind: Kind = "custom_voice",
    size: Size = "1b7",
    seed: int = 0,
    scale: Scale = "tiny",
    *,
    eos_scale: float | None = None,
    full_text_vocab: bool = False,
) -> DemoModel:
    """Write a model of random weights that loads like a published one and speaks noise.

    Args:
        folder: where; must not exist or be empty. It appears when everything is written.
        kind: "custom_voice", "voice_design" or "base".
        size: "1b7" or "0b6"; the small scales keep only which of the two is wider.
        seed: any whole number.
        scale: "tiny" (about 6 MB, codebooks of 256 entries), "small" (about 45 MB, the published ids) or "real" (the
            published shapes: 4.5 GB for 1b7, 2.5 GB for 0b6, a minute).
        eos_scale: size of the end-of-speech row of the head; larger ends earlier, 0 never ends. None: the scale's own.
        full_text_vocab: pad the text vocabulary to the published size, so that text ids are the published ones.

    Raises:
        UsageError: an unknown name, a folder that is not empty, or a disk that cannot take it.
    """
    _check(kind, ("custom_voice", "voice_design", "base"), "kind")
    _check(size, ("1b7", "0b6"), "size")
    _check(scale, ("tiny", "small", "real"), "scale")
    if eos_scale is not None and not math.isfinite(eos_scale):
        raise UsageError(f"eos_scale must be a finite number, found {eos_scale}")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; name another place")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "speech_tokenizer").mkdir(parents=True)
        text_vocab = write_texts(unfinished, kind, size, scale, full_text_vocab or scale == "real")
        shape = model_shape(scale, size)
        ending = _EOS_SCALES[scale] if eos_scale is None else eos_scale
        values = _BlockValues(seed) if scale == "real" else _PortableValues(seed)
        main = model_plan(kind, shape, text_vocab, ending)
        sums = {
            "model.safetensors": _write_weights(unfinished / "model.safetensors", main, "BF16", values),
            "speech_tokenizer/model.safetensors": _write_weights(
                unfinished / "speech_tokenizer" / "model.safetensors", codec_plan(shape), "F32", values
            ),
        }
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return DemoModel(folder, sums)


def _check(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, found {value!r}")


def write_texts(folder: Path, kind: Kind, size: Size, scale: Scale, full_text_vocab: bool) -> int:
    """Write everything but the weights into a folder that has a folder ``speech_tokenizer``; returns the rows of the
    text embedding."""
    assets = resources.files("toolkit.synthesis") / "assets"
    vocab: dict[str, int] = json.loads((assets / "vocab.json").read_text("utf-8"))
    assistant = vocab["assistant"]
    if full_text_vocab:
        base, text_vocab = _PUBLISHED_BASE_VOCAB, _PUBLISHED_TEXT_VOCAB
        # No merge produces these entries; they only move the added tokens to their published ids.
        vocab.update({f"<unused{index}>": index for index in range(len(vocab), base)})
    else:
        base = len(vocab)
        text_vocab = math.ceil((base + len(ADDED_TOKENS) + 8) / 32) * 32
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text((assets / "merges.txt").read_text("utf-8"), "utf-8")
    documents = {
        "config.json": model_json(kind, size, scale, base_vocab=base, text_vocab=text_vocab, assistant_id=assistant),
        "generation_config.json": GENERATION_CONFIG,
        "tokenizer_config.json": tokenizer_json(base),
        "speech_tokenizer/config.json": codec_json(scale),
        **preprocessor_json(),
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    return text_vocab


def _write_weights(
    path: Path, plans: Iterable[TensorPlan], dtype: Literal["BF16", "F32"], values: _PortableValues | _BlockValues
) -> str:
    """Write a safetensors file, tensors in the order of their names; returns its SHA-256."""
    width = np.dtype(_DTYPES[dtype]).itemsize
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    ordered = sorted(plans, key=lambda plan: plan.name)
    end = 0
    for plan in ordered:
        start, end = end, end + math.prod(plan.shape) * width
        header[plan.name] = {"dtype": dtype, "shape": list(plan.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8 bytes
    digest = hashlib.sha256()
    with path.open("wb") as file:

        def put(data: bytes) -> None:
            file.write(data)
            digest.update(data)

        put(len(text).to_bytes(8, "little"))
        put(text)
        for plan in ordered:
            for block in values.blocks(plan):
                put(_encode(block, dtype))
    return digest.hexdigest()


def _encode(values: _Floats, dtype: Literal["BF16", "F32"]) -> bytes:
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    # BF16 is the upper half of a float32, rounded to nearest, ties to even.
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + odd + np.uint32(0x7FFF)) >> np.uint32(16)).astype("<u2").tobytes()


def _digest(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:4], "little")


class _PortableValues:
    """Values that are the same on every machine: each tensor has a legacy generator seeded by its name."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def blocks(self, plan: TensorPlan) -> Iterator[_Floats]:
        """The tensor as one block."""
        yield self._tensor(plan).astype(np.float32)

    def _tensor(self, plan: TensorPlan) -> _Doubles | _Floats:
        draw, shape = plan.draw, plan.shape
        if isinstance(draw, Ones):
            return np.ones(shape)
        if isinstance(draw, Usage):
            return self._usage(plan.name, shape[0])
        source = self._source(plan.name)
        count = math.prod(shape)
        if isinstance(draw, Uniform):
            return (draw.low + (draw.high - draw.low) * source.random_sample(count)).reshape(shape)
        values = _bell(source, count).reshape(shape)
        if isinstance(draw, CodebookSum):
            usage = np.maximum(self._usage(draw.usage, shape[0]), _USAGE_FLOOR).astype(np.float64)
            return values * draw.std * usage[:, None]
        return _shape_normal(values, draw)

    def _source(self, name: str) -> np.random.RandomState:
        return np.random.RandomState(_digest(self._seed, name))

    def _usage(self, name: str, count: int) -> _Floats:
        source = self._source(name)
        usage = 0.5 + 20.0 * source.random_sample(count)
        usage[source.random_sample(count) < 0.02] = 1e-7
        return usage.astype(np.float32)


def _bell(source: np.random.RandomState, count: int) -> _Doubles:
    """Nearly normal values of variance 1: the sum of four uniform ones (mean 2, variance 1/3), moved and stretched."""
    total = source.random_sample(count)
    for _ in range(3):
        total += source.random_sample(count)
    return (total - 2.0) * 1.7320508075688772


def _shape_normal(values: _Doubles, draw: Normal) -> _Doubles:
    if draw.centred:
        values = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    values = values * draw.std
    if draw.scaled_row is not None:
        row, factor = draw.scaled_row
        values[row] *= factor
    return values


class _BlockValues:
    """Values for large tensors, a few rows at a time; not the same on every machine."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def blocks(self, plan: TensorPlan) -> Iterator[_Floats]:
        """The tensor in blocks of whole rows."""
        row_size = math.prod(plan.shape[1:])
        rows = max(1, _BLOCK_ELEMENTS // row_size)
        source = self._source(plan.name)
        for first in range(0, plan.shape[0], rows):
            shape = (min(rows, plan.shape[0] - first), *plan.shape[1:])
            yield self._block(source, plan, shape, first)

    def _block(self, source: np.random.Generator, plan: TensorPlan, shape: tuple[int, ...], first: int) -> _Floats:
        draw = plan.draw
        if isinstance(draw, Ones):
            return np.ones(shape, np.float32)
        if isinstance(draw, Usage):
            return self._usage(plan.name, plan.shape[0])[first : first + shape[0]]
        if isinstance(draw, Uniform):
            return np.float32(draw.low) + np.float32(draw.high - draw.low) * source.random(shape, np.float32)
        values = source.standard_normal(shape, np.float32)
        if isinstance(draw, CodebookSum):
            usage = self._usage(draw.usage, plan.shape[0])[first : first + shape[0]]
            return values * np.float32(draw.std) * usage[:, None]
        if draw.centred:
            values -= values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
        values *= np.float32(draw.std)
        if draw.scaled_row is not None and first <= draw.scaled_row[0] < first + shape[0]:
            values[draw.scaled_row[0] - first] *= np.float32(draw.scaled_row[1])
        return values

    def _source(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64(_digest(self._seed, name)))

    def _usage(self, name: str, count: int) -> _Floats:
        return np.float32(0.5) + np.float32(20.0) * self._source(name).random(count, np.float32)

"""Forecasts the memory that a model needs on the card, line by line, from facts alone, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil

from toolkit.errors import UsageError
from toolkit.probe.model_shape import (
    CONTEXT_FRAMES,
    OFFICIAL_CHUNK_FRAMES,
    PUBLISHED_SHAPES,
    ModelShape,
    shape_from_facts,
)
from troubleshoot.facts import NA

__all__ = ["Change", "Choice", "Forecast", "Line", "forecast_facts", "forecast_memory", "forecast_published"]

GIB = 2**30
CONTEXT_BYTES = 400 * 2**20
"""CUDA context with PyTorch's kernels, which load as they are first used since CUDA 11.7 (pytorch/pytorch#109888)."""
DESKTOP_BYTES = 1 * GIB
"""What a desktop holds on the card, upper end of the 0.5 to 1 GB seen in reports; used when free memory is unknown."""
FREE_SHARE = 0.9
"""Share of the free memory that may be planned with; the allocator's rounding and fragments take the rest."""
SECONDS_PER_CHARACTER = 0.3
"""Upper end of the speech of a Chinese character (0.2 to 0.3 s; a Latin letter takes 0.06 to 0.09 s)."""
FRAMES_PER_SECOND = 12.5
_TEMPLATE_POSITIONS = 14  # role, language tags, speaker, marks: at most 14 of the prompt without instruction and text
_DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
_RUNTIMES = ("qwen-tts", "toolkit")
_TEXT_CHARACTERS = 120


@dataclass(frozen=True)
class Choice:
    """A decision with its reason."""

    value: str
    reason: str


@dataclass(frozen=True)
class Line:
    """One line of the sum: what it is for, how it was worked out, and the bytes."""

    label: str
    formula: str
    byte_count: int


@dataclass(frozen=True)
class Change:
    """A setting that saves memory. ``need_bytes`` and ``verdict`` hold with this change and those before it."""

    setting: str
    before: str
    after: str
    saves_bytes: int
    need_bytes: int
    verdict: str


@dataclass(frozen=True)
class Forecast:
    """Memory needed at the longest possible run (``need_bytes``) and at an ordinary text (``typical_bytes``).

    ``lines`` add up to ``need_bytes``; ``held`` tells what of the card is not free. Bytes are of the card's memory.
    """

    model: str
    dtype: Choice
    lines: tuple[Line, ...]
    need_bytes: int
    typical_bytes: int
    held: tuple[Line, ...]
    free_bytes: int | NA
    verdict: Choice | NA
    changes: tuple[Change, ...] = ()

    def as_facts(self) -> dict[str, object]:
        """Facts ``forecast.*``; sizes in GiB (2**30 bytes), those in lists in bytes."""
        verdict, reason = self.verdict, self.verdict
        if isinstance(self.verdict, Choice):
            verdict, reason = self.verdict.value, self.verdict.reason  # type: ignore[assignment]
        return {
            "forecast.model": self.model,
            "forecast.dtype": self.dtype.value,
            "forecast.verdict": verdict,
            "forecast.reason": reason,
            "forecast.need_gb": _gib(self.need_bytes),
            "forecast.typical_gb": _gib(self.typical_bytes),
            "forecast.free_gb": _gib(self.free_bytes),
            "forecast.lines": [
                {"label": line.label, "formula": line.formula, "bytes": line.byte_count} for line in self.lines
            ],
            "forecast.changes": [asdict(change) for change in self.changes],
        }


@dataclass(frozen=True)
class _Plan:
    """Everything that the sum depends on; a change is a plan with one field replaced."""

    shape: ModelShape
    dtype: str
    chunk_frames: int
    frames: int
    characters: int
    batch: int
    runtime: str
    embedding_on_card: bool = True
    freed_bytes: int = 0

    @property
    def width(self) -> int:
        return _DTYPE_BYTES[self.dtype]

    @property
    def ordinary_frames(self) -> int:
        return min(self.frames, ceil(self.characters * SECONDS_PER_CHARACTER * FRAMES_PER_SECOND))


def forecast_memory(
    facts: Mapping[str, object],
    *,
    dtype: str | None = None,
    audio_chunk_size: int | None = None,
    max_length_frames: int | None = None,
    text_characters: int | None = None,
    batch: int = 1,
    runtime: str = "qwen-tts",
    shape: ModelShape | None = None,
) -> Forecast:
    """Forecast for the model that the facts tell of (``model.*``; ``shape`` replaces it) on the card that they tell of.

    ``dtype``: bfloat16, float16 or float32 (default: ``run.dtype``, else by ``gpu.cc``). ``audio_chunk_size``: frames
    of 80 ms decoded at once (default: the service's setting, else the official 300). ``max_length_frames``: longest
    run (default: the model's ``max_new_tokens``). ``text_characters``: an ordinary text (default: the service's
    ``max_text_length``, else 120). ``runtime``: ``qwen-tts``, which keeps the hidden states of every step, or
    ``toolkit``. Facts used: ``gpu.free_gb``, ``gpu.memory_gb``, ``gpu.other_gb``, ``gpu.display``,
    ``gpu.driver_model``, ``os.family``, ``os.wsl``. Without a model the published 1.7B CustomVoice is taken.
    Raises :class:`UsageError` for a value out of range.
    """
    shape = shape or shape_from_facts(facts) or PUBLISHED_SHAPES[2]
    if runtime not in _RUNTIMES:
        raise UsageError(f"runtime {runtime!r}: give one of {', '.join(_RUNTIMES)}")
    chosen = _dtype(facts, dtype)
    told = facts.get("service.audio_chunk_size")
    plan = _Plan(
        shape=shape,
        dtype=chosen.value,
        chunk_frames=_whole("audio_chunk_size", audio_chunk_size, told, OFFICIAL_CHUNK_FRAMES),
        # A frame exists only after its first code was fed back, so the last step makes none.
        frames=_whole("max_length_frames", max_length_frames, None, max(1, shape.max_new_tokens - 1)),
        characters=_whole("text_characters", text_characters, facts.get("service.max_text_length"), _TEXT_CHARACTERS),
        batch=_whole("batch", batch, None, 1),
        runtime=runtime,
    )
    held, free_bytes = _free(facts)
    lines = tuple(_lines(plan, plan.frames))
    need_bytes = sum(line.byte_count for line in lines)
    return Forecast(
        model=shape.name,
        dtype=chosen,
        lines=lines,
        need_bytes=need_bytes,
        typical_bytes=_sum(plan, plan.ordinary_frames),
        held=held,
        free_bytes=free_bytes,
        verdict=_verdict(plan, free_bytes),
        changes=tuple(_changes(plan, facts, free_bytes)),
    )


def forecast_published(facts: Mapping[str, object], *, dtype: str | None = None) -> tuple[Forecast, ...]:
    """Forecasts for the four published shapes, smallest first; settings of the service come from the facts."""
    return tuple(forecast_memory(facts, dtype=dtype, shape=shape) for shape in PUBLISHED_SHAPES)


def forecast_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Facts ``forecast.*`` for the doctor.

    With a model, its forecast. Without one, that of the published 1.7B CustomVoice, whose verdict stands only when it
    is the same for every published model; ``forecast.published`` lists them all.
    """
    if shape_from_facts(facts) is not None:
        return forecast_memory(facts).as_facts()
    every = forecast_published(facts)
    verdicts = {one.model: one.verdict.value for one in every if isinstance(one.verdict, Choice)}
    told = every[2].as_facts()
    told["forecast.published"] = [
        {"model": one.model, "need_gb": _gib(one.need_bytes), "verdict": verdicts.get(one.model, "unknown")}
        for one in every
    ]
    if len(set(verdicts.values())) > 1:
        rows = ", ".join(f"{name.removeprefix('Qwen3-TTS-12Hz-')} {verdict}" for name, verdict in verdicts.items())
        told["forecast.verdict"] = NA(f"no model was given, and it depends on the model: {rows}")
    return told


def _lines(plan: _Plan, frames: int) -> Iterator[Line]:
    shape, width = plan.shape, plan.width
    for component, label in (
        ("talker", "weights: talker"),
        ("code_predictor", "weights: code predictor"),
        ("text_embedding", "weights: text embedding"),
        ("speaker_encoder", "weights: speaker encoder"),
        ("codec_decoder", "weights: codec decoder"),
        ("codec_encoder", "weights: codec encoder"),
        ("other", "weights: other tensors"),
    ):
        count = shape.elements.get(component, 0)
        if count and (component != "text_embedding" or plan.embedding_on_card):
            yield Line(label, f"{count / 1e6:,.1f} M x {width} bytes ({plan.dtype})", count * width)
    if shape.other_bytes:
        yield Line("weights: quantised or whole-number tensors", "as stored", shape.other_bytes)
    positions = _TEMPLATE_POSITIONS + plan.characters + frames
    yield _cache("KV cache: talker", shape, plan, positions)
    predictor = shape.predictor
    groups = 16
    yield Line(
        "KV cache: code predictor",
        f"{predictor.layers} layers x 2 x {predictor.kv_heads} heads x {predictor.head_dim} x {width} bytes x {groups}"
        f"{_times(plan.batch)}",
        predictor.kv_elements * width * groups * plan.batch,
    )
    if plan.runtime == "qwen-tts":
        talker = shape.talker
        yield Line(
            "hidden states that generate() keeps",
            f"({talker.layers} layers + 1) x {talker.hidden} x {width} bytes x {positions:,} positions"
            f"{_times(plan.batch)}",
            (talker.layers + 1) * talker.hidden * width * positions * plan.batch,
        )
    elements, formula = shape.codec.peak_elements_per_frame()
    decoded = min(plan.chunk_frames + CONTEXT_FRAMES, frames)
    yield Line(
        "codec decode, peak",
        f"{formula} x {decoded} frames x {width} bytes{_times(plan.batch)}",
        elements * decoded * width * plan.batch,
    )
    yield Line("CUDA context", "PyTorch, kernels loaded when first used", CONTEXT_BYTES)


def _cache(label: str, shape: ModelShape, plan: _Plan, positions: int) -> Line:
    talker = shape.talker
    formula = (
        f"{talker.layers} layers x 2 x {talker.kv_heads} heads x {talker.head_dim} x {plan.width} bytes x "
        f"{positions:,} positions{_times(plan.batch)}"
    )
    return Line(label, formula, talker.kv_elements * plan.width * positions * plan.batch)


def _times(batch: int) -> str:
    return f" x {batch} texts" if batch > 1 else ""


def _sum(plan: _Plan, frames: int) -> int:
    return sum(line.byte_count for line in _lines(plan, frames))


def _verdict(plan: _Plan, free_bytes: int | NA) -> Choice | NA:
    if isinstance(free_bytes, NA):
        return free_bytes
    free_bytes += plan.freed_bytes
    need, ordinary = _sum(plan, plan.frames), _sum(plan, plan.ordinary_frames)
    told = f"{need / GIB:.1f} GiB of {free_bytes / GIB:.1f} GiB free at the longest run ({plan.frames:,} frames)"
    if need <= FREE_SHARE * free_bytes:
        return Choice("fits", told)
    if ordinary <= FREE_SHARE * free_bytes or need <= free_bytes:
        ordinary_told = f"a text of {plan.characters} characters needs {ordinary / GIB:.1f} GiB"
        return Choice("tight", f"{told}; {ordinary_told}")
    return Choice("does-not-fit", f"{told}; even {plan.characters} characters need {ordinary / GIB:.1f} GiB")


def _changes(plan: _Plan, facts: Mapping[str, object], free_bytes: int | NA) -> Iterator[Change]:
    """Changes that save memory, in the order in which they cost least, until it fits."""
    first = _verdict(plan, free_bytes)
    if isinstance(first, NA) or first.value == "fits":
        return
    for setting, before, after, changed in _candidates(plan, facts):
        current = _apply(plan, changed)
        before_bytes = _sum(plan, plan.frames) - plan.freed_bytes
        after_bytes = _sum(current, current.frames) - current.freed_bytes
        verdict = _verdict(current, free_bytes)
        plan = current
        value = verdict.value if isinstance(verdict, Choice) else "unknown"
        yield Change(setting, before, after, before_bytes - after_bytes, after_bytes, value)
        if value == "fits":
            return


def _candidates(plan: _Plan, facts: Mapping[str, object]) -> Iterator[tuple[str, str, str, Mapping[str, object]]]:
    other = facts.get("gpu.other_gb")
    capability = _capability(facts)
    if plan.dtype == "float32" and (capability is None or capability >= 8.0):
        yield "dtype", "float32", "bfloat16", {"dtype": "bfloat16"}
    if isinstance(other, (int, float)) and other > 0.3:
        yield "other programs on the card", f"{other:.1f} GiB", "closed", {"freed_bytes": int(other * GIB)}
    if plan.frames > 1024:
        yield "max_new_tokens", str(plan.frames + 1), "1024 (82 s)", {"frames": 1023}
    if plan.chunk_frames > 128:
        yield "audio_chunk_size", str(plan.chunk_frames), "128", {"chunk_frames": 128}
    if plan.characters > 80:
        yield "max_text_length", str(plan.characters), "80", {"characters": 80}
    if plan.embedding_on_card and plan.shape.elements.get("text_embedding"):
        yield "text embedding", "on the card", "on the CPU", {"embedding_on_card": False}
    if plan.shape.size == "1.7B" and "design" not in plan.shape.kind.lower():  # voice design exists in 1.7B only
        smaller = PUBLISHED_SHAPES[1 if plan.shape.kind.lower() == "base" else 0]
        yield "model", "1.7B", "0.6B", {"shape": smaller}


def _apply(plan: _Plan, changed: Mapping[str, object]) -> _Plan:
    return replace(plan, **changed)  # type: ignore[arg-type]


def _dtype(facts: Mapping[str, object], asked: str | None) -> Choice:
    if asked is not None:
        if asked not in _DTYPE_BYTES:
            raise UsageError(f"dtype {asked!r}: give one of {', '.join(_DTYPE_BYTES)}")
        return Choice(asked, "asked for")
    told = facts.get("run.dtype")
    if told in _DTYPE_BYTES:
        return Choice(str(told), "the service's code or its user says so")
    capability = _capability(facts)
    if capability is None:
        return Choice("bfloat16", "the published weights' own; the card is not known")
    if capability >= 8.0:
        return Choice("bfloat16", f"compute capability {capability} has it in hardware")
    return Choice("float32", f"compute capability {capability} only emulates bfloat16, and float16 overflows")


def _capability(facts: Mapping[str, object]) -> float | None:
    try:
        return float(str(facts.get("gpu.cc")))
    except ValueError:
        return None


def _free(facts: Mapping[str, object]) -> tuple[tuple[Line, ...], int | NA]:
    """What is held on the card, and what is left."""
    free, total, other = (_bytes(facts.get(f"gpu.{name}")) for name in ("free_gb", "memory_gb", "other_gb"))
    if free is not None:
        held = total - free if total is not None else other
        line = Line("held by other programs and the desktop", "total - free, as the driver counts", held or 0)
        return ((line,) if held else ()), free
    if total is None:
        reason = facts.get("gpu.memory_gb")
        return (), reason if isinstance(reason, NA) else NA("the card's memory is not known")
    lines = []
    if other:
        lines.append(Line("held by other programs", "as the driver counts", other))
    is_windows = facts.get("os.family") == "windows" or facts.get("os.wsl") is True
    if is_windows or facts.get("gpu.driver_model") == "WDDM" or facts.get("gpu.display") is True:
        lines.append(Line("reserve for the desktop", "upper end of 0.5 to 1 GB", max(0, DESKTOP_BYTES - (other or 0))))
    return tuple(lines), max(0, total - sum(line.byte_count for line in lines))


def _gib(byte_count: int | NA) -> float | NA:
    return byte_count if isinstance(byte_count, NA) else round(byte_count / GIB, 2)


def _bytes(value: object) -> int | None:
    is_size = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e6
    return int(float(str(value)) * GIB) if is_size else None


def _whole(name: str, asked: int | None, told: object, default: int) -> int:
    value = asked if asked is not None else told if isinstance(told, int) and not isinstance(told, bool) else default
    if isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise UsageError(f"{name} {value!r}: give a whole number from 1 to 1000000")
    return value

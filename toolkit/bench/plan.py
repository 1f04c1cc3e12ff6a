"""What shall be measured: options checked before anything heavy is loaded, defaults by device, the canonical hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from toolkit.errors import UsageError

__all__ = [
    "LONG_TEXT",
    "MOST_FRAMES",
    "PEERS",
    "SIZES",
    "TEXT",
    "BenchPlan",
    "canonical_json",
    "config_hash",
    "names_of",
    "numbers_of",
]

SIZES = ("1b7", "0b6", "tiny", "pocket")
"""The published shapes and the demo models' with random weights, and the trained voice that comes with the toolkit."""

PEERS = ("faster-qwen3-tts", "qwen-tts")
"""Other programs for the same models, by the names of their packages."""

MOST_FRAMES = 8191
"""Most frames of a generation: the published ``max_new_tokens`` less one."""

TEXT = "清晨的火车沿着海岸慢慢开，窗外的灯塔一闪一闪，像在数我们走过的路，谁也没有先开口说话。"
"""One part, short enough for every model."""

LONG_TEXT = (
    "周末的市集从早上七点开始，卖花的、卖面包的、修旧收音机的都在。Anna 买了三支向日葵，又问摊主要一张 city map。"
    "摊主笑着说，地图没有，不过从这里往东走二百米就是码头，ten minutes，能赶上那班船！她道了谢，转身走进薄雾里。"
)
"""120 characters with punctuation, two languages in it, in four sentences."""

_PRECISIONS = {
    "auto": "auto",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "float16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float32": "float32",
}
_PATHS = ("auto", "fast", "plain")
_CODECS = {name: value for name, value in _PRECISIONS.items() if value != "float16"} | {"tf32": "tf32"}
T = TypeVar("T")
_MOST_ROWS, _MOST_CHUNK, _MOST_REPEATS = 256, 300, 1000


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """Options of a run. None: what suits the device, filled in by :meth:`settled`.

    Attributes:
        model: a checkpoint as :func:`toolkit.load` takes it, in place of ``size``.
        size: one of :data:`SIZES`.
        device: "auto", "cuda", "cuda:1", "cpu".
        precisions: "auto", "bfloat16", "float16", "float32"; each is measured by itself.
        frames: most frames (80 ms) of a call; random weights make exactly as many.
        batches: texts side by side, one measurement each.
        chunks: frames of the pieces of a stream, one measurement each.
        path: "auto", "fast" or "plain", as :func:`toolkit.load` takes it.
        codec: dtype of the codec: "auto", "float32", "tf32", "bfloat16", as :func:`toolkit.load` takes it.
        repeats: calls that are timed, and among which the first failure is looked for.
        text: what is said; :data:`TEXT` unless given.
        against: peers, of :data:`PEERS`.
        peer_python: interpreters in which the peers are installed: ``NAME=PATH`` for one peer, a bare path for all that
            have none of their own; this one unless given.
        cold: also start a process afresh and wait for its first sound.
        seed: of weights and draws.
    """

    model: str | None = None
    size: str | None = None
    device: str = "auto"
    precisions: tuple[str, ...] = ("auto",)
    frames: int | None = None
    batches: tuple[int, ...] | None = None
    chunks: tuple[int, ...] = (1,)
    repeats: int | None = None
    text: str | None = None
    against: tuple[str, ...] = ()
    peer_python: tuple[str, ...] = ()
    quick: bool = False
    cold: bool | None = None
    seed: int = 1
    path: str = "auto"
    codec: str = "auto"

    def __post_init__(self) -> None:
        if self.model is not None and self.size is not None:
            raise UsageError("give --model (a checkpoint) or --size (random weights, or pocket), not both")
        if self.size is not None and self.size not in SIZES:
            raise UsageError(f"--size must be one of {', '.join(SIZES)}, not {self.size!r}")
        if self.path not in _PATHS:
            raise UsageError(f"--path must be one of {', '.join(_PATHS)}, not {self.path!r}")
        if self.path == "fast" and "float16" in map(_precision, self.precisions):
            raise UsageError("--path fast takes bf16 and fp32; only the plain path looks for the overflows of fp16")
        object.__setattr__(self, "codec", _CODECS.get(self.codec.lower(), self.codec))
        if self.codec not in _CODECS.values():
            raise UsageError(f"--codec-dtype must be one of auto, bf16, tf32, fp32, not {self.codec!r}")
        object.__setattr__(self, "precisions", tuple(_precision(name) for name in self.precisions))
        _require_distinct("--precision", self.precisions)
        for name, values, most in (
            ("--frames", () if self.frames is None else (self.frames,), MOST_FRAMES),
            ("--batch", self.batches or (), _MOST_ROWS),
            ("--chunk", self.chunks, _MOST_CHUNK),
            ("--repeat", () if self.repeats is None else (self.repeats,), _MOST_REPEATS),
        ):
            _require_distinct(name, values)
            for value in values:
                if type(value) is not int or not 1 <= value <= most:
                    raise UsageError(f"{name} must be whole numbers from 1 to {most}, not {value!r}")
        unknown = [name for name in self.against if name not in PEERS]
        if unknown:
            raise UsageError(f"--against knows {' and '.join(PEERS)}, not {', '.join(map(repr, unknown))}")
        _require_distinct("--against", self.against)
        if self.peer_python and not self.against:
            raise UsageError("--peer-python names where the peers are installed; it goes with --against")
        _check_interpreters(self.peer_python, self.against)
        if self.text is not None and not self.text.strip():
            raise UsageError("--text is empty; leave it out for the standard text")

    @property
    def random_weights(self) -> bool:
        """Whether the weights are drawn; their speech is noise and must not be judged."""
        return self.model is None and self.size in ("1b7", "0b6", "tiny")

    @property
    def spoken_text(self) -> str:
        """What is said."""
        return TEXT if self.text is None else self.text

    def peer_interpreter(self, name: str) -> str | None:
        """The interpreter of a peer; None: this one."""
        found = dict(map(_interpreter, self.peer_python))
        path = found.get(name, found.get(None))
        return None if path is None else os.path.expanduser(path)

    def settled(self, device_type: str) -> BenchPlan:
        """Every None filled in: on a card the large model with random weights, on a CPU the pocket voice."""
        card = device_type == "cuda"
        named = self.size is not None or self.model is not None
        return replace(
            self,
            size=self.size if named else ("1b7" if card else "pocket"),
            frames=_given(self.frames, 16 if self.quick else 333 if card else 50),
            batches=_given(self.batches, (1,) if self.quick else (1, 8, 32) if card else (1, 4)),
            repeats=_given(self.repeats, 2 if self.quick else 5 if card else 3),
            cold=_given(self.cold, not self.quick),
        )

    def to_json(self) -> dict[str, object]:
        """The options as JSON values, from which :meth:`from_json` makes them again."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> BenchPlan:
        """See :meth:`to_json`."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})  # type: ignore[arg-type]


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers between commas.

    Raises:
        UsageError: anything else.
    """
    words = names_of(text, option)
    if not all(word.isascii() and word.isdigit() and len(word) < 8 for word in words):
        raise UsageError(f"{option} takes whole numbers between commas, such as 1,8,32, not {text!r}")
    return tuple(int(word) for word in words)


def names_of(text: str, option: str) -> tuple[str, ...]:
    """Names between commas, in small letters.

    Raises:
        UsageError: an empty place.
    """
    words = tuple(word.strip().lower() for word in text.split(","))
    if not all(words):
        raise UsageError(f"{option} has an empty place between its commas: {text!r}")
    return words


def canonical_json(values: Mapping[str, object]) -> str:
    """One spelling of JSON values: keys sorted, no spaces, UTF-8 as it is. NaN and infinity are refused."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def config_hash(values: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits. Equal for equal settings on any machine."""
    return hashlib.sha256(canonical_json(values).encode("utf-8")).hexdigest()


def _check_interpreters(given: tuple[str, ...], against: tuple[str, ...]) -> None:
    owners = [_interpreter(each)[0] for each in given]
    for each, owner in zip(given, owners, strict=True):
        if owner is not None and owner not in against:
            raise UsageError(f"--peer-python {each}: {owner!r} is none of those that --against names")
        if owners.count(owner) > 1:
            raise UsageError(
                f"--peer-python names two interpreters for {owner or 'all peers without one of their own'}"
            )


def _interpreter(given: str) -> tuple[str | None, str]:
    """Peer and path of ``NAME=PATH``; no peer with a bare path, which may have a "=" behind its first separator."""
    name, equals, path = given.partition("=")
    if not equals or "/" in name or "\\" in name:
        name, path = "", given
    if not path:
        raise UsageError(f"--peer-python takes PATH or NAME=PATH, not {given!r}")
    return name.lower() or None, path


def _precision(name: str) -> str:
    found = _PRECISIONS.get(name.lower())
    if found is None:
        raise UsageError(f"--precision must be of auto, bf16, fp16, fp32, not {name!r}")
    return found


def _require_distinct(option: str, values: tuple[object, ...]) -> None:
    if len(set(values)) != len(values):
        raise UsageError(f"{option} names something twice: {', '.join(map(str, values))}")


def _given(value: T | None, default: T) -> T:
    return default if value is None else value

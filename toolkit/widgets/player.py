"""A player that sounds while the rest is being made: pieces go to the browser, which plays them without a gap."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from toolkit.errors import BadAudio, UsageError
from toolkit.widgets.languages import Texts, shared_texts

__all__ = ["Player"]

_FOLDER = Path(__file__).parent
_LABELS = {name: f"player.{name}" for name in ("player", "play", "pause", "stop", "position", "save")}
_RATES_HZ = (8_000, 96_000)
_MOST_SECONDS = 600


class Player(anywidget.AnyWidget):
    """Play, pause, stop, and once all is there also seek and save as WAV; reachable by keyboard.

    ``begin``, then ``feed`` for each piece, then ``finish``. The browser tells back ``state`` (``empty``, ``playing``,
    ``paused``, ``ended``, or ``blocked`` where it wants a click before the first sound), ``received_samples``,
    ``played_samples`` (the position), ``gaps`` (times it ran dry), ``peak`` (loudest sample that went to the speakers,
    1.0 is full scale) and ``wav_bytes`` (size of the file that can be saved, 0 before the end). One player at a time
    sounds in a page. After a reload of the page the browser asks for all pieces again.
    """

    _esm = _FOLDER / "player.js"
    _css = _FOLDER / "player.css"

    title = traitlets.Unicode("").tag(sync=True)
    autoplay = traitlets.Bool(True).tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)

    state = traitlets.Unicode("empty").tag(sync=True)
    received_samples = traitlets.Int(0).tag(sync=True)
    played_samples = traitlets.Int(0).tag(sync=True)
    gaps = traitlets.Int(0).tag(sync=True)
    peak = traitlets.Float(0.0).tag(sync=True)
    wav_bytes = traitlets.Int(0).tag(sync=True)

    def __init__(self, texts: Texts | None = None, **traits: Any) -> None:
        self._texts = texts or shared_texts()
        self._run = 0
        self._rate_hz = 24_000
        self._pieces: list[NDArray[Any]] = []
        self._finished = False
        self._ready = False
        super().__init__(key=secrets.token_hex(8), **traits)
        self._write_labels()
        self._unfollow = self._texts.on_switch(self._write_labels)
        self.on_msg(self._hear)

    @property
    def samples(self) -> NDArray[np.float32]:
        """All that was fed so far: float32, mono, in [-1, 1]."""
        parts = [
            piece.astype(np.float32) / 32768 if piece.dtype == np.int16 else piece.astype(np.float32)
            for piece in self._pieces
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self._rate_hz

    def begin(self, sample_rate: int) -> None:
        """Forget what was there and wait for pieces at ``sample_rate`` Hz. Raises UsageError."""
        low, high = _RATES_HZ
        if type(sample_rate) is not int or not low <= sample_rate <= high:
            raise UsageError(f"a browser plays {low} to {high} samples a second, not {sample_rate!r}")
        self._run += 1
        self._rate_hz = sample_rate
        self._pieces = []
        self._finished = False
        self._tell("begin", rate=sample_rate)

    def feed(self, samples: NDArray[Any]) -> None:
        """The next piece: float32 in [-1, 1] or int16, mono. Sounds at once when the player is sounding.

        Raises UsageError before ``begin`` or after ``finish``, BadAudio for another shape, type or a value that is no
        number.
        """
        if self._run == 0 or self._finished:
            raise UsageError("call begin() before the first piece of a new sound")
        piece = np.asarray(samples)
        if piece.ndim != 1 or piece.dtype not in (np.float32, np.int16):
            raise BadAudio(f"a piece is a row of float32 or int16 samples, not {piece.dtype} of shape {piece.shape}")
        if piece.dtype == np.float32 and not np.isfinite(piece).all():
            raise BadAudio("a piece holds NaN or infinity; the precision of the model is too low for it")
        if sum(one.size for one in self._pieces) + piece.size > _MOST_SECONDS * self._rate_hz:
            raise BadAudio(f"a page plays at most {_MOST_SECONDS} s; save longer speech as a file")
        self._pieces.append(np.ascontiguousarray(piece))
        self._send_piece(len(self._pieces) - 1)

    def finish(self) -> None:
        """All pieces were fed: now it can be sought in and saved."""
        self._finished = True
        self._tell("end", count=len(self._pieces))

    def load(self, samples: NDArray[Any], sample_rate: int) -> None:
        """A whole sound at once."""
        self.begin(sample_rate)
        self.feed(samples)
        self.finish()

    def play(self) -> None:
        """As the button does."""
        self._tell("do", action="play")

    def pause(self) -> None:
        """As the button does."""
        self._tell("do", action="pause")

    def stop(self) -> None:
        """Silence, and back to the beginning."""
        self._tell("do", action="stop")

    def seek(self, sample: int) -> None:
        """Go on from a sample, counted from 0."""
        self._tell("do", action="seek", sample=int(sample))

    def close(self) -> None:
        """Take it off the page."""
        self._unfollow()
        self._pieces = []
        super().close()

    def _write_labels(self) -> None:
        self.labels = {name: self._texts.say(key) for name, key in _LABELS.items()}

    def _hear(self, _: object, message: Any, buffers: object) -> None:
        if not (isinstance(message, dict) and message.get("kind") == "ready"):
            return
        self._ready = True
        if self._run:
            self._tell("begin", rate=self._rate_hz)
            for seq in range(len(self._pieces)):
                self._send_piece(seq, live=not self._finished)
            if self._finished:
                self._tell("end", count=len(self._pieces))

    def _send_piece(self, seq: int, *, live: bool = True) -> None:
        piece = self._pieces[seq]
        self._tell("piece", seq=seq, dtype=piece.dtype.name, live=live, buffers=[piece.tobytes()])

    def _tell(self, kind: str, *, buffers: list[bytes] | None = None, **values: object) -> None:
        # Before a page has asked there is nobody to hear; it then gets everything.
        if self._ready:
            self.send({"kind": kind, "run": self._run, **values}, buffers)

"""Trains the codec: all of it from scratch, or its decoder alone on codes that stay as they are.

On CUDA a step (draw, forward, backward, update) is one CUDA graph. The ear learns beside the codec in both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.synthesis.demo_shapes import ModelShape
from training.pocket.codec_losses import Ear, PhoneHead, SpectralLoss
from training.pocket.codec_net import Codec, initialise
from training.pocket.corpus import LABEL_SAMPLES, Corpus, Utterance
from training.pocket.speech import FRAME_SAMPLES
from training.pocket.voices import SPEAKERS

__all__ = ["CodecSettings", "refine_decoder", "train_codec"]

_KEEP_S = 60.0
_FRAME_LABELS = FRAME_SAMPLES // LABEL_SAMPLES
_EDGE_ST = 5.0
"""From so far a shift on, a woman's pitch is high and hard; a man's is hard from his own on downwards."""

Log = Callable[[str], None]
Keep = Callable[[Codec], None]


@dataclass(frozen=True)
class CodecSettings:
    """How to train. Batches are ``batch`` crops of ``frames`` frames.

    Attributes:
        low_band, formant_band, harmonics: weights of the bands of :class:`SpectralLoss`.
        phones: weight of the loss that makes codebook 0 phonetic.
        heard: weight of the ear.
        alone: share of the time in which the ear learns and is not yet listened to.
        edges: how often an utterance at the edge of the pitch range counts; 1: as any other.
    """

    batch: int = 24
    frames: int = 24
    learning_rate: float = 8e-4
    low_band: float = 3.0
    formant_band: float = 4.0
    harmonics: float = 0.0
    phones: float = 0.5
    heard: float = 0.5
    alone: float = 0.0
    edges: int = 1
    warmup: int = 300
    clip: float = 5.0
    compiled: bool = True


@dataclass(frozen=True)
class _Drawn:
    """Crops: waves float32 ``[batch, samples]``, labels int64 ``[batch, frames * 4]``, and codes int64 ``[batch, 16,
    frames]`` where they were given."""

    waves: Tensor
    labels: Tensor
    codes: Tensor | None


class _Crops:
    """Random crops of the corpus, made on the device that holds it; with codes they begin where a frame begins."""

    def __init__(
        self, corpus: Corpus, settings: CodecSettings, device: torch.device, codes: NDArray[np.uint8] | None = None
    ) -> None:
        self._batch = settings.batch
        self._waves = torch.from_numpy(corpus.waves).to(device)
        self._labels = torch.from_numpy(corpus.labels).to(device)
        self._codes = None if codes is None else torch.from_numpy(codes).to(device)
        length = settings.frames * _FRAME_LABELS
        first, stop = [], []
        for item in corpus.utterances:
            begin, end = item.start // LABEL_SAMPLES, (item.start + item.samples) // LABEL_SAMPLES
            if codes is None:
                starts = np.arange(begin, max(begin + 1, end - length * 2 // 3))
            else:
                starts = begin + _FRAME_LABELS * np.arange(item.frames - settings.frames + 1)
            starts = np.tile(starts, settings.edges if _is_edge(item) else 1)
            first.append(starts)
            stop.append(np.full(len(starts), end))
        self._first = torch.from_numpy(np.concatenate(first)).to(device)
        self._stop = torch.from_numpy(np.concatenate(stop)).to(device)
        if not len(self._first):
            raise ValueError(f"no utterance is as long as a crop of {settings.frames} frames")
        self._samples = torch.arange(length * LABEL_SAMPLES, device=device)
        self._steps = torch.arange(length, device=device)
        self._frames = torch.arange(settings.frames, device=device)

    def draw(self) -> _Drawn:
        """Silence follows an utterance's end."""
        pick = torch.randint(0, len(self._first), (self._batch,), device=self._first.device)
        first, stop = self._first[pick][:, None], self._stop[pick][:, None]
        at = first * LABEL_SAMPLES + self._samples
        inside = at < stop * LABEL_SAMPLES
        waves = torch.where(inside, self._waves[at.clamp(max=len(self._waves) - 1)].float() / 32767.0, 0.0)
        where = first + self._steps
        labels = torch.where(where < stop, self._labels[where.clamp(max=len(self._labels) - 1)].long(), 0)
        codes = None
        if self._codes is not None:
            codes = self._codes[first // _FRAME_LABELS + self._frames].long().transpose(1, 2)
        return _Drawn(waves, labels, codes)


def _is_edge(item: Utterance) -> bool:
    style = item.line.style
    if style.whisper:
        return False
    speaker = SPEAKERS.get(item.line.speaker)
    if speaker is None or speaker.gender == "male":
        return style.pitch_st <= 0
    return style.pitch_st >= _EDGE_ST


def train_codec(
    corpus: Corpus,
    shape: ModelShape,
    settings: CodecSettings,
    *,
    time_limit_s: float,
    device: torch.device,
    seed: int,
    log: Log,
    most_steps: int | None = None,
    keep: Keep | None = None,
) -> Codec:
    """Train from scratch until the time is over, compiling included; the learning rate follows the time.

    Args:
        keep: called every minute with what has been reached, so that a run that is cut off has not been for nothing.
    """
    torch.manual_seed(seed)
    codec = Codec(shape).to(device)
    initialise(codec)
    head = PhoneHead(shape.encoder_codebook_dim, len(corpus.names)).to(device)
    encode, decode = codec.encoder.forward, codec.decoder.forward
    if device.type == "cuda" and settings.compiled:
        encode, decode = torch.compile(encode), torch.compile(decode)

    def forward(drawn: _Drawn) -> tuple[Tensor, dict[str, tuple[float, Tensor]]]:
        semantic, acoustic = encode(drawn.waves)
        quantized = codec.quantize(semantic, acoustic, learn=True)
        phones = head(quantized.first, drawn.labels)
        found = decode(quantized.first, quantized.rest)
        return found, {"commit": (1.0, quantized.commitment), "phones": (settings.phones, phones)}

    def usage() -> str:
        used = (codec.usage > 0.1).float().mean(1)
        return f"used {used[0]:.2f} {used[1]:.2f} {used[7]:.2f} {used[15]:.2f}"

    run = _Run(corpus, settings, device, [*codec.parameters(), *head.parameters()], forward)
    run.loop("codec", codec, time_limit_s, most_steps, log, keep, usage)
    return codec


def refine_decoder(
    codec: Codec,
    corpus: Corpus,
    codes: NDArray[np.uint8],
    settings: CodecSettings,
    *,
    time_limit_s: float,
    device: torch.device,
    seed: int,
    log: Log,
    most_steps: int | None = None,
    keep: Keep | None = None,
) -> None:
    """Train the decoder alone, in place, on codes that stay as they are: what the talker has learnt remains valid.

    Args:
        codes: of the whole corpus, uint8 ``[frames, 16]``.

    Raises:
        ValueError: no utterance is as long as a crop.
    """
    torch.manual_seed(seed)
    decode = codec.decoder.forward
    if device.type == "cuda" and settings.compiled:
        decode = torch.compile(decode)

    def forward(drawn: _Drawn) -> tuple[Tensor, dict[str, tuple[float, Tensor]]]:
        assert drawn.codes is not None
        with torch.no_grad():
            entries = codec.look_up(drawn.codes)
        return decode(*entries), {}

    run = _Run(corpus, settings, device, list(codec.decoder.parameters()), forward, codes)
    run.loop("decoder", codec, time_limit_s, most_steps, log, keep, lambda: "")


class _Run:
    """Losses, ear, optimizer and schedule of a training; ``forward`` makes waves of crops, and losses of its own."""

    def __init__(
        self,
        corpus: Corpus,
        settings: CodecSettings,
        device: torch.device,
        parameters: list[nn.Parameter],
        forward: Callable[[_Drawn], tuple[Tensor, Mapping[str, tuple[float, Tensor]]]],
        codes: NDArray[np.uint8] | None = None,
    ) -> None:
        self._settings, self._device, self._forward, self._parameters = settings, device, forward, parameters
        self._crops = _Crops(corpus, settings, device, codes)
        self._ear = Ear(len(corpus.names)).to(device)
        self._losses = SpectralLoss(settings.low_band, settings.formant_band, settings.harmonics).to(device)
        self._cuda = device.type == "cuda"
        if self._cuda and settings.compiled:
            self._losses.compare = torch.compile(self._losses.compare, dynamic=False)
            self._losses.compare_band = torch.compile(self._losses.compare_band, dynamic=False)
        # On CUDA the host changes both between the replays of the graph.
        self._rate = torch.tensor(0.0, device=device)
        self._heard = torch.tensor(0.0, device=device)
        self._optimizer = torch.optim.AdamW(
            [*parameters, *self._ear.parameters()],
            lr=self._rate if self._cuda else 0.0,
            betas=(0.8, 0.99),
            weight_decay=0.01,
            capturable=self._cuda,
            fused=self._cuda,
        )
        self._report: dict[str, Tensor] = {}

    def loop(
        self,
        name: str,
        codec: Codec,
        time_limit_s: float,
        most_steps: int | None,
        log: Log,
        keep: Keep | None,
        beside: Callable[[], str],
    ) -> None:
        """Train until the time is over."""
        settings = self._settings
        benchmark = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = self._cuda  # shapes never change here
        torch.backends.cudnn.benchmark_limit = 4  # all that cuDNN knows take a minute to try
        begun = time.monotonic()
        step = _captured(name, self._step, self._device, log) if self._cuda else self._step
        started = kept = time.monotonic()
        time_limit_s = max(1.0, time_limit_s - (started - begun))
        count = 0
        while True:
            share = (time.monotonic() - started) / time_limit_s if most_steps is None else count / most_steps
            if share >= 1.0:
                break
            self._set(settings.learning_rate * min(1.0, (count + 1) / settings.warmup) * _cosine(share))
            self._heard.fill_(settings.heard if share >= settings.alone else 0.0)
            step()
            count += 1
            if keep is not None and time.monotonic() - kept > _KEEP_S:
                keep(codec)
                kept = time.monotonic()
            if self._cuda and count % 50 == 0:
                torch.cuda.synchronize()
            if count % 500 == 0 or count == most_steps:
                shown = " ".join(f"{part} {float(value):.3f}" for part, value in self._report.items())
                pace = 1000 * (time.monotonic() - started) / count
                log(f"{name} step {count} {pace:.1f} ms {shown} {beside()}".rstrip())
        log(f"{name}: {count} steps in {time.monotonic() - started:.0f} s")
        torch.backends.cudnn.benchmark = benchmark

    def _step(self) -> None:
        drawn = self._crops.draw()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._cuda):
            found, own = self._forward(drawn)
        total, parts = self._losses(found.float(), drawn.waves)
        learnt, original = self._ear(drawn.waves, drawn.labels)
        heard = self._ear.judged(found.float(), drawn.labels, original)
        total = total + self._heard * heard + learnt
        for weight, loss in own.values():
            total = total + weight * loss
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        self._optimizer.step()
        shown = {**parts, **{name: loss for name, (_, loss) in own.items()}}
        shown |= {"heard": heard, "learnt": learnt, "norm": norm}
        for name, value in shown.items():
            # The first values are kept as they are; a captured step only ever sees the branch below.
            if name not in self._report:
                self._report[name] = value.detach().float().clone()
            self._report[name].lerp_(value.detach().float(), 0.02)

    def _set(self, rate: float) -> None:
        self._rate.fill_(rate)
        if not self._cuda:
            for group in self._optimizer.param_groups:
                group["lr"] = rate


def _cosine(share: float) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _captured(name: str, step: Callable[[], None], device: torch.device, log: Log) -> Callable[[], None]:
    started = time.monotonic()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    log(f"{name}: captured after {time.monotonic() - started:.0f} s")
    return graph.replay

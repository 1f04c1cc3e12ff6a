"""Trains the codec: spectral losses at several resolutions, and of two bands alone: of pitch and of formants.

Losses on mel bands and log spectra hardly see the pitch of low voices: only their longest window tells harmonics of
75 to 150 Hz apart, and the decoder then hums at a constant tone. The low band (below 900 Hz, windows of 85 and 171 ms)
cures that. Alone it drowns what tells phones apart, which lies between 800 and 5,000 Hz and has little energy: that
band is a loss of its own as well. Figures are in docs/LOG.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.synthesis.demo_shapes import ModelShape
from training.pocket.codec_net import Codec, initialise
from training.pocket.corpus import LABEL_SAMPLES, Corpus
from training.pocket.mel import mel_matrix
from training.pocket.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ

__all__ = ["CodecSettings", "SpectralLoss", "refine_decoder", "train_codec"]

_WINDOWS = (256, 512, 1024, 2048)
_MELS = (40, 64, 80, 128)
_LOW_WINDOWS = (2048, 4096)
_LOW_HZ = (0.0, 900.0)
_FORMANT_WINDOWS = (256, 512, 1024)
_FORMANT_HZ = (800.0, 5000.0)
_EAR_WINDOW, _EAR_BANDS = 1024, 80
_FLOOR = 1e-4  # of a full-scale sine: -80 dB

_KEEP_S = 60.0
_ALONE = 0.1

Log = Callable[[str], None]


@dataclass(frozen=True)
class CodecSettings:
    """How to train. Batches are ``batch`` crops of ``frames`` frames."""

    batch: int = 24
    frames: int = 24
    learning_rate: float = 8e-4
    low_band: float = 3.0
    formant_band: float = 4.0
    phones: float = 0.5
    heard: float = 0.5
    warmup: int = 300
    clip: float = 5.0
    compiled: bool = True


class SpectralLoss(nn.Module):
    """Distances between the spectra of two waves ``[batch, samples]``, float32."""

    def __init__(self, low_band: float, formant_band: float) -> None:
        super().__init__()
        self._low_band, self._formant_band = low_band, formant_band
        self.compare: Callable[..., tuple[Tensor, Tensor, Tensor]] = _compare
        self.compare_band: Callable[..., Tensor] = _compare_band
        for size in sorted({*_WINDOWS, *_LOW_WINDOWS}):
            self.register_buffer(f"window{size}", torch.hann_window(size) * 2.0 / (size / 2.0))
        for size, bands in zip(_WINDOWS, _MELS, strict=True):
            self.register_buffer(f"mel{size}", mel_matrix(size, bands))

    def forward(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts."""
        mel = spectrum = convergence = low = formants = found.new_zeros(())
        compare, compare_band = self.compare, self.compare_band
        for size in sorted({*_WINDOWS, *_LOW_WINDOWS}):
            ours = self._bins(found, size)
            with torch.no_grad():
                theirs = self._bins(wanted, size)
            if size in _WINDOWS:
                parts = compare(ours, theirs, getattr(self, f"mel{size}"))
                mel = mel + parts[0] / len(_WINDOWS)
                spectrum = spectrum + parts[1] / len(_WINDOWS)
                convergence = convergence + parts[2] / len(_WINDOWS)
            if size in _LOW_WINDOWS:
                low = low + compare_band(ours, theirs, *_bins_of(_LOW_HZ, size)) / len(_LOW_WINDOWS)
            if size in _FORMANT_WINDOWS:
                part = compare_band(ours, theirs, *_bins_of(_FORMANT_HZ, size))
                formants = formants + part / len(_FORMANT_WINDOWS)
        total = mel + spectrum + 0.5 * convergence + self._low_band * low + self._formant_band * formants
        return total, {"mel": mel, "log": spectrum, "conv": convergence, "low": low, "formants": formants}

    def _bins(self, waves: Tensor, size: int) -> Tensor:
        window = getattr(self, f"window{size}")
        return torch.view_as_real(
            torch.stft(waves, size, size // 4, size, window, center=True, pad_mode="constant", return_complex=True)
        )


def _magnitudes(bins: Tensor) -> Tensor:
    return (bins[..., 0].square() + bins[..., 1].square() + 1e-12).sqrt()


def _compare(ours: Tensor, theirs: Tensor, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of log mel bands, of log magnitudes, and spectral convergence; bins ``[batch, bins, time, 2]``."""
    ours, theirs = _magnitudes(ours), _magnitudes(theirs)
    bands = (_log(mel @ ours) - _log(mel @ theirs)).abs().mean()
    return bands, (_log(ours) - _log(theirs)).abs().mean(), _convergence(ours, theirs)


def _compare_band(ours: Tensor, theirs: Tensor, first: int, last: int) -> Tensor:
    """The same of a band alone, where convergence weighs as much: it sees the peaks of harmonics and formants."""
    ours, theirs = _magnitudes(ours[:, first:last]), _magnitudes(theirs[:, first:last])
    return 0.5 * (_log(ours) - _log(theirs)).abs().mean() + 0.5 * _convergence(ours, theirs)


def _bins_of(band_hz: tuple[float, float], size: int) -> tuple[int, int]:
    return math.floor(band_hz[0] * size / SAMPLE_RATE_HZ), math.ceil(band_hz[1] * size / SAMPLE_RATE_HZ)


def _log(x: Tensor) -> Tensor:
    return (x + _FLOOR).log()


def _convergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Spectral convergence (Arik et al. 2018), each clip for itself, so that soft ones count as much as loud ones."""
    error = (ours - theirs).square().sum((1, 2))
    # The constants keep the gradient of silent clips in the range of the others.
    return (error / (theirs.square().sum((1, 2)) + 0.05) + 1e-3).sqrt().mean()


class _PhoneHead(nn.Module):
    """Makes codebook 0 phonetic: it has to tell the four labels of its frame. Not kept."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        around, again, out = nn.Conv1d(width, 256, 3, padding=1), nn.Conv1d(256, 256, 1), nn.Conv1d(256, 4 * labels, 1)
        self.net = nn.Sequential(around, nn.GELU(), again, nn.GELU(), out)
        self._labels = labels

    def forward(self, first: Tensor, labels: Tensor) -> Tensor:
        """Entries ``[batch, width, frames]`` and labels ``[batch, frames * 4]`` to a cross entropy."""
        logits = self.net(first).transpose(1, 2).reshape(-1, self._labels)
        return functional.cross_entropy(logits.float(), labels.reshape(-1))


class _Ear(nn.Module):
    """Tells the phone of each 20 ms of a wave. It learns on the corpus and judges what the decoder makes of it.

    Spectral distances count a blurred formant for little; an ear does not. Not kept, and not the recogniser of the
    evaluation, which never hears these voices.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.window: Tensor
        self.mel: Tensor
        self.register_buffer("window", torch.hann_window(_EAR_WINDOW) * 2.0 / (_EAR_WINDOW / 2.0))
        self.register_buffer("mel", mel_matrix(_EAR_WINDOW, _EAR_BANDS))
        width = 192
        self.first = nn.Conv1d(_EAR_BANDS, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.head = nn.Conv1d(width, labels, 1)

    def forward(self, waves: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Cross entropy of the labels, int64 ``[batch, samples / 480]``, in waves float32 ``[batch, samples]``; and
        what both layers hear, ``[batch, 192, samples / 480]``."""
        bins = torch.stft(
            waves,
            _EAR_WINDOW,
            LABEL_SAMPLES,
            _EAR_WINDOW,
            self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        bands = _log(self.mel @ _magnitudes(torch.view_as_real(bins)))[..., : labels.shape[1]]
        first = functional.gelu(self.first(0.25 * (bands + 6.0)))
        second = functional.gelu(self.second(first))
        return functional.cross_entropy(self.head(second).float(), labels), (first, second)

    def judged(self, waves: Tensor, labels: Tensor, wanted: tuple[Tensor, Tensor]) -> Tensor:
        """The same of waves that were decoded, and how far off they sound to each layer; ``wanted`` is what it hears in
        the originals. Gradients are for the waves alone: the decoder gets no say in how the ear hears."""
        still = {name: value.detach() for name, value in (*self.named_parameters(), *self.named_buffers())}
        loss, heard = torch.func.functional_call(self, still, (waves, labels))
        pairs = [(ours, theirs.detach()) for ours, theirs in zip(heard, wanted, strict=True)]
        apart = [(ours - theirs).abs().mean() / theirs.abs().mean() for ours, theirs in pairs]
        found: Tensor = loss + torch.stack(apart).sum()
        return found


class _Crops:
    """Random crops of the corpus, made on the device that holds it."""

    def __init__(self, corpus: Corpus, settings: CodecSettings, device: torch.device) -> None:
        self._batch, self._frames = settings.batch, settings.frames
        self._waves = torch.from_numpy(corpus.waves).to(device)
        self._labels = torch.from_numpy(corpus.labels).to(device)
        length = settings.frames * 4
        first, stop = [], []
        for item in corpus.utterances:
            begin, end = item.start // LABEL_SAMPLES, (item.start + item.samples) // LABEL_SAMPLES
            starts = np.arange(begin, max(begin + 1, end - length * 2 // 3))
            first.append(starts)
            stop.append(np.full(len(starts), end))
        self._first = torch.from_numpy(np.concatenate(first)).to(device)
        self._stop = torch.from_numpy(np.concatenate(stop)).to(device)
        self._samples = torch.arange(length * LABEL_SAMPLES, device=device)
        self._steps = torch.arange(length, device=device)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Waves float32 ``[batch, samples]`` and labels int64 ``[batch, frames * 4]``; silence after the end."""
        pick = torch.randint(0, len(self._first), (self._batch,), device=self._first.device)
        first, stop = self._first[pick][:, None], self._stop[pick][:, None]
        at = first * LABEL_SAMPLES + self._samples
        inside = at < stop * LABEL_SAMPLES
        waves = torch.where(inside, self._waves[at.clamp(max=len(self._waves) - 1)].float() / 32767.0, 0.0)
        where = first + self._steps
        labels = torch.where(where < stop, self._labels[where.clamp(max=len(self._labels) - 1)].long(), 0)
        return waves, labels


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
    keep: Callable[[Codec], None] | None = None,
) -> Codec:
    """Train from scratch until the time is over, compiling included; the learning rate follows the time.

    On CUDA a step (draw, forward, backward, update) is one CUDA graph.

    Args:
        keep: called every minute with what has been reached, so that a run that is cut off has not been for nothing.
    """
    torch.manual_seed(seed)
    codec = Codec(shape).to(device)
    initialise(codec)
    head = _PhoneHead(shape.encoder_codebook_dim, len(corpus.names)).to(device)
    ear = _Ear(len(corpus.names)).to(device)
    loss_of = SpectralLoss(settings.low_band, settings.formant_band).to(device)
    crops = _Crops(corpus, settings, device)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = cuda  # shapes never change here
    torch.backends.cudnn.benchmark_limit = 4  # all that cuDNN knows take a minute to try
    parameters = [*codec.parameters(), *head.parameters()]
    rate = torch.tensor(0.0, device=device)
    learning = [*parameters, *ear.parameters()]
    optimizer = torch.optim.AdamW(
        learning, lr=rate if cuda else 0.0, betas=(0.8, 0.99), weight_decay=0.01, capturable=cuda, fused=cuda
    )
    encode, decode = codec.encoder.forward, codec.decoder.forward
    if cuda and settings.compiled:
        encode, decode = torch.compile(encode), torch.compile(decode)
        loss_of.compare = torch.compile(_compare, dynamic=False)
        loss_of.compare_band = torch.compile(_compare_band, dynamic=False)
    names = ("mel", "log", "conv", "low", "formants", "commit", "phones", "heard", "learnt", "norm")
    report = torch.zeros(len(names), device=device)

    def step() -> None:
        waves, labels = crops.draw()
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            semantic, acoustic = encode(waves)
            quantized = codec.quantize(semantic, acoustic, learn=True)
            found = decode(quantized.first, quantized.rest)
            phones = head(quantized.first, labels)
        spectral, parts = loss_of(found.float(), waves)
        learnt, original = ear(waves, labels)
        heard = ear.judged(found.float(), labels, original)
        total = spectral + quantized.commitment + settings.phones * phones + settings.heard * heard + learnt
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        values = (*parts.values(), quantized.commitment, phones, heard, learnt, norm)
        report.lerp_(torch.stack([value.detach().float() for value in values]), 0.02)

    begun = time.monotonic()
    run = _captured(step, device, log) if cuda else step
    started = kept = time.monotonic()
    time_limit_s = max(1.0, time_limit_s - (started - begun))
    count = 0
    while True:
        elapsed = time.monotonic() - started
        share = elapsed / time_limit_s if most_steps is None else count / most_steps
        if share >= 1.0:
            break
        wanted = settings.learning_rate * min(1.0, (count + 1) / settings.warmup) * _cosine(share)
        rate.fill_(wanted)
        if not cuda:
            for group in optimizer.param_groups:
                group["lr"] = wanted
        run()
        count += 1
        if keep is not None and time.monotonic() - kept > _KEEP_S:
            keep(codec)
            kept = time.monotonic()
        if cuda and count % 50 == 0:
            torch.cuda.synchronize()
        if count % 500 == 0 or count == most_steps:
            used = (codec.usage > 0.1).float().mean(1)
            shown = " ".join(f"{name} {value:.3f}" for name, value in zip(names, report.tolist(), strict=True))
            log(
                f"codec step {count} {1000 * (time.monotonic() - started) / count:.1f} ms {shown} "
                f"used {used[0]:.2f} {used[1]:.2f} {used[7]:.2f} {used[15]:.2f}"
            )
    log(f"codec: {count} steps in {time.monotonic() - started:.0f} s")
    torch.backends.cudnn.benchmark = False
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
    keep: Callable[[Codec], None] | None = None,
) -> None:
    """Train the decoder alone, in place, on codes that stay as they are: what the talker has learnt remains valid.

    An ear learns beside it; in the first tenth of the time it alone.

    Args:
        codes: of the whole corpus, uint8 ``[frames, 16]``.
        settings: ``low_band`` may be less than in the first training, where pitch had to be found.
    """
    source = np.random.default_rng(seed)
    crops = np.concatenate(
        [
            np.arange(item.start, item.start + max(1, item.frames - settings.frames + 1) * FRAME_SAMPLES, FRAME_SAMPLES)
            for item in corpus.utterances
            if item.frames >= settings.frames
        ]
    )
    loss_of = SpectralLoss(settings.low_band, settings.formant_band).to(device)
    ear = _Ear(len(corpus.names)).to(device)
    parameters = list(codec.decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=(0.8, 0.99), weight_decay=0.01)
    ear_optimizer = torch.optim.AdamW(ear.parameters(), lr=1e-3)
    shown: dict[str, float] = {}
    started = kept = time.monotonic()
    count = 0
    while True:
        share = (time.monotonic() - started) / time_limit_s if most_steps is None else count / most_steps
        if share >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (count + 1) / settings.warmup) * _cosine(share)
        if most_steps is not None and share < _ALONE:
            count += 1
        first = source.choice(crops, settings.batch)
        frames = first[:, None] // FRAME_SAMPLES + np.arange(settings.frames)
        waves = np.stack([corpus.waves[start : start + settings.frames * FRAME_SAMPLES] for start in first])
        wanted = torch.from_numpy(waves).to(device).float() / 32767.0
        spans = first[:, None] // LABEL_SAMPLES + np.arange(settings.frames * FRAME_SAMPLES // LABEL_SAMPLES)
        labels = torch.from_numpy(corpus.labels[spans]).long().to(device)
        learnt, original = ear(wanted, labels)
        ear_optimizer.zero_grad(set_to_none=True)
        learnt.backward()
        ear_optimizer.step()
        shown["learnt"] = 0.99 * shown.get("learnt", learnt.item()) + 0.01 * learnt.item()
        if share < _ALONE:
            continue
        with torch.no_grad():
            entries = codec.look_up(torch.from_numpy(codes[frames]).long().transpose(1, 2).to(device))
        with torch.autocast(device.type, torch.bfloat16):
            found = codec.decoder(*entries)
        total, parts = loss_of(found.float(), wanted)
        parts["heard"] = ear.judged(found.float(), labels, original)
        total = total + settings.heard * parts["heard"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        count += 1
        for name, value in parts.items():
            shown[name] = 0.99 * shown.get(name, float(value.detach())) + 0.01 * float(value.detach())
        if keep is not None and time.monotonic() - kept > _KEEP_S:
            keep(codec)
            kept = time.monotonic()
        if count % 200 == 0 or count == most_steps:
            text = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
            log(f"decoder step {count} {1000 * (time.monotonic() - started) / count:.1f} ms {text}")
    log(f"decoder: {count} steps in {time.monotonic() - started:.0f} s")


def _cosine(share: float) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _captured(step: Callable[[], None], device: torch.device, log: Log) -> Callable[[], None]:
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
    log(f"codec: captured after {time.monotonic() - started:.0f} s")
    return graph.replay

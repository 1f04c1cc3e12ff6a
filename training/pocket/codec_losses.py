"""Losses of the codec: spectral distances at several resolutions and in bands of their own, and an ear for phones.

Losses on mel bands and log spectra hardly see the pitch of low voices: only their longest window tells harmonics of
75 to 150 Hz apart, and the decoder then hums at a constant tone. The low band (below 900 Hz, windows of 85 and 171 ms)
cures that. Alone it drowns what tells phones apart, which lies between 800 and 5,000 Hz and has little energy: that
band is a loss of its own as well. Windows shorter than a period of the voice show single pulses, whose moments no code
says: compared as they are, they are smallest for a decoder that makes no pulses at all. So what they show is compared
by its means over some 30 ms: of the magnitude, and of its logarithm, which pulses tell from noise. Figures are in
docs/LOG.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from training.pocket.corpus import LABEL_SAMPLES
from training.pocket.mel import mel_matrix
from training.pocket.speech import SAMPLE_RATE_HZ

__all__ = ["Ear", "PhoneHead", "SpectralLoss"]

_WINDOWS = (256, 512, 1024, 2048)
_MELS = (40, 64, 80, 128)
_POOLED = {256: 12, 512: 6}
"""Frames (a quarter window each) over which what short windows show is averaged."""
_LOW_WINDOWS = (2048, 4096)
_LOW_HZ = (0.0, 900.0)
_HARMONIC_WINDOWS = (2048,)
_HARMONIC_HZ = (900.0, 4000.0)
_FORMANT_WINDOWS = (256, 512, 1024)
_FORMANT_HZ = (800.0, 5000.0)
_EAR_WINDOW, _EAR_BANDS = 1024, 80
_FLOOR = 1e-4  # of a full-scale sine: -80 dB


class SpectralLoss(nn.Module):
    """Distances between the spectra of two waves ``[batch, samples]``, float32."""

    def __init__(self, low_band: float, formant_band: float, harmonics: float = 0.0) -> None:
        super().__init__()
        self._bands: dict[str, tuple[float, tuple[int, ...], tuple[float, float]]] = {
            "low": (low_band, _LOW_WINDOWS, _LOW_HZ),
            "formants": (formant_band, _FORMANT_WINDOWS, _FORMANT_HZ),
            "harmonics": (harmonics, _HARMONIC_WINDOWS, _HARMONIC_HZ),
        }
        self.compare: Callable[..., tuple[Tensor, Tensor, Tensor]] = _compare
        self.compare_band: Callable[..., Tensor] = _compare_band
        for size in sorted({*_WINDOWS, *_LOW_WINDOWS}):
            self.register_buffer(f"window{size}", torch.hann_window(size) * 2.0 / (size / 2.0))
        for size, bands in zip(_WINDOWS, _MELS, strict=True):
            self.register_buffer(f"mel{size}", mel_matrix(size, bands))

    def forward(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts."""
        parts = {name: found.new_zeros(()) for name in ("mel", "log", "conv", *self._bands)}
        for size in sorted({*_WINDOWS, *_LOW_WINDOWS}):
            ours = self._bins(found, size)
            with torch.no_grad():
                theirs = self._bins(wanted, size)
            pooled = _POOLED.get(size, 1)
            if size in _WINDOWS:
                found_parts = self.compare(ours, theirs, getattr(self, f"mel{size}"), pooled)
                for name, part in zip(("mel", "log", "conv"), found_parts, strict=True):
                    parts[name] = parts[name] + part / len(_WINDOWS)
            for name, (weight, windows, band_hz) in self._bands.items():
                if weight and size in windows:
                    part = self.compare_band(ours, theirs, *_bins_of(band_hz, size), pooled)
                    parts[name] = parts[name] + part / len(windows)
        total = parts["mel"] + parts["log"] + 0.5 * parts["conv"]
        for name, (weight, _, _) in self._bands.items():
            total = total + weight * parts[name]
        return total, parts

    def _bins(self, waves: Tensor, size: int) -> Tensor:
        window = getattr(self, f"window{size}")
        return torch.view_as_real(
            torch.stft(waves, size, size // 4, size, window, center=True, pad_mode="constant", return_complex=True)
        )


def _magnitudes(bins: Tensor) -> Tensor:
    return (bins[..., 0].square() + bins[..., 1].square() + 1e-12).sqrt()


def _compare(ours: Tensor, theirs: Tensor, mel: Tensor, pooled: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of log mel bands, of log magnitudes, and spectral convergence; bins ``[batch, bins, time, 2]``."""
    ours, theirs = _magnitudes(ours), _magnitudes(theirs)
    bands = _apart(mel @ ours, mel @ theirs, pooled)
    return bands, _apart(ours, theirs, pooled), _convergence(_mean(ours, pooled), _mean(theirs, pooled))


def _compare_band(ours: Tensor, theirs: Tensor, first: int, last: int, pooled: int) -> Tensor:
    """The same of a band alone, where convergence weighs as much: it sees the peaks of harmonics and formants."""
    ours, theirs = _magnitudes(ours[:, first:last]), _magnitudes(theirs[:, first:last])
    convergence = _convergence(_mean(ours, pooled), _mean(theirs, pooled))
    return 0.5 * _apart(ours, theirs, pooled) + 0.5 * convergence


def _apart(ours: Tensor, theirs: Tensor, pooled: int) -> Tensor:
    """Mean distance of the logarithms; of pooled ones, of the mean's and of the logarithm's mean, half each."""
    if pooled == 1:
        return (_log(ours) - _log(theirs)).abs().mean()
    level = (_log(_mean(ours, pooled)) - _log(_mean(theirs, pooled))).abs().mean()
    return 0.5 * level + 0.5 * (_mean(_log(ours), pooled) - _mean(_log(theirs), pooled)).abs().mean()


def _mean(x: Tensor, pooled: int) -> Tensor:
    return x if pooled == 1 else functional.avg_pool1d(x, min(pooled, x.shape[-1]), max(1, pooled // 4))


def _bins_of(band_hz: tuple[float, float], size: int) -> tuple[int, int]:
    return math.floor(band_hz[0] * size / SAMPLE_RATE_HZ), math.ceil(band_hz[1] * size / SAMPLE_RATE_HZ)


def _log(x: Tensor) -> Tensor:
    return (x + _FLOOR).log()


def _convergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Spectral convergence (Arik et al. 2018), each clip for itself, so that soft ones count as much as loud ones."""
    error = (ours - theirs).square().sum((1, 2))
    # The constants keep the gradient of silent clips in the range of the others.
    return (error / (theirs.square().sum((1, 2)) + 0.05) + 1e-3).sqrt().mean()


class PhoneHead(nn.Module):
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


class Ear(nn.Module):
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

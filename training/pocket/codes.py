"""Turns the corpus into codes, and checks what the codec loses on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.acoustics.pitch import track_pitch
from toolkit.synthesis.demo_shapes import CODE_GROUPS
from training.pocket.codec_net import Codec
from training.pocket.corpus import Corpus
from training.pocket.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ
from training.pocket.voices import SPEAKERS

__all__ = ["calibrate_level", "encode_corpus", "pitch_errors", "resynthesise"]

_BATCH_FRAMES = 16384


def encode_corpus(codec: Codec, corpus: Corpus, device: torch.device) -> NDArray[np.uint8]:
    """Codes of all utterances, uint8 ``[all frames, 16]`` in the order of the corpus.

    Raises:
        ValueError: the codebooks have more than 256 entries.
    """
    if codec.shape.codebook > 256:
        raise ValueError(f"codes are kept as bytes; the codebooks have {codec.shape.codebook} entries")
    codes = np.zeros((len(corpus.waves) // FRAME_SAMPLES, CODE_GROUPS), np.uint8)
    for members in _batches(corpus):
        found = codec.encode(_padded(corpus, members, device)).to(torch.uint8).cpu().numpy()
        for row, member in enumerate(members):
            item = corpus.utterances[member]
            first = item.start // FRAME_SAMPLES
            codes[first : first + item.frames] = found[row, :, : item.frames].T
    return codes


def resynthesise(
    codec: Codec, corpus: Corpus, members: Sequence[int], device: torch.device
) -> list[NDArray[np.float32]]:
    """Utterances through the codec and back."""
    waves = []
    for member in members:
        found = codec.decode(codec.encode(_padded(corpus, [member], device)))[0]
        waves.append(found[: corpus.utterances[member].samples].cpu().numpy())
    return waves


def calibrate_level(codec: Codec, corpus: Corpus, members: Sequence[int], device: torch.device) -> float:
    """Scale the decoder's last convolution so that the median utterance comes out as loud as it went in.

    Spectral losses are smallest a little below the true level, since what cannot be hit costs less when it is soft.

    Returns:
        The gain in dB.
    """
    waves = resynthesise(codec, corpus, members, device)
    gains = []
    for member, wave in zip(members, waves, strict=True):
        wanted = corpus.wave(member).astype(np.float64)
        before, after = float(np.mean(wanted**2)), float(np.mean(wave.astype(np.float64) ** 2))
        if before > 0 and after > 0:
            gains.append(10 * math.log10(before / after))
    gain_db = float(np.median(gains)) if gains else 0.0
    last = codec.decoder.last.conv
    with torch.no_grad():
        for value in last.parameters():
            value.mul_(10 ** (gain_db / 20))
    return gain_db


def pitch_errors(corpus: Corpus, members: Sequence[int], waves: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Median over utterances of the median error of F0 in cents, by gender and by how far the pitch was moved.

    Frames count that are voiced before and after; whispers are left out.
    """
    found: dict[str, list[float]] = {}
    for member, wave in zip(members, waves, strict=True):
        line = corpus.utterances[member].line
        if line.style.whisper:
            continue
        before = track_pitch(corpus.wave(member), SAMPLE_RATE_HZ).f0_hz
        after = track_pitch(wave, SAMPLE_RATE_HZ).f0_hz
        both = np.isfinite(before) & np.isfinite(after)
        if both.sum() < 10:
            continue
        cents = float(np.median(np.abs(1200 * np.log2(after[both] / before[both]))))
        moved = "low" if line.style.pitch_st < -1 else "high" if line.style.pitch_st > 1 else "usual"
        gender = SPEAKERS[line.speaker].gender
        for name in ("all", gender, f"{gender} {moved}"):
            found.setdefault(name, []).append(cents)
    return {name: float(np.median(values)) for name, values in sorted(found.items())}


def _batches(corpus: Corpus) -> Iterator[list[int]]:
    """Utterances of like length together."""
    order = sorted(range(len(corpus.utterances)), key=lambda index: corpus.utterances[index].samples)
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * corpus.utterances[index].frames > _BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _padded(corpus: Corpus, members: Sequence[int], device: torch.device) -> torch.Tensor:
    longest = max(corpus.utterances[member].samples for member in members)
    waves = np.zeros((len(members), longest), np.int16)
    for row, member in enumerate(members):
        item = corpus.utterances[member]
        waves[row, : item.samples] = corpus.waves[item.start : item.start + item.samples]
    return torch.from_numpy(waves).to(device).float() / 32767.0

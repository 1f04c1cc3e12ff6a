"""Mel bands of a power or magnitude spectrum, for the losses of the codec and for both ears."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.pocket.speech import SAMPLE_RATE_HZ

__all__ = ["mel_matrix"]


def mel_matrix(size: int, bands: int, low_hz: float = 20.0, high_hz: float = 12_000.0) -> Tensor:
    """Triangles float32 ``[bands, size // 2 + 1]``, evenly spaced on the mel scale of O'Shaughnessy (1987).

    Each sums to 1. A triangle that is narrower than a bin of the transform (``size`` samples at 24 kHz) takes the
    nearest one.
    """
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    edges = 700.0 * (10 ** (torch.linspace(low, high, bands + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64) * SAMPLE_RATE_HZ / size
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    empty = triangles.sum(1) == 0
    nearest = (bins - edges[1:-1, None]).abs().argmin(1)
    triangles[empty, nearest[empty]] = 1.0
    return (triangles / triangles.sum(1, keepdim=True)).float()

"""A reference recording as the encoders want it: one channel, float32, 24 kHz.

The official package resamples with ``librosa.resample``, whose default is the soxr library's "HQ" quality. Another
resampler gives other codes, so the same library is called here, directly.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from toolkit.errors import BadAudio
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ

__all__ = ["MAX_RATE_HZ", "MIN_RATE_HZ", "mono", "resample_to_24k"]

MIN_RATE_HZ = 1000
MAX_RATE_HZ = 768_000


def mono(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """The mean of the channels.

    Args:
        samples: ``[samples]``, or ``[samples, channels]`` as soundfile reads them; floating-point.

    Raises:
        BadAudio: another kind of array, no samples, or samples that are not finite.
    """
    samples = np.asarray(samples)
    if not np.issubdtype(samples.dtype, np.floating):
        raise BadAudio(f"the reference must hold floating-point samples between -1 and 1, found {samples.dtype}")
    if samples.ndim not in (1, 2) or not samples.size:
        raise BadAudio(f"the reference must be [samples] or [samples, channels], found shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise BadAudio("the reference holds samples that are not finite")
    one = samples if samples.ndim == 1 else samples.mean(1)
    return one.astype(np.float32)


def resample_to_24k(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Resample one channel to 24 kHz.

    Args:
        samples: ``[samples]``, float32.
        rate: sampling rate of ``samples`` in Hz.

    Returns:
        ``ceil(samples * 24000 / rate)`` samples, float32; the very array when the rate is 24000 already.

    Raises:
        BadAudio: a rate that no recording has.
    """
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise BadAudio(
            f"the reference's sampling rate is {rate} Hz; it must lie between {MIN_RATE_HZ} and {MAX_RATE_HZ}"
        )
    if rate == SAMPLE_RATE_HZ:
        return samples
    wanted = math.ceil(samples.shape[0] * (SAMPLE_RATE_HZ / rate))
    found = soxr.resample(samples, rate, SAMPLE_RATE_HZ, quality="HQ")
    # soxr rounds the length; librosa cuts or fills with zeros to the length rounded up.
    fitted = np.zeros(wanted, np.float32)
    kept = min(wanted, found.shape[0])
    fitted[:kept] = found[:kept]
    return fitted

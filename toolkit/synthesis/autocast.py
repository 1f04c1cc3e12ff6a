"""Decoding inside ``torch.autocast``: for comparison only, it gains nothing on BF16 weights."""

from __future__ import annotations

import torch

from toolkit.errors import UsageError
from toolkit.synthesis.decoding import DecodeState, Seed, Step, TorchBackend
from toolkit.synthesis.prompt import PromptBatch
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["AutocastBackend"]


class AutocastBackend:
    """The plain path with every pass inside ``torch.autocast(device, bfloat16)``.

    Guides recommend it around a model that is loaded in BF16. There it finds nothing to cast, and asking costs time:
    116 against 108 ms a frame, measured on the official package with the 1.7B model on an H200. Raises UsageError for
    weights of another dtype.
    """

    def __init__(self, talker: Talker) -> None:
        if talker.dtype != torch.bfloat16:
            found = str(talker.dtype).removeprefix("torch.")
            raise UsageError(f"autocast is there to compare on BF16 weights, these are {found}; add dtype='bfloat16'")
        self._plain = TorchBackend(talker)
        self._device = talker.device.type

    def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: Seed) -> DecodeState:
        """See :class:`toolkit.synthesis.decoding.Backend`."""
        with torch.autocast(self._device, dtype=torch.bfloat16):
            return self._plain.prefill(batch, settings, seed)

    def step(self, state: DecodeState, last: bool) -> Step:
        """See :class:`toolkit.synthesis.decoding.Backend`."""
        with torch.autocast(self._device, dtype=torch.bfloat16):
            return self._plain.step(state, last)

"""The speaker encoder of Base models (ECAPA-TDNN): a reference waveform to one vector, an input of the talker."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.errors import BadAudio, BadModelFolder
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
from toolkit.synthesis.codec_layers import exact_convolutions, file_tensors, meta_parameter
from toolkit.synthesis.config import SpeakerEncoderConfig
from toolkit.synthesis.mel import HOP_SAMPLES, log_mel
from toolkit.synthesis.weights import SafetensorsFile, Slot

__all__ = ["PREFIX", "SpeakerEncoder", "speaker_encoder_tensors"]

PREFIX = "speaker_encoder."
"""Where the encoder lies in ``model.safetensors``."""

_VARIANCE_FLOOR = 1e-12


class SpeakerEncoder(nn.Module):
    """The encoder. Build it with :meth:`load`."""

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        widths, kernels, dilations = config.channels, config.kernel_sizes, config.dilations
        if len(set(widths[:4])) != 1:
            raise BadModelFolder(f"config.json: speaker_encoder_config: {widths[:4]} should be one width four times")
        self.config = config
        self.blocks = nn.ModuleList(
            [
                _Tdnn(config.mel_bands, widths[0], kernels[0], dilations[0]),
                *(_SeRes2Block(config, index) for index in (1, 2, 3)),
            ]
        )
        self.mfa = _Tdnn(sum(widths[1:4]), widths[4], kernels[4], dilations[4])
        self.asp = _AttentiveStatistics(widths[4], config.attention_channels)
        self.fc = _Conv(2 * widths[4], config.dimension, 1)

    @classmethod
    def load(
        cls,
        config: SpeakerEncoderConfig,
        file: SafetensorsFile,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> SpeakerEncoder:
        """Build the encoder and fill it from ``model.safetensors``, whose names and shapes must have been checked.

        Raises:
            BadModelFolder: damaged tensors.
        """
        encoder = cls(config)
        file.load_into(encoder, {name: slot for name, (_, slot) in _table(encoder).items()}, device, dtype)
        return encoder.eval()

    @exact_convolutions()
    def embed(self, wave: Tensor) -> Tensor:
        """The voice of waveforms of one length.

        Args:
            wave: ``[batch, samples]`` at 24 kHz, in [-1, 1].

        Returns:
            ``[batch, dimension]`` in the encoder's dtype. Not normalised: the talker takes it as it is.

        Raises:
            BadAudio: too short for the mirrored edges (54 ms at the published sizes), or samples that are not finite.
        """
        if not bool(torch.isfinite(wave).all()):
            raise BadAudio("the reference holds samples that are not finite")
        mel = log_mel(wave, self.config.mel_bands)
        edge = max((k - 1) * d // 2 for k, d in zip(self.config.kernel_sizes, self.config.dilations, strict=True))
        if mel.shape[-1] <= edge:
            least = (edge + 1) * HOP_SAMPLES / SAMPLE_RATE_HZ * 1000
            raise BadAudio(
                f"the reference is {wave.shape[-1] / SAMPLE_RATE_HZ * 1000:.0f} ms long; at least {least:.0f} ms are "
                "needed to compute, 3 to 10 seconds of speech for a good voice"
            )
        return self.forward(mel.to(self.fc.weight.device, self.fc.weight.dtype))

    def forward(self, mel: Tensor) -> Tensor:
        """``[batch, bands, time]`` to ``[batch, dimension]``."""
        first, *blocks = self.blocks
        x = first(mel)
        found = []
        for block in blocks:
            x = block(x)
            found.append(x)
        pooled: Tensor = self.fc(self.asp(self.mfa(torch.cat(found, 1))))
        return pooled.squeeze(-1)


class _Conv(nn.Module):
    """A convolution that keeps the length: its input is mirrored at both ends."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight = meta_parameter(outputs, inputs, kernel)
        self.bias = meta_parameter(outputs)
        self._dilation = dilation
        total = (kernel - 1) * dilation
        self._edges = (total // 2, total - total // 2)

    def forward(self, x: Tensor) -> Tensor:
        if any(self._edges):
            x = functional.pad(x, self._edges, mode="reflect")
        return functional.conv1d(x, self.weight, self.bias, dilation=self._dilation)


class _Tdnn(_Conv):
    """Convolution and ReLU."""

    file_level = "conv."

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(super().forward(x))


class _Res2Net(nn.Module):
    """Convolutions over groups of channels, each of which also sees the result of the group before."""

    def __init__(self, width: int, kernel: int, dilation: int, scale: int) -> None:
        super().__init__()
        part = width // scale
        self._scale = scale
        self.blocks = nn.ModuleList(_Tdnn(part, part, kernel, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *parts = x.chunk(self._scale, 1)
        found = [first]
        for block, part in zip(self.blocks, parts, strict=True):
            found.append(block(part if len(found) == 1 else part + found[-1]))
        return torch.cat(found, 1)


class _SqueezeExcite(nn.Module):
    """Scales channels by what their means over time say."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.conv1 = _Conv(width, squeezed, 1)
        self.conv2 = _Conv(squeezed, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = functional.relu(self.conv1(x.mean(2, keepdim=True)))
        return x * torch.sigmoid(self.conv2(squeezed))


class _SeRes2Block(nn.Module):
    """One block of the encoder, added to its input."""

    def __init__(self, config: SpeakerEncoderConfig, index: int) -> None:
        super().__init__()
        width = config.channels[index]
        kernel, dilation = config.kernel_sizes[index], config.dilations[index]
        self.tdnn1 = _Tdnn(width, width, 1)
        self.res2net_block = _Res2Net(width, kernel, dilation, config.res2net_scale)
        self.tdnn2 = _Tdnn(width, width, 1)
        self.se_block = _SqueezeExcite(width, config.se_channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))
        return found + x


class _AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by an attention that has seen the unweighted ones."""

    def __init__(self, width: int, attention: int) -> None:
        super().__init__()
        self.tdnn = _Tdnn(3 * width, attention, 1)
        self.conv = _Conv(attention, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[2]
        # The official code divides ones by their sum in the model's dtype: in bfloat16 that is 1 / round(time).
        even = torch.ones(1, 1, time, dtype=x.dtype, device=x.device)
        mean, deviation = _statistics(x, even / even.sum(2, keepdim=True))
        spread = (part.unsqueeze(2).expand(-1, -1, time) for part in (mean, deviation))
        weights = torch.softmax(self.conv(torch.tanh(self.tdnn(torch.cat((x, *spread), 1)))), 2)
        return torch.cat(_statistics(x, weights), 1).unsqueeze(2)


def _statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    mean = (weights * x).sum(2)
    variance = (weights * (x - mean.unsqueeze(2)).square()).sum(2)
    return mean, variance.clamp(min=_VARIANCE_FLOOR).sqrt()


def speaker_encoder_tensors(config: SpeakerEncoderConfig) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every tensor of the encoder in ``model.safetensors``."""
    return {name: shape for name, (shape, _) in _table(SpeakerEncoder(config)).items()}


def _table(encoder: SpeakerEncoder) -> dict[str, tuple[tuple[int, ...], Slot]]:
    return {name: (shape, slot) for name, shape, slot in file_tensors(encoder, PREFIX)}

"""The 12.5 Hz codec as it is trained: encoder, residual quantizer, decoder, named and shaped as in the released file.

The arithmetic is that of ``toolkit/synthesis`` (a test compares the two); here everything runs on ``[batch, channels,
time]`` and whole sequences, with gradients. Quantizers learn by moving averages of what is assigned to their entries
(van den Oord et al. 2017, appendix A.1); entries that nobody uses are put where data are (Dhariwal et al. 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.synthesis.demo_shapes import CODE_GROUPS, DECODER_RATES, DECODER_RATIOS, ENCODER_RATIOS, ModelShape, Stack

__all__ = ["Codec", "Decoder", "Encoder", "Quantized", "initialise"]

_WINDOW = 72
_THETA = 10000.0
_DECAY = 0.99
_DEAD_USAGE = 0.02  # of the usage that every entry would have if all were used alike
_COMMITMENT = 0.25


class CausalConv(nn.Module):
    """A convolution that sees the present and the past; ``pad`` fills what is before the beginning."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        dilation: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        replicate: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, 0, dilation, groups, bias)
        self._left = (kernel - 1) * dilation + 1 - stride
        self._replicate = replicate

    def forward(self, x: Tensor) -> Tensor:
        if self._left:
            x = functional.pad(x, (self._left, 0), mode="replicate" if self._replicate else "constant")
        found: Tensor = self.conv(x)
        return found


class TransposedConv(nn.Module):
    """Makes ``stride`` columns of one; with a kernel of twice the stride a column also reaches into the next."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, overlaps: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, stride * (2 if overlaps else 1), stride)
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return found[..., : x.shape[-1] * self._stride]


class SnakeBeta(nn.Module):
    """``x + sin(x * exp(alpha)) ** 2 / (exp(beta) + 1e-9)``, alpha and beta one a channel.

    In float32 inside, which costs nothing where it is compiled.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        waves = (wide * self.alpha.exp()[:, None]).sin().square()
        return (wide + waves / (self.beta.exp() + 1e-9)[:, None]).to(x.dtype)


class RmsNorm(nn.Module):
    """Root-mean-square norm over the last axis."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (self.weight * wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._eps)).to(x.dtype)


class _Scale(nn.Module):
    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))


class _Attention(nn.Module):
    def __init__(self, shape: Stack) -> None:
        super().__init__()
        self.q_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.o_proj = nn.Linear(shape.inner, shape.hidden, bias=False)
        self._head_dim = shape.head_dim

    def forward(self, x: Tensor, window: int | None) -> Tensor:
        batch, time, _ = x.shape
        split = (batch, time, -1, self._head_dim)
        parts = (self.q_proj, self.k_proj, self.v_proj)
        queries, keys, values = (part(x).view(split).transpose(1, 2) for part in parts)
        queries, keys = _rotate(queries), _rotate(keys)
        mask = None
        if window is not None and time > window:
            steps = torch.arange(time, device=x.device)
            distance = steps[:, None] - steps
            mask = (distance >= 0) & (distance < window)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=mask is None)
        out: Tensor = self.o_proj(found.transpose(1, 2).reshape(batch, time, -1))
        return out


def _rotate(x: Tensor) -> Tensor:
    """Rotary positions over the last axis of ``[batch, heads, time, head_dim]``, half-split layout."""
    width = x.shape[-1]
    turns = 1.0 / _THETA ** (torch.arange(0, width, 2, dtype=torch.float32, device=x.device) / width)
    angles = torch.arange(x.shape[-2], dtype=torch.float32, device=x.device)[:, None] * turns
    cos, sin = torch.cat((angles, angles), -1).cos().to(x.dtype), torch.cat((angles, angles), -1).sin().to(x.dtype)
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


class _GatedMlp(nn.Module):
    def __init__(self, shape: Stack) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _PlainMlp(nn.Module):
    def __init__(self, shape: Stack) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.fc2 = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _Layer(nn.Module):
    """A transformer layer of either half: RMS norms and a gated MLP, or layer norms and a plain MLP."""

    def __init__(self, shape: Stack, *, gated: bool) -> None:
        super().__init__()
        self.self_attn = _Attention(shape)
        self.mlp: nn.Module = _GatedMlp(shape) if gated else _PlainMlp(shape)
        self.input_layernorm: nn.Module = RmsNorm(shape.hidden) if gated else nn.LayerNorm(shape.hidden)
        self.post_attention_layernorm: nn.Module = RmsNorm(shape.hidden) if gated else nn.LayerNorm(shape.hidden)
        # The released model begins at 0.01; with so few steps that only delays.
        self.self_attn_layer_scale = _Scale(shape.hidden, 0.3)
        self.mlp_layer_scale = _Scale(shape.hidden, 0.3)

    def forward(self, x: Tensor, window: int | None) -> Tensor:
        x = x + self.self_attn_layer_scale.scale * self.self_attn(self.input_layernorm(x), window)
        out: Tensor = x + self.mlp_layer_scale.scale * self.mlp(self.post_attention_layernorm(x))
        return out


class _Transformer(nn.Module):
    def __init__(self, shape: Stack, *, gated: bool, latent: int | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shape, gated=gated) for _ in range(shape.layers))
        self._window = _WINDOW if gated else None
        self._latent = latent
        if latent is not None:
            self.norm = RmsNorm(shape.hidden)
            self.input_proj = nn.Linear(latent, shape.hidden)
            self.output_proj = nn.Linear(shape.hidden, latent)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, channels, time]`` to the same."""
        y = x.transpose(1, 2)
        if self._latent is not None:
            y = self.input_proj(y)
        for layer in self.layers:
            y = layer(y, self._window)
        if self._latent is not None:
            y = self.output_proj(self.norm(y))
        return y.transpose(1, 2)


class _ConvNeXt(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).transpose(1, 2))
        out: Tensor = x + (self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))).transpose(1, 2)
        return out


class _WaveUnit(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.act1, self.conv1 = SnakeBeta(width), CausalConv(width, width, 7, dilation=dilation)
        self.act2, self.conv2 = SnakeBeta(width), CausalConv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.act2(self.conv1(self.act1(x))))
        return out


class _WaveBlock(nn.Module):
    def __init__(self, width: int, rate: int) -> None:
        super().__init__()
        half = width // 2
        units = (_WaveUnit(half, dilation) for dilation in (1, 3, 9))
        self.block = nn.Sequential(SnakeBeta(width), TransposedConv(width, half, rate, overlaps=True), *units)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


class _Projections(nn.Module):
    """The two projections around the entries of a group of codebooks, as the decoder's file has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output_proj = nn.Conv1d(width // 2, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_proj(x)
        return out


class Decoder(nn.Module):
    """From the sums of codebook entries to a waveform; file prefix ``decoder.``."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        latent, width = shape.decoder_latent, shape.decoder_channels
        self.quantizer = nn.ModuleDict(
            {name: _Projections(shape.decoder_codebook_dim) for name in ("rvq_first", "rvq_rest")}
        )
        self.pre_conv = CausalConv(shape.decoder_codebook_dim, latent, 3)
        self.pre_transformer = _Transformer(shape.decoder, gated=True, latent=latent)
        self.upsample = nn.ModuleList(
            nn.ModuleList((TransposedConv(latent, latent, ratio, overlaps=False), _ConvNeXt(latent)))
            for ratio in DECODER_RATIOS
        )
        stages: list[nn.Module] = [CausalConv(latent, width, 7)]
        for rate in DECODER_RATES:
            stages.append(_WaveBlock(width, rate))
            width //= 2
        last = CausalConv(width, 1, 7)
        self.decoder = nn.Sequential(*stages, SnakeBeta(width), last)

    @property
    def last(self) -> CausalConv:
        """The convolution that makes the samples."""
        found = self.decoder[-1]
        assert isinstance(found, CausalConv)
        return found

    def forward(self, first: Tensor, rest: Tensor) -> Tensor:
        """Entries of codebook 0 and sums of the others, ``[batch, entry width, frames]``, to ``[batch, samples]``.

        The waveform is not clamped here: beyond full scale there would be no gradient.
        """
        x = self.quantizer["rvq_first"](first) + self.quantizer["rvq_rest"](rest)
        x = self.pre_transformer(self.pre_conv(x))
        for stage in self.upsample:
            double, block = stage  # type: ignore[misc]
            x = block(double(x))  # type: ignore[has-type]
        wave: Tensor = self.decoder(x)
        return wave.squeeze(1)


class _ElUnit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        narrow, wide = CausalConv(width, width // 2, 3), CausalConv(width // 2, width, 1)
        self.block = nn.Sequential(nn.ELU(), narrow, nn.ELU(), wide)

    @property
    def narrowing(self) -> CausalConv:
        """The last convolution of the branch."""
        found = self.block[3]
        assert isinstance(found, CausalConv)
        return found

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.block(x)
        return out


class _Input(nn.Module):
    """The projection before a group of codebooks, as the encoder's file has it (with one back, which is not used)."""

    def __init__(self, entry: int, hidden: int) -> None:
        super().__init__()
        self.input_proj = nn.Conv1d(hidden, entry, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.input_proj(x)
        return out


class Encoder(nn.Module):
    """From a waveform to the two inputs of the quantizers; file prefix ``encoder.``."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        width = shape.encoder_filters
        stages: list[nn.Module] = [CausalConv(1, width, 7)]
        for rate in reversed(ENCODER_RATIOS):
            stages += [_ElUnit(width), nn.ELU(), CausalConv(width, 2 * width, 2 * rate, stride=rate)]
            width *= 2
        stages += [nn.ELU(), CausalConv(width, shape.encoder.hidden, 3)]
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(*stages)})
        self.encoder_transformer = _Transformer(shape.encoder, gated=False)
        hidden = shape.encoder.hidden
        self.downsample = CausalConv(hidden, hidden, 4, stride=2, bias=False, replicate=True)
        self.quantizer = nn.ModuleDict(
            {
                f"{name}_residual_vector_quantizer": _Input(shape.encoder_codebook_dim, hidden)
                for name in ("semantic", "acoustic")
            }
        )

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """``[batch, samples]`` (whole frames) to two of ``[batch, entry width, frames]``."""
        x = self.encoder["layers"](wave.unsqueeze(1))
        x = self.downsample(self.encoder_transformer(x))
        semantic = self.quantizer["semantic_residual_vector_quantizer"](x)
        acoustic = self.quantizer["acoustic_residual_vector_quantizer"](x)
        return semantic, acoustic


@dataclass(frozen=True)
class Quantized:
    """Codes int64 ``[batch, 16, frames]``, entries with straight-through gradients, and the commitment loss."""

    codes: Tensor
    first: Tensor
    rest: Tensor
    commitment: Tensor


class Codec(nn.Module):
    """All three parts. The codebooks are buffers: ``entries`` ``[16, size, width]``, sums and usage ``[16, size]``."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        size, width = shape.codebook, shape.encoder_codebook_dim
        scale = 0.5 * 0.85 ** torch.arange(CODE_GROUPS)[:, None, None]
        self.register_buffer("sums", torch.randn(CODE_GROUPS, size, width) * scale)
        self.register_buffer("usage", torch.ones(CODE_GROUPS, size))
        self.sums: Tensor
        self.usage: Tensor

    def entries(self) -> Tensor:
        """Codebook entries: sums over usage, floored as readers do it."""
        return self.sums / self.usage.clamp(min=1e-5)[..., None]

    def quantize(self, semantic: Tensor, acoustic: Tensor, *, learn: bool) -> Quantized:
        """Nearest entries, codebook by codebook; with ``learn`` the entries move."""
        with torch.autocast(semantic.device.type, enabled=False):
            return self._quantize(semantic.float(), acoustic.float(), learn)

    def _quantize(self, semantic: Tensor, acoustic: Tensor, learn: bool) -> Quantized:
        tables = self.entries()
        lengths = tables.square().sum(-1)
        shape = semantic.transpose(1, 2).shape
        target, wanted = (part.transpose(1, 2).reshape(-1, shape[-1]) for part in (semantic, acoustic))
        vectors = [target.detach()]
        codes: list[Tensor] = []
        picked: list[Tensor] = []
        for index in range(CODE_GROUPS):
            if index:
                vectors.append(wanted.detach() if index == 1 else vectors[-1] - picked[-1])
            # The nearest by Euclidean distance; the length of the vector itself does not matter.
            code = torch.addmm(lengths[index], vectors[-1], tables[index].T, alpha=-2.0).argmin(-1)
            codes.append(code)
            picked.append(tables[index][code])
        seen, entries = torch.stack(vectors), torch.stack(picked)
        total = entries[1:].sum(0)
        # The commitment of all stages: of the first group, and of what is left of the other after 1, 2, ... stages.
        left = wanted - entries[1:].cumsum(0)
        commitment = (target - entries[0]).square().mean() + left.square().mean((1, 2)).sum()
        if learn:
            self._learn(seen, torch.stack(codes))
        first = (target + (entries[0] - target).detach()).view(shape).transpose(1, 2)
        rest = (wanted + (total - wanted).detach()).view(shape).transpose(1, 2)
        found = torch.stack(codes).view(CODE_GROUPS, *shape[:2]).transpose(0, 1)
        return Quantized(found, first, rest, _COMMITMENT * commitment)

    @torch.no_grad()
    def _learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Move the entries towards ``vectors`` (``[16, count, width]``) that were assigned to them."""
        size = self.usage.shape[1]
        ones = functional.one_hot(codes, size).to(vectors.dtype).transpose(1, 2)
        usage = self.usage * _DECAY + ones.sum(-1) * (1 - _DECAY)
        total = self.sums * _DECAY + ones @ vectors * (1 - _DECAY)
        # An entry without use takes the place of a random vector of this batch.
        even = usage.mean(-1, keepdim=True)
        dead = usage < _DEAD_USAGE * even
        picks = torch.randint(0, vectors.shape[1], (CODE_GROUPS, size), device=vectors.device)
        drawn = vectors.gather(1, picks[..., None].expand(-1, -1, vectors.shape[-1]))
        self.usage.copy_(torch.where(dead, even, usage))
        self.sums.copy_(torch.where(dead[..., None], drawn * even[..., None], total))

    def look_up(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes ``[batch, 16, frames]`` to the two inputs of the decoder."""
        tables = self.entries()
        found = [functional.embedding(codes[:, index], tables[index]) for index in range(CODE_GROUPS)]
        return found[0].transpose(1, 2), torch.stack(found[1:]).sum(0).transpose(1, 2)

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """``[batch, samples]`` to codes ``[batch, 16, frames]``."""
        return self.quantize(*self.encoder(wave), learn=False).codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, 16, frames]`` to ``[batch, samples]``, clamped."""
        wave: Tensor = self.decoder(*self.look_up(codes))
        return wave.float().clamp(-1.0, 1.0)

    def file_tensors(self) -> dict[str, Tensor]:
        """Every tensor under its name in the released file, decoder and encoder."""
        tensors = {f"decoder.{name}": value for name, value in self.decoder.state_dict().items()}
        tensors |= {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        # Module dictionaries say "rvq_first.output_proj" as the file does; the encoder's stages carry "layers".
        for index in range(CODE_GROUPS):
            part, place = ("rvq_first", 0) if index == 0 else ("rvq_rest", index - 1)
            book = f"decoder.quantizer.{part}.vq.layers.{place}._codebook."
            tensors[book + "embedding_sum"], tensors[book + "cluster_usage"] = self.sums[index], self.usage[index]
            part = "semantic" if index == 0 else "acoustic"
            book = f"encoder.quantizer.{part}_residual_vector_quantizer.layers.{place}.codebook."
            tensors[book + "embed_sum"], tensors[book + "cluster_usage"] = self.sums[index], self.usage[index]
            tensors[book + "initialized"] = torch.ones(1)
        for part, name in (("rvq_first", "semantic"), ("rvq_rest", "acoustic")):
            inward = tensors[f"encoder.quantizer.{name}_residual_vector_quantizer.input_proj.weight"]
            tensors[f"decoder.quantizer.{part}.input_proj.weight"] = inward
            outward = tensors[f"decoder.quantizer.{part}.output_proj.weight"]
            tensors[f"encoder.quantizer.{name}_residual_vector_quantizer.output_proj.weight"] = outward
        return {name: value.detach().float().cpu().contiguous().clone() for name, value in tensors.items()}

    def load_file_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`file_tensors`."""
        for prefix, half in (("decoder.", self.decoder), ("encoder.", self.encoder)):
            half.load_state_dict({name: tensors[prefix + name] for name in half.state_dict()})
        for index in range(CODE_GROUPS):
            part, place = ("rvq_first", 0) if index == 0 else ("rvq_rest", index - 1)
            book = f"decoder.quantizer.{part}.vq.layers.{place}._codebook."
            self.sums[index].copy_(tensors[book + "embedding_sum"])
            self.usage[index].copy_(tensors[book + "cluster_usage"])


def initialise(codec: Codec) -> None:
    """Spread that keeps signals alive through the stack at the first step."""
    for module in codec.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            fan_in = math.prod(module.weight.shape[1:])
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose1d):
            taps = module.kernel_size[0] // module.stride[0]
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.in_channels * taps))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in codec.modules():
        if isinstance(module, _WaveUnit):
            module.conv2.conv.weight.data.mul_(0.3)
        if isinstance(module, _ElUnit):
            module.narrowing.conv.weight.data.mul_(0.3)
    codec.decoder.last.conv.weight.data.mul_(0.03)
    # Speech has an RMS near 0.07. And without biases silence would leave nothing for the layer norms to divide by: the
    # gradients of a clip with silence are then a hundred thousand times those of the others.
    for module in codec.encoder.modules():
        if isinstance(module, nn.Conv1d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
            if module.in_channels == 1:
                module.weight.data.mul_(8.0)

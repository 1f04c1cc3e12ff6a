"""The tensors of a loaded talker in the order in which a frame reads them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.config import CODE_GROUPS, CONTROL_IDS
from toolkit.synthesis.layers import Angles, DecoderLayer, DecoderStack, Linear, rotary_table
from toolkit.synthesis.talker import Talker

__all__ = ["FrameWeights", "LayerWeights", "StackWeights"]


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer; products as ``[outputs, inputs]``."""

    input_gain: Tensor
    qkv: Tensor
    q_gain: Tensor
    k_gain: Tensor
    out: Tensor
    post_gain: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: DecoderLayer) -> LayerWeights:
        """The tensors of a layer themselves, no copies."""
        return cls(
            input_gain=layer.input_norm,
            qkv=_plain(layer.qkv),
            q_gain=layer.q_norm,
            k_gain=layer.k_norm,
            out=_plain(layer.out),
            post_gain=layer.post_norm,
            gate_up=_plain(layer.gate_up),
            down=_plain(layer.down),
        )


@dataclass(frozen=True)
class StackWeights:
    """The layers of a stack, its final norm, and the numbers that its arithmetic needs."""

    layers: tuple[LayerWeights, ...]
    norm: Tensor
    eps: float
    heads: int

    @classmethod
    def of(cls, stack: DecoderStack) -> StackWeights:
        """The tensors of a stack themselves, no copies."""
        layers = tuple(LayerWeights.of(layer) for layer in stack.layers if isinstance(layer, DecoderLayer))
        return cls(layers, stack.norm, stack.shape.rms_eps, stack.shape.heads)


@dataclass(frozen=True)
class FrameWeights:
    """All that a frame reads and never writes.

    ``starts`` (int64 ``[16]``) are the rows of ``table`` and ``inputs`` at which the codebooks begin, ``following``
    what of ``inputs`` begins there; ``bans`` (bool ``[2, vocabulary]``) what the talker must not choose: row 0 from the
    third frame on, row 1 before, when the end of speech is banned as well. ``angles`` are those of the predictor's
    sixteen positions.
    """

    talker: StackWeights
    head: Tensor
    predictor: StackWeights
    heads: tuple[Tensor, ...]
    projection: Linear | None
    table: Tensor
    inputs: Tensor
    following: tuple[Tensor, ...]
    starts: Tensor
    bans: Tensor
    angles: Angles
    eos: int

    @classmethod
    def of(cls, talker: Talker) -> FrameWeights:
        """The tensors of a loaded talker; only masks and angles are new.

        Raises:
            UsageError: weights that were re-laid for a CPU's kernels, which only those can read.
        """
        config, predictor = talker.config, talker.predictor
        shape, norm = config.predictor.decoder, predictor.stack.norm
        banned = torch.zeros(2, config.talker.vocab, dtype=torch.bool)
        banned[:, config.talker.vocab - CONTROL_IDS :] = True
        banned[0, config.talker.codec_eos] = False
        return cls(
            talker=StackWeights.of(talker.stack),
            head=_plain(talker.head),
            predictor=StackWeights.of(predictor.stack),
            heads=tuple(_plain(head) for head in predictor.heads if isinstance(head, Linear)),
            projection=predictor.projection,
            table=talker.codes.table,
            inputs=predictor.inputs,
            following=tuple(predictor.inputs[start:] for start in talker.codes.offsets.tolist()[:-1]),
            starts=talker.codes.offsets,
            bans=banned.to(talker.device),
            angles=rotary_table(shape.head_dim, shape.rope_theta, CODE_GROUPS, dtype=norm.dtype, device=norm.device),
            eos=config.talker.codec_eos,
        )


def _plain(linear: Linear) -> Tensor:
    if linear.weight.device.type == "meta":
        raise UsageError(
            "the fast path reads weights as they lie in the file; these were re-laid for a CPU: load with pack=False"
        )
    return linear.weight

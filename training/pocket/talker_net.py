"""The talker and the code predictor as a network to be trained; names of the weights are those of the released file.

Weights are float32. The steps of a layer are plain functions of tensors, so that each is compiled once and serves all
layers; they work in the dtype of their input: BF16 on CUDA, with norms, angles, softmax and losses in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.synthesis.demo_shapes import CODE_GROUPS, ModelShape, Stack
from training.pocket.attention import Layout, attend, sequence_mask
from training.pocket.shape import talker_ids

__all__ = ["PREDICTOR_ROW", "Batch", "Losses", "Operations", "TalkerNet", "angles", "group_weights"]

_EPS = 1e-6
_THETA = 1e6
_GROUP_DECAY = 0.15
_MOST_POSITIONS = 1024  # of a sequence
_NO_ID = -2  # never equal to an id, nor to the -1 of positions that have none

PREDICTOR_ROW = 128
"""Positions side by side in one row of the predictor: eight frames, since rows of one frame waste attention tiles."""


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, ``[positions]``; -1 is "nothing" everywhere.

    Attributes:
        text, control: ids of the text and of the talker's vocabulary (no codes).
        codes: the frame that is read, ``[positions, 16]``.
        order: number of the position within its sequence.
        sequence: number of its sequence.
        target: code of group 0 that comes next, or the end of speech.
        guide: index in its row of the position whose text is being spoken.
        layout: where the sequences are.
        frame_at, frame_codes: ``[frames]`` positions whose hidden states the predictor continues, and the codes.
    """

    text: Tensor
    control: Tensor
    codes: Tensor
    order: Tensor
    sequence: Tensor
    target: Tensor
    guide: Tensor
    layout: Layout
    frame_at: Tensor
    frame_codes: Tensor


@dataclass(frozen=True)
class Losses:
    """``total`` has a gradient; ``groups`` (``[16]``), ``guide`` and ``accuracy`` (of group 0) are for a log."""

    total: Tensor
    groups: Tensor
    guide: Tensor
    accuracy: Tensor


def group_weights(device: torch.device) -> Tensor:
    """Weights of the predictor's groups 1 to 15, which add up to 1: what comes first is heard most."""
    weights = 1.0 / (1.0 + _GROUP_DECAY * torch.arange(1, CODE_GROUPS, device=device, dtype=torch.float32))
    return weights / weights.sum()


def angles(positions: int, head_dim: int) -> Tensor:
    """Cosines and sines, float32 ``[2, positions, head_dim]``; the first half of the sines is negated."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    turns = torch.arange(positions, dtype=torch.float32)[:, None] * (1.0 / _THETA**exponents)
    cos, sin = turns.cos(), turns.sin()
    return torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))


def _rms(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + _EPS) * gain).to(x.dtype)


def _linear(x: Tensor, *weights: Tensor) -> Tensor:
    """One product with several matrices that read the same input."""
    joint = weights[0] if len(weights) == 1 else torch.cat(weights)
    return functional.linear(x, joint.to(x.dtype))


def project(
    x: Tensor,
    gain: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_gain: Tensor,
    k_gain: Tensor,
    turns: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """From the stream to rotated queries and keys, and values; keys and values once for each query head. ``turns``
    are :func:`angles`, ``order`` is the row of each position in them."""
    width = q_gain.shape[0]
    heads, shared = q.shape[0] // width, k.shape[0] // width
    both = _linear(_rms(x, gain), q, k, v).view(x.shape[0], heads + 2 * shared, width)
    gains = torch.cat((q_gain.expand(heads, width), k_gain.expand(shared, width)))
    normed = _rms(both[:, : heads + shared].float(), gains)
    half = width // 2
    swapped = torch.cat((normed[..., half:], normed[..., :half]), -1)
    cos, sin = turns[:, order, None]
    rotated = (normed * cos + swapped * sin).to(x.dtype)
    repeats = heads // shared
    keys = rotated[:, heads:].repeat_interleave(repeats, 1)
    values = both[:, heads + shared :].repeat_interleave(repeats, 1)
    return rotated[:, :heads].contiguous(), keys, values


def finish(
    x: Tensor, found: Tensor, o: Tensor, gain: Tensor, gate: Tensor, up: Tensor, down: Tensor, drop: float
) -> Tensor:
    """The rest of a layer: what attention found, and the MLP."""
    x = x + functional.dropout(_linear(found, o), drop, drop > 0.0)
    inner = gate.shape[0]
    both = _linear(_rms(x, gain), gate, up)
    mixed = functional.silu(both[:, :inner]) * both[:, inner:]
    return x + functional.dropout(_linear(mixed, down), drop, drop > 0.0)


def embed(
    text: Tensor,
    control: Tensor,
    codes: Tensor,
    words: Tensor,
    widen: tuple[Tensor, Tensor],
    narrow: tuple[Tensor, Tensor],
    tables: Tensor,
    marks: Tensor,
    control_ids: Tensor,
    pad: int,
    dtype: torch.dtype,
    drop: float,
) -> Tensor:
    """The sum of both tracks, ``[positions, hidden]``.

    Codes are looked up by a product with ones and zeros: its gradient is a product as well, where a lookup would add
    up millions of rows one by one. The text of all positions is one row of a projected vocabulary; the pad row, which
    every other position reads, gets its gradient by a sum for the same reason.
    """
    hidden = functional.silu(functional.linear(words.to(dtype), widen[0].to(dtype), widen[1].to(dtype)))
    vocabulary = functional.linear(hidden, narrow[0].to(dtype), narrow[1].to(dtype)).float()
    padded, spoken = (text == pad)[:, None], ((text >= 0) & (text != pad))[:, None]
    spread = torch.arange(text.shape[0], device=text.device) % vocabulary.shape[0]
    looked_up = functional.embedding(torch.where(spoken[:, 0], text, spread), vocabulary)
    zero = torch.zeros((), device=text.device)
    x = torch.where(spoken, looked_up, zero) + torch.where(padded, vocabulary[pad], zero)
    size = tables.shape[0] // CODE_GROUPS
    ones = codes[:, :, None] == torch.arange(size, device=codes.device)
    hot = torch.cat((ones.flatten(1), control[:, None] == control_ids), 1).to(dtype)
    rows = torch.cat((tables, functional.embedding(control_ids.clamp(min=0), marks)))
    x = x + torch.matmul(hot, rows.to(dtype)).float()
    return functional.dropout(x, drop, drop > 0.0).to(dtype)


def first_code_loss(x: Tensor, gain: Tensor, rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The normed hidden states, cross entropy over ``rows`` and share of right guesses; targets below 0 are skipped."""
    hidden = _rms(x, gain)
    logits = _linear(hidden, rows).float()
    count = (target >= 0).sum().clamp(min=1)
    loss = functional.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / count
    right = (logits.argmax(-1) == target).sum() / count
    return hidden, loss, right


def guide_loss(queries: Tensor, keys: Tensor, sequence: Tensor, guide: Tensor) -> Tensor:
    """Mean of -log of the attention that each position of ``[rows, length, head_dim]`` pays to its ``guide``."""
    scores = torch.matmul(queries.float(), keys.float().transpose(1, 2)) / math.sqrt(queries.shape[-1])
    scores = torch.where(sequence_mask(sequence)[:, 0], scores, -1e9)
    chosen = scores.gather(2, guide.clamp(min=0)[..., None])[..., 0]
    known = guide >= 0
    missing = torch.where(known, torch.logsumexp(scores, 2) - chosen, torch.zeros_like(chosen))
    return missing.sum() / known.sum().clamp(min=1)


def predictor_inputs(hidden: Tensor, at: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    """Hidden states at some positions, each followed by the codes of groups 0 to 14: ``[frames * 16, hidden]``."""
    size = tables.shape[0] // CODE_GROUPS
    starts = size * torch.arange(CODE_GROUPS - 1, device=codes.device)
    rows = functional.embedding(codes[:, :-1] + starts, tables)
    # In float32 up to here: gradients are added up row by row, which CUDA does fast in float32 only.
    chosen = functional.embedding(at, hidden.float())
    return torch.cat((chosen[:, None], rows), 1).flatten(0, 1).to(hidden.dtype)


def other_codes_loss(x: Tensor, gain: Tensor, heads: Tensor, codes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy of groups 1 to 15 from ``[frames * 16, hidden]``, and that of each group."""
    hidden = _rms(x, gain).view(codes.shape[0], CODE_GROUPS, -1)[:, 1:].transpose(0, 1)
    logits = torch.bmm(hidden, heads.to(hidden.dtype).transpose(1, 2)).float()
    chosen = logits.gather(2, codes[:, 1:].t()[..., None])[..., 0]
    groups = (torch.logsumexp(logits, 2) - chosen).mean(1)
    return (groups * weights).sum(), groups


@dataclass(frozen=True)
class Operations:
    """The steps of the network, compiled or plain."""

    project: Callable[..., tuple[Tensor, Tensor, Tensor]] = project
    finish: Callable[..., Tensor] = finish
    embed: Callable[..., Tensor] = embed
    first_code_loss: Callable[..., tuple[Tensor, Tensor, Tensor]] = first_code_loss
    guide_loss: Callable[..., Tensor] = guide_loss
    predictor_inputs: Callable[..., Tensor] = predictor_inputs
    other_codes_loss: Callable[..., tuple[Tensor, Tensor]] = other_codes_loss

    @classmethod
    def compiled(cls) -> Operations:
        """Each step compiled for the shapes that it meets."""
        return cls(
            project=torch.compile(project, dynamic=False),
            finish=torch.compile(finish, dynamic=False),
            embed=torch.compile(embed, dynamic=False),
            first_code_loss=torch.compile(first_code_loss, dynamic=False),
            guide_loss=torch.compile(guide_loss, dynamic=False),
            predictor_inputs=torch.compile(predictor_inputs, dynamic=False),
            other_codes_loss=torch.compile(other_codes_loss, dynamic=False),
        )


PLAIN = Operations()


class _Gain(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class _Attention(nn.Module):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        shared = stack.kv_heads * stack.head_dim
        self.q_proj = nn.Linear(stack.hidden, stack.inner, bias=False)
        self.k_proj = nn.Linear(stack.hidden, shared, bias=False)
        self.v_proj = nn.Linear(stack.hidden, shared, bias=False)
        self.o_proj = nn.Linear(stack.inner, stack.hidden, bias=False)
        self.q_norm, self.k_norm = _Gain(stack.head_dim), _Gain(stack.head_dim)


class _Mlp(nn.Module):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.up_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.down_proj = nn.Linear(stack.intermediate, stack.hidden, bias=False)


class _Layer(nn.Module):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.self_attn, self.mlp = _Attention(stack), _Mlp(stack)
        self.input_layernorm, self.post_attention_layernorm = _Gain(stack.hidden), _Gain(stack.hidden)

    def forward(
        self, x: Tensor, turns: Tensor, order: Tensor, layout: Layout, steps: Operations, drop: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The stream behind this layer, and the queries and keys within."""
        own, mlp = self.self_attn, self.mlp
        weights = (own.q_proj.weight, own.k_proj.weight, own.v_proj.weight, own.q_norm.weight, own.k_norm.weight)
        q, k, v = steps.project(x, self.input_layernorm.weight, *weights, turns, order)
        found = attend(q, k, v, layout)
        rest = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        return steps.finish(x, found, own.o_proj.weight, self.post_attention_layernorm.weight, *rest, drop), q, k


class _TextProjection(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(shape.text_hidden, shape.text_hidden)
        self.linear_fc2 = nn.Linear(shape.text_hidden, shape.talker.hidden)


class _TalkerModel(nn.Module):
    def __init__(self, shape: ModelShape, text_rows: int) -> None:
        super().__init__()
        self.codec_embedding = nn.Embedding(shape.vocab, shape.talker.hidden)
        self.text_embedding = nn.Embedding(text_rows, shape.text_hidden)
        self.layers = nn.ModuleList(_Layer(shape.talker) for _ in range(shape.talker.layers))
        self.norm = _Gain(shape.talker.hidden)


class _PredictorModel(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.codec_embedding = nn.ModuleList(
            nn.Embedding(shape.codebook, shape.talker.hidden) for _ in range(CODE_GROUPS - 1)
        )
        self.layers = nn.ModuleList(_Layer(shape.predictor) for _ in range(shape.predictor.layers))
        self.norm = _Gain(shape.predictor.hidden)


class _CodePredictor(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.model = _PredictorModel(shape)
        self.lm_head = nn.ModuleList(
            nn.Linear(shape.predictor.hidden, shape.codebook, bias=False) for _ in range(CODE_GROUPS - 1)
        )


class _Talker(nn.Module):
    def __init__(self, shape: ModelShape, text_rows: int) -> None:
        super().__init__()
        self.model = _TalkerModel(shape, text_rows)
        self.text_projection = _TextProjection(shape)
        self.codec_head = nn.Linear(shape.talker.hidden, shape.vocab, bias=False)
        self.code_predictor = _CodePredictor(shape)


class TalkerNet(nn.Module):
    """Everything of ``model.safetensors``.

    Args:
        shape: the sizes; talker and predictor must be equally wide.
        text_rows: rows of the text embedding.
        pad: id of the text token that stands for no text.
    """

    def __init__(self, shape: ModelShape, text_rows: int, pad: int) -> None:
        super().__init__()
        if shape.predictor.hidden != shape.talker.hidden:
            raise ValueError("the predictor must be as wide as the talker: there is no projection between them here")
        self.shape = shape
        self._pad = pad
        ids = talker_ids(shape)
        self.talker = _Talker(shape, text_rows)
        # Eight rows of the head around the end of speech, so that the product with codes and end keeps a width that
        # matrix units like. The other control ids are never written, and their rows stay zero.
        self._end_block = ids.eos // 8 * 8
        self._eos = ids.eos
        self.control_ids: Tensor
        ones = torch.tensor((*ids.read, *[_NO_ID] * (-len(ids.read) % 32)))  # a width that matrix units like
        self.register_buffer("control_ids", ones, persistent=False)
        self.talker_turns: Tensor
        self.register_buffer("talker_turns", angles(_MOST_POSITIONS, shape.talker.head_dim), persistent=False)
        self.predictor_turns: Tensor
        self.register_buffer("predictor_turns", angles(CODE_GROUPS, shape.predictor.head_dim), persistent=False)
        self._layouts: dict[tuple[int, torch.device], tuple[Layout, Tensor]] = {}
        self._initialise(ids.read)

    @property
    def guided_layer(self) -> int:
        """The talker's layer whose first head is pulled to the text that is being spoken."""
        return min(2, self.shape.talker.layers - 1)

    def losses(
        self,
        batch: Batch,
        *,
        steps: Operations = PLAIN,
        dtype: torch.dtype = torch.float32,
        drop: float = 0.0,
        predictor_drop: float = 0.0,
        guide_weight: float = 0.3,
    ) -> Losses:
        """All losses of a batch."""
        tables = self._tables()
        x, queries, keys = self._stream(batch, tables, steps, dtype, drop)
        code = torch.where(batch.target == self._eos, self.shape.codebook + self._eos - self._end_block, batch.target)
        hidden, first, accuracy = steps.first_code_loss(x, self.talker.model.norm.weight, self._head_rows(), code)
        rows = (batch.layout.rows, batch.layout.length)
        guide = steps.guide_loss(
            queries[:, 0].view(*rows, -1), keys[:, 0].view(*rows, -1), batch.sequence.view(rows), batch.guide.view(rows)
        )
        y = self._predict(hidden, batch, tables, steps, predictor_drop)
        predictor = self.talker.code_predictor
        heads = torch.stack(_weights(predictor.lm_head))
        weights = group_weights(y.device)
        rest, groups = steps.other_codes_loss(y, predictor.model.norm.weight, heads, batch.frame_codes, weights)
        total = first + rest + guide_weight * guide
        return Losses(total, torch.cat((first.detach()[None], groups.detach())), guide.detach(), accuracy.detach())

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Teacher-forced logits in float32: of group 0 ``[positions, vocabulary]``, and of groups 1 to 15
        ``[frames, 15, codes]`` for the frames of the batch."""
        tables = self._tables()
        x, _, _ = self._stream(batch, tables, PLAIN, torch.float32, 0.0)
        hidden = _rms(x, self.talker.model.norm.weight)
        predictor = self.talker.code_predictor
        y = self._predict(hidden, batch, tables, PLAIN, 0.0)
        y = _rms(y, predictor.model.norm.weight).view(-1, CODE_GROUPS, y.shape[-1])
        others = [head(y[:, group + 1]) for group, head in enumerate(predictor.lm_head)]
        return self.talker.codec_head(hidden), torch.stack(others, 1)

    def matrices(self) -> set[str]:
        """Names of the weights that weight decay applies to: not tables, whose rare rows it would fade, nor gains."""
        return {name for name, value in self.named_parameters() if value.ndim == 2 and "embedding" not in name}

    def _stream(
        self, batch: Batch, tables: Tensor, steps: Operations, dtype: torch.dtype, drop: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        model, text = self.talker.model, self.talker.text_projection
        x = steps.embed(
            batch.text,
            batch.control,
            batch.codes,
            model.text_embedding.weight,
            (text.linear_fc1.weight, text.linear_fc1.bias),
            (text.linear_fc2.weight, text.linear_fc2.bias),
            tables,
            model.codec_embedding.weight,
            self.control_ids,
            self._pad,
            dtype,
            drop,
        )
        seen = []
        for layer in model.layers:
            x, queries, keys = layer(x, self.talker_turns, batch.order, batch.layout, steps, drop)
            seen.append((queries, keys))
        return x, *seen[self.guided_layer]

    def _predict(self, hidden: Tensor, batch: Batch, tables: Tensor, steps: Operations, drop: float) -> Tensor:
        y = steps.predictor_inputs(hidden, batch.frame_at, batch.frame_codes, tables)
        layout, order = self._frames_layout(batch.frame_at.shape[0], y.device)
        for layer in self.talker.code_predictor.model.layers:
            y, _, _ = layer(y, self.predictor_turns, order, layout, steps, drop)
        return y

    def _frames_layout(self, frames: int, device: torch.device) -> tuple[Layout, Tensor]:
        """Frames of sixteen positions, eight to a row where their number allows it; one mask serves all rows."""
        if (frames, device) not in self._layouts:
            length = math.gcd(frames * CODE_GROUPS, PREDICTOR_ROW)
            order = torch.arange(frames * CODE_GROUPS, device=device)
            mask = sequence_mask((order[:length] // CODE_GROUPS)[None])
            layout = Layout(frames * CODE_GROUPS // length, length, mask=mask)
            self._layouts[frames, device] = layout, order % CODE_GROUPS
        return self._layouts[frames, device]

    def _tables(self) -> Tensor:
        """Embeddings of all codes, ``[16 * codes, hidden]``."""
        own = self.talker.model.codec_embedding.weight[: self.shape.codebook]
        return torch.cat((own, *_weights(self.talker.code_predictor.model.codec_embedding)))

    def _head_rows(self) -> Tensor:
        """Rows of the head for the codes, and for the block around the end of speech."""
        weight = self.talker.codec_head.weight
        return torch.cat((weight[: self.shape.codebook], weight[self._end_block : self._end_block + 8]))

    @torch.no_grad()
    def _initialise(self, read: Sequence[int]) -> None:
        for name, value in self.named_parameters():
            if value.ndim == 1:
                value.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.endswith("text_embedding.weight"):
                value.normal_(std=0.5)
            elif "embedding" in name:
                value.normal_(std=0.2)  # sixteen are added up
            elif "lm_head" in name or "linear_fc2" in name:
                # First guesses are nearly even; text weighs about as much as a frame.
                value.normal_(std=(0.3 if "lm_head" in name else 2.0) / math.sqrt(value.shape[1]))
            else:
                layers = (self.shape.predictor if "code_predictor" in name else self.shape.talker).layers
                calm = 1.0 / math.sqrt(2 * layers) if "o_proj" in name or "down_proj" in name else 1.0
                value.normal_(std=calm / math.sqrt(value.shape[1]))
        talker = self.talker
        written = torch.zeros(self.shape.vocab, 1)
        written[: self.shape.codebook] = 1.0
        written[self._end_block : self._end_block + 8] = 1.0
        talker.codec_head.weight.mul_(0.3 * written)
        known = torch.zeros(self.shape.vocab, 1)
        known[: self.shape.codebook] = 1.0
        known[list(read)] = 1.0
        talker.model.codec_embedding.weight.mul_(known)


def _weights(modules: nn.ModuleList) -> list[Tensor]:
    return [module.get_parameter("weight") for module in modules]

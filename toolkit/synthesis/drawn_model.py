"""A model of random weights that is drawn on the device it runs on, for measuring speed: nothing of it is on the disk.

Random weights cost what trained ones do, and their speech is noise. Unlike those of
:mod:`toolkit.synthesis.demo_model` they depend on the device and on PyTorch's version.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitFault
from toolkit.synthesis.demo_model import write_texts
from toolkit.synthesis.demo_shapes import Kind, Scale, Size, model_shape
from toolkit.synthesis.demo_tensors import CodebookSum, Ones, TensorPlan, Uniform, Usage, codec_plan, model_plan
from toolkit.synthesis.hub import FoundModel
from toolkit.synthesis.weights import ModuleFiller, SafetensorsFile, Slot, TensorEntry

__all__ = ["DrawnFile", "DrawnModel", "drawn_model"]

_ITEM_BYTES = {"BF16": 2, "F32": 4}


class DrawnFile(SafetensorsFile):
    """Takes the place of a file of weights: its table is that of the file, its values are drawn where they are needed.

    Args:
        path: what messages name.
        plans: the tensors and their distributions.
        dtype: of all of them.
        seed: the same seed, device and version of PyTorch give the same values.
    """

    def __init__(self, path: Path, plans: Iterable[TensorPlan], dtype: Literal["BF16", "F32"], seed: int) -> None:
        self.path = path
        self._plans = {plan.name: plan for plan in plans}
        self._seed = seed
        entries: dict[str, TensorEntry] = {}
        end = 0
        for name, plan in self._plans.items():
            start, end = end, end + math.prod(plan.shape) * _ITEM_BYTES[dtype]
            entries[name] = TensorEntry(name, dtype, plan.shape, start, end - start)
        self.tensors: Mapping[str, TensorEntry] = entries

    def load_into(
        self,
        module: nn.Module,
        mapping: Mapping[str, Slot | str],
        device: torch.device | str,
        dtype: torch.dtype | None,
    ) -> None:
        """Draw the named tensors in place; see :meth:`SafetensorsFile.load_into`."""
        filler = ModuleFiller(self.path, module, torch.device(device), dtype)
        for name, place in mapping.items():
            slot = place if isinstance(place, Slot) else Slot(place)
            self._draw(self._plans[name], filler.rows(self.tensors[name], slot))
        filler.check_complete()

    def _draw(self, plan: TensorPlan, target: Tensor) -> None:
        draw, source = plan.draw, self._source(plan.name, target.device)
        if isinstance(draw, Ones):
            target.fill_(1.0)
        elif isinstance(draw, Uniform):
            target.uniform_(draw.low, draw.high, generator=source)
        elif isinstance(draw, Usage):
            target.uniform_(0.5, 20.5, generator=source)
        elif isinstance(draw, CodebookSum):
            usage = torch.empty(target.shape[0], dtype=target.dtype, device=target.device)
            self._draw(self._plans[draw.usage], usage)
            target.normal_(0.0, draw.std, generator=source).mul_(usage[:, None])
        else:
            target.normal_(0.0, draw.std, generator=source)
            if draw.centred:
                target -= target.mean(dim=tuple(range(1, target.ndim)), keepdim=True)
            if draw.scaled_row is not None:
                row, factor = draw.scaled_row
                target[row].mul_(factor)

    def _source(self, name: str, device: torch.device) -> torch.Generator:
        digest = hashlib.sha256(f"{self._seed}|{name}".encode()).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "little"))


@dataclass(frozen=True)
class DrawnModel(FoundModel):
    """A model whose folder holds everything but the weights; ``files`` has those by their names inside the folder."""

    files: Mapping[str, DrawnFile] | None = None

    def weights(self, name: str) -> SafetensorsFile:
        """The stand-in for a file of weights."""
        found = (self.files or {}).get(name)
        if found is None:
            raise ToolkitFault(f"a drawn model has no file {name}")
        return found


@contextmanager
def drawn_model(
    size: Size = "1b7", scale: Scale = "real", *, kind: Kind = "custom_voice", seed: int = 0
) -> Iterator[DrawnModel]:
    """A model for :func:`toolkit.synthesis.speaker.load`, while the block lasts; a loaded one lives on after it.

    Args:
        size: the family member.
        scale: "real" has the published shapes, "tiny" and "small" those of the demo models.
        kind: which voices it has; a base model's encoders cannot be had.
        seed: of the weights.

    It never ends its speech by itself: the end-of-speech row of the head is zero, so that each call makes the number of
    frames that it is allowed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / (f"random-{size}" if scale == "real" else f"random-{scale}-{size}")
        (folder / "speech_tokenizer").mkdir(parents=True)
        text_vocab = write_texts(folder, kind, size, scale, full_text_vocab=scale == "real")
        shape = model_shape(scale, size)
        model, codec = "model.safetensors", "speech_tokenizer/model.safetensors"
        yield DrawnModel(
            folder,
            files={
                model: DrawnFile(folder / model, model_plan(kind, shape, text_vocab, 0.0), "BF16", seed),
                codec: DrawnFile(folder / codec, codec_plan(shape), "F32", seed),
            },
        )

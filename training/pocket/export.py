"""Writes the finished voice as a model folder in the released layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from toolkit.synthesis.demo_tensors import TensorPlan, codec_plan, model_plan
from training.pocket.bpe import Vocabulary, read_vocabulary
from training.pocket.shape import POCKET, ModelShape, json_files, text_rows

__all__ = ["MOST_BYTES", "export"]

MOST_BYTES = 30_000_000
"""What the package can carry."""

_SMALLEST_USAGE = 1e-5  # below it readers divide by this instead
_SUMS, _USAGE = "embedding_sum", "cluster_usage"
_DECODER, _ENCODER = "decoder.", "encoder."
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


def export(
    folder: Path,
    talker_state: Mapping[str, Tensor],
    codec_state: Mapping[str, Tensor],
    tokenizer_folder: Path,
    *,
    encoder_file: Path | None = None,
    shape: ModelShape = POCKET,
    log: Callable[[str], None] = print,
) -> int:
    """Write a folder that loads like a published one; it appears when everything in it is written.

    The codec is stored in BF16 here (the released files have it in F32, twice the size for nothing: its decoder is
    trained in that precision). Codebooks are stored as their entries, with a usage of 1, so that they are rounded once.

    Args:
        folder: must not exist or be empty.
        talker_state: weights by their released names.
        codec_state: weights of the codec, names beginning with "decoder." and "encoder.".
        tokenizer_folder: holds what :func:`training.pocket.bpe.write_tokenizer` wrote.
        encoder_file: where the codec's encoder goes, in F32: cloning needs it, speaking does not.
        shape: the sizes.
        log: receives a line for each file.

    Returns:
        Bytes of the folder.

    Raises:
        ValueError: names or shapes are not those of the layout, weights are not finite, the folder is not empty, or
            the result is larger than :data:`MOST_BYTES`.
    """
    vocabulary = read_vocabulary(tokenizer_folder)
    codec = list(codec_plan(shape))
    main = _checked(talker_state, model_plan("custom_voice", shape, text_rows(len(vocabulary)), 0.0), "the talker")
    decoder = _checked(
        {name: value for name, value in codec_state.items() if name.startswith(_DECODER)},
        [plan for plan in codec if plan.name.startswith(_DECODER)],
        "the codec's decoder",
    )
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "speech_tokenizer").mkdir(parents=True)
        _save(unfinished / "model.safetensors", main, torch.bfloat16)
        _save(unfinished / "speech_tokenizer" / "model.safetensors", _plain_codebooks(decoder), torch.bfloat16)
        _write_texts(unfinished, vocabulary, tokenizer_folder, shape)
        sizes = {
            path.relative_to(unfinished).as_posix(): path.stat().st_size
            for path in sorted(unfinished.rglob("*"))
            if path.is_file()
        }
        total = sum(sizes.values())
        for name, size in sizes.items():
            log(f"{size / 1e6:8.3f} MB  {name}")
        log(f"{total / 1e6:8.3f} MB  in all")
        if total > MOST_BYTES:
            raise ValueError(f"the folder has {total / 1e6:.1f} MB; it may have {MOST_BYTES / 1e6:.0f}")
        if encoder_file is not None:
            _save_encoder(encoder_file, codec_state, codec)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return total


def _checked(state: Mapping[str, Tensor], plans: Iterable[TensorPlan], what: str) -> dict[str, Tensor]:
    """The weights, after a comparison with the layout."""
    wanted = {plan.name: plan.shape for plan in plans}
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unknown:
        raise ValueError(
            f"{what}: {len(missing)} tensors are missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}"
        )
    for name, shape in wanted.items():
        if tuple(state[name].shape) != shape:
            raise ValueError(f"{what}: {name} is {list(state[name].shape)} instead of {list(shape)}")
        if not bool(torch.isfinite(state[name]).all()):
            raise ValueError(f"{what}: {name} is not finite")
    return dict(state)


def _plain_codebooks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = dict(state)
    for name in state:
        if name.endswith(_SUMS):
            usage = name.removesuffix(_SUMS) + _USAGE
            plain[name] = state[name].float() / state[usage].float().clamp(min=_SMALLEST_USAGE)[:, None]
            plain[usage] = torch.ones_like(state[usage])
    return plain


def _save(path: Path, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    tensors = {name: state[name].detach().to("cpu", dtype).contiguous() for name in sorted(state)}
    save_file(tensors, path, metadata={"format": "pt"})


def _save_encoder(path: Path, codec_state: Mapping[str, Tensor], codec: Iterable[TensorPlan]) -> None:
    encoder = {name: value for name, value in codec_state.items() if name.startswith(_ENCODER)}
    plans = [plan for plan in codec if plan.name.startswith(_ENCODER)]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.unfinished")
    _save(part, _checked(encoder, plans, "the codec's encoder"), torch.float32)
    part.replace(path)


def _write_texts(folder: Path, vocabulary: Vocabulary, tokenizer_folder: Path, shape: ModelShape) -> None:
    for name in _TOKENIZER_FILES:
        shutil.copyfile(tokenizer_folder / name, folder / name)
    documents = json_files(shape, base_vocab=len(vocabulary), assistant_id=vocabulary.id_of("assistant"))
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")

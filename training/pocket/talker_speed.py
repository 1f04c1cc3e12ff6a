"""Measures a step of the talker's training on sequences of random content: ``python -m training.pocket.talker_speed``.

Each line of settings is trained for a number of seconds; the last line of each run states the time of a step.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from training.pocket.sequences import Sequences
from training.pocket.shape import CODE_GROUPS, POCKET, talker_ids
from training.pocket.talker_training import Settings, train

__all__ = ["main", "random_sequences"]

_TEXT_ROWS = 5824


def random_sequences(count: int, seed: int = 0) -> Sequences:
    """Sequences whose lengths and shares of text and frames are those of the corpus, and nothing else."""
    source = np.random.default_rng(seed)
    frames = np.clip(source.normal(45, 20, count), 8, 240).astype(np.int64)
    prompts = np.clip(frames * 0.6 + source.normal(18, 6, count), 12, 180).astype(np.int64)
    lengths = frames + prompts
    starts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    within = np.arange(total) - np.repeat(starts, lengths)
    spoken = within >= np.repeat(prompts, lengths)
    predicting = within >= np.repeat(prompts, lengths) - 1
    last = within == np.repeat(lengths, lengths) - 1
    ids = talker_ids(POCKET)
    codes = source.integers(0, POCKET.codebook, (int(frames.sum()), CODE_GROUPS)).astype(np.uint8)
    following = np.full(total, -1)
    following[predicting & ~last] = codes[:, 0]
    following[last] = ids.eos
    frame = np.full(total, -1)
    frame[spoken] = np.arange(len(codes))

    def ended(
        values: np.typing.NDArray[np.int64], dtype: type[np.signedinteger]
    ) -> np.typing.NDArray[np.signedinteger]:
        return np.append(values, -1).astype(dtype)

    return Sequences(
        starts=starts,
        lengths=lengths,
        text=ended(np.where(spoken, _TEXT_ROWS - 1, source.integers(0, _TEXT_ROWS - 1, total)), np.int16),
        control=ended(np.where(spoken, -1, ids.pad), np.int16),
        frame=ended(frame, np.int32),
        target=ended(following, np.int16),
        guide=ended(np.where(predicting & ~last, within // 3, -1), np.int16),
        codes=codes,
        text_rows=_TEXT_ROWS,
        pad=_TEXT_ROWS - 1,
        dropped=0,
    )


def main() -> None:
    """Measure some settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each, after compiling the first")
    parser.add_argument("--sequences", type=int, default=40_000)
    parser.add_argument("--device", default="cuda")
    chosen = parser.parse_args()
    usual = Settings(log_every=500, evaluate_every=1_000_000)
    variants = {
        "as trained": usual,
        "masked attention": replace(usual, attention="masked"),
        "half the rows and frames": replace(usual, rows=32, predictor_frames=2048),
        "no CUDA graph": replace(usual, graph=False),
    }
    begin = time.monotonic()
    data = random_sequences(chosen.sequences)
    print(f"{len(data)} sequences, {data.lengths.mean():.0f} positions each, {time.monotonic() - begin:.1f} s")
    for name, settings in variants.items():
        print(f"--- {name}", flush=True)
        begin = time.monotonic()

        def log(line: str, begin: float = begin) -> None:
            print(f"{time.monotonic() - begin:6.1f} s  {line}", flush=True)

        try:
            limit = chosen.seconds + (60.0 if settings is usual else 0.0)
            train(data, POCKET, time_limit_s=limit, device=chosen.device, seed=0, log=log, settings=settings)
            if chosen.device == "cuda":
                print(f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB", flush=True)
                torch.cuda.reset_peak_memory_stats()
        except RuntimeError as error:
            print(f"failed: {error}", flush=True)


if __name__ == "__main__":
    main()

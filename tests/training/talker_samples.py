"""A small vocabulary, utterances of random codes, and weights of every part, for the tests of the talker's training."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from toolkit.synthesis.demo_model import _PortableValues
from toolkit.synthesis.demo_tensors import codec_plan
from training.pocket.bpe import Vocabulary, train_bpe, write_tokenizer
from training.pocket.export import export
from training.pocket.sequences import Example
from training.pocket.shape import CODE_GROUPS, SMOKE
from training.pocket.talker_net import TalkerNet

WORDS = "the weather water better letter after never other mother another good morning house".split()
CHARACTERS = "你好今天天气很好我们明天早上一起去学校吃饭喝水"
INSTRUCTIONS = ("", "", "speak faster", "语速加快20%", "用 low pitch 说")
SPEAKERS = ("serena", "vivian", "ryan", "dylan")


def line(source: random.Random, language: str) -> str:
    if language == "english":
        return " ".join(source.choices(WORDS, k=source.randint(2, 6))).capitalize() + "."
    return "".join(source.choices(CHARACTERS, k=source.randint(3, 12))) + "。"


@cache
def vocabulary() -> Vocabulary:
    source = random.Random(1)
    return train_bpe([*(line(source, name) for name in ("english", "chinese") * 200), *INSTRUCTIONS], pieces=80)


def examples(count: int, seed: int = 0, *, learnable: bool = False) -> list[Example]:
    """Utterances of about 70 ms a character; ``learnable`` ones have codes that follow from the text."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        language = source.choice(("english", "chinese"))
        text = line(source, language)
        times = np.arange(len(text), dtype=np.float32) * np.float32(source.uniform(0.05, 0.2)) + np.float32(0.04)
        frames = max(2, int(times[-1] / 0.08) + 2)
        codes = np.random.default_rng(source.getrandbits(30)).integers(0, SMOKE.codebook, (frames, CODE_GROUPS))
        if learnable:
            codes = np.broadcast_to(np.arange(frames)[:, None] % 4 + np.arange(CODE_GROUPS), codes.shape)
        found.append(
            Example(
                text=text,
                instruct=source.choice(INSTRUCTIONS),
                language="english" if language == "english" else "chinese",
                speaker=source.choice((*SPEAKERS, None)),
                codes=codes.astype(np.uint8),
                times_s=times,
            )
        )
    return found


def talker_net(seed: int = 0) -> TalkerNet:
    """Random weights, none of which is trivial."""
    from training.pocket.shape import text_rows

    torch.manual_seed(seed)
    rows = text_rows(len(vocabulary()))
    net = TalkerNet(SMOKE, rows, pad=len(vocabulary()) + 28)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim == 1:
                value.add_(0.2 * torch.randn_like(value))
            elif name.endswith("codec_head.weight"):
                value.normal_()
    return net


def codec_state() -> dict[str, Tensor]:
    values = _PortableValues(3)
    return {plan.name: torch.from_numpy(np.concatenate(list(values.blocks(plan)))) for plan in codec_plan(SMOKE)}


def model_folder(parent: Path, net: TalkerNet) -> Path:
    """A whole model folder."""
    write_tokenizer(parent / "tokenizer", vocabulary())
    export(parent / "model", net.state_dict(), codec_state(), parent / "tokenizer", shape=SMOKE, log=lambda _: None)
    return parent / "model"

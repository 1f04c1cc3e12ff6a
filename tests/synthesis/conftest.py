"""Checkpoints of random weights, rebuilt once a run, and models loaded from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from golden_set import GoldenSet
from loaded_model import GOLDENS, Loaded

from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.demo_shapes import Kind, Size
from toolkit.synthesis.prompt import PromptBuilder
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.speaker import load as load_speech
from toolkit.synthesis.talker import load_talker
from toolkit.synthesis.tokenizer import TextTokenizer

Checkpoints = Callable[[str], Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums of a fixed order; and tiny products gain nothing from a second thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def goldens() -> GoldenSet:
    """The committed goldens."""
    return GoldenSet(GOLDENS)


@pytest.fixture(scope="session")
def checkpoint(goldens: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Name of a golden checkpoint -> its folder, written when first asked for. Treat it as read-only."""
    parent = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda name: goldens.build(name, parent))


@pytest.fixture(scope="session")
def load(checkpoint: Checkpoints) -> Callable[..., Loaded]:
    """Name of a golden checkpoint, ``dtype``, ``pack`` -> the model, loaded once for each."""

    @cache
    def loaded(name: str, dtype: torch.dtype = torch.float32, pack: bool = False) -> Loaded:
        folder = checkpoint(name)
        config = ModelConfig.read(folder)
        talker = load_talker(folder, config, dtype=dtype, pack=pack)
        tokenizer = TextTokenizer(folder, config)
        return Loaded(folder, config, talker, tokenizer, PromptBuilder(talker, tokenizer))

    return loaded


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Kind, size -> folder of a demo model that ends its drawn speech within seconds. Treat it as read-only."""
    parent = tmp_path_factory.mktemp("demo")

    def made(kind: Kind = "custom_voice", size: Size = "1b7") -> Path:
        folder = parent / f"{kind}-{size}"
        return folder if folder.exists() else make_demo_model(folder, kind, size, eos_scale=8.0).folder

    return made


@pytest.fixture(scope="session")
def speech(demo: Callable[..., Path]) -> Callable[..., Speech]:
    """Kind, size -> a demo model loaded in float32, once for each."""

    @cache
    def loaded(kind: Kind = "custom_voice", size: Size = "1b7") -> Speech:
        return load_speech(demo(kind, size), dtype="float32", device="cpu")

    return loaded

"""Sizes of the kernels: what ships, what was tuned here, which of them is taken, and that the fast path takes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from toolkit.errors import BadOutput, ToolkitFault, UsageError
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.kernel_shelf import (
    Tuning,
    TuningKey,
    choose_tuning,
    load_sizes,
    model_shape,
    own_tuning_path,
    sizes_json,
    tuning_folder,
    tuning_key,
    write_tuning,
)
from toolkit.synthesis.fast.kernel_sizes import DotSizes, KernelSizes, RowSizes, product_key
from toolkit.synthesis.fast.kernel_table import CHAINS_FROM, SHIPPED, shipped_for
from toolkit.synthesis.fast.operations import PlainOperations
from toolkit.synthesis.fast.path import TRITON_GRAPH
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.talker import load_talker

KEY = TuningKey("NVIDIA GeForce RTX 4090", (8, 9), "3.4.0", "2.8.0", "shape")
OWN = KernelSizes(
    programs=300,
    products={"4096x2048": RowSizes(4, 512, 8), "6144x2048g": RowSizes(2, 2048, 4)},
    dots={"4096x2048": DotSizes(64, 128, 1, 4, 5)},
)


def test_a_product_takes_the_sizes_of_its_shape_and_others_the_general_ones() -> None:
    assert (product_key(4096, 2048, False), product_key(6144, 2048, True)) == ("4096x2048", "6144x2048g")
    assert OWN.row_sizes(4096, 2048, False) == (4, 512, 8)
    assert OWN.row_sizes(6144, 2048, True) == (2, 2048, 4)
    assert OWN.row_sizes(6144, 2048, False) == (8, 1024, 4)
    assert KernelSizes(products={"8x100": RowSizes(2, 4096, 1)}).row_sizes(8, 100, False) == (2, 128, 1)
    # Rows share the registers of a program.
    assert [OWN.row_sizes(4096, 2048, False, rows) for rows in (2, 3, 4)] == [(2, 512, 8), (1, 512, 8), (1, 512, 8)]
    assert KernelSizes(dots={"8x100": [32, 512, 2, 4, 3]}).dot_sizes(8, 100, False, 2) == (32, 128, 2, 4, 3)
    assert KernelSizes(dots={"8x100g": [4, 16, 1, 1, 5]}).dot_sizes(8, 100, True, 2) == (16, 16, 1, 1, 5)
    assert hash(OWN) == hash(KernelSizes(programs=300))
    assert KernelSizes(programs=300) != OWN


@pytest.mark.parametrize(
    ("products", "told"),
    [
        ({"4096": [1, 2, 4]}, "products: '4096' is no shape such as '4096x2048' or '6144x2048g'"),
        ({"4096x2048G": [1, 2, 4]}, "products: '4096x2048G' is no shape"),
        ({"4x4": [1, 2]}, "products: 4x4 needs outputs, inputs and warps, not [1, 2]"),
        ({"4x4": [1, 3, 4]}, "products: inputs of 4x4 must be a power of two, not 3"),
        ({"4x4": [1, 2, 0]}, "products: warps of 4x4 must be a whole number above 0, not 0"),
        ({"4x4": [True, 2, 4]}, "products: outputs of 4x4 must be a whole number above 0, not True"),
        ({"4x4g": [1, 2, 4, 8]}, "products: 4x4g needs outputs, inputs and warps, not [1, 2, 4, 8]"),
        ([1], "products must be a mapping of shapes to sizes, not [1]"),
    ],
)
def test_sizes_of_products_that_cannot_be_are_refused(products: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        KernelSizes(products=products)
    assert told in str(caught.value)


def test_the_table_lists_the_cards_that_have_bf16_and_chains_none_that_cannot() -> None:
    assert set(SHIPPED) >= {(8, 0), (8, 6), (8, 9), (9, 0), (12, 0)}
    assert all(capability >= CHAINS_FROM for capability, entry in SHIPPED.items() if entry.chained)
    assert [shipped_for(asked)[0] for asked in ((8, 0), (8, 7), (10, 3), (12, 1))] == [(8, 0), (8, 6), (9, 0), (12, 0)]
    with pytest.raises(ToolkitFault, match="need compute capability 8.0, not 7.5"):
        shipped_for((7, 5))


def test_own_tuning_goes_before_the_table_and_the_table_before_defaults(tmp_path: Path) -> None:
    shipped = choose_tuning(KEY, tmp_path)
    assert shipped == Tuning(SHIPPED[8, 9].sizes, False, Choice("shipped table", f"8.9: {SHIPPED[8, 9].origin}"))
    path = write_tuning(KEY, OWN, False, {"4096x2048": 1.5}, tmp_path)
    assert path == own_tuning_path(KEY, tmp_path)
    assert path.name.startswith("nvidia-geforce-rtx-4090-")
    own = choose_tuning(KEY, tmp_path)
    assert own == Tuning(OWN, False, Choice("own tuning", path.name))
    assert list(tmp_path.iterdir()) == [path]
    old = choose_tuning(replace(KEY, capability=(7, 5)), tmp_path / "empty")
    assert old == Tuning(KernelSizes(), False, Choice("defaults", "nothing is known of compute capability 7.5"))


def test_a_card_that_is_not_in_the_table_takes_the_nearest_lower_one_and_says_so(tmp_path: Path) -> None:
    found = choose_tuning(replace(KEY, capability=(10, 0)), tmp_path)
    assert found.chained
    assert found.source.reason.endswith("; the nearest below 10.0, which is not in it")
    assert found.source.reason.startswith("9.0: ")


def test_kernels_overlap_only_where_card_and_triton_can(tmp_path: Path) -> None:
    hopper = replace(KEY, capability=(9, 0))
    assert choose_tuning(hopper, tmp_path).chained
    old = choose_tuning(replace(hopper, triton="3.3.1"), tmp_path)
    assert not old.chained
    assert old.source.reason.endswith("; Triton 3.3.1 cannot overlap kernels, 3.4 can")
    write_tuning(KEY, OWN, True, {}, tmp_path)
    assert not choose_tuning(KEY, tmp_path).chained


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"triton": "3.5.0"}, "is of triton '3.5.0', not '3.4.0'; tune again"),
        ({"torch": "2.9.0"}, "is of torch '2.9.0', not '2.8.0'; tune again"),
        ({"schema": 2}, "was written by another version of the toolkit"),
        ({"chained": "no"}, "is damaged"),
        ({"sizes": {"programs": 0}}, "is damaged: programs must be a whole number above 0, not 0"),
        ({"sizes": {"speed": 1}}, "is damaged: sizes of kernels have the names"),
        ({"sizes": None}, "is damaged: sizes of kernels have the names"),
    ],
)
def test_a_file_that_cannot_serve_is_passed_over_with_a_reason(
    change: dict[str, object], told: str, tmp_path: Path
) -> None:
    path = write_tuning(KEY, OWN, False, {}, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    found = choose_tuning(KEY, tmp_path)
    assert found.source.value == "shipped table"
    assert f"; own tuning {path.name} {told}" in found.source.reason


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"a": "' + b"x" * 2**20 + b'"}'])
def test_a_damaged_file_is_passed_over(data: bytes, tmp_path: Path) -> None:
    own_tuning_path(KEY, tmp_path).write_bytes(data)
    found = choose_tuning(KEY, tmp_path)
    assert found.sizes == SHIPPED[8, 9].sizes
    assert found.source.reason.endswith(" is damaged")


def test_a_folder_in_its_place_is_passed_over_and_cannot_be_written(tmp_path: Path) -> None:
    own_tuning_path(KEY, tmp_path).mkdir()
    assert choose_tuning(KEY, tmp_path).source.value == "shipped table"
    with pytest.raises(BadOutput):
        write_tuning(KEY, OWN, False, {}, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadOutput):
        write_tuning(KEY, OWN, False, {}, tmp_path / "file")


def test_each_card_and_shape_has_its_file() -> None:
    folder = Path("f")
    keys = (KEY, replace(KEY, card=KEY.card + "!"), replace(KEY, shape="other"))
    assert len({own_tuning_path(key, folder) for key in keys}) == 3
    assert own_tuning_path(replace(KEY, triton="3.9"), folder) == own_tuning_path(KEY, folder)


def test_the_folder_is_the_users_cache() -> None:
    assert tuning_folder({"XDG_CACHE_HOME": "c"}, "linux") == Path("c/qwen-audio/kernels")
    assert tuning_folder({"LOCALAPPDATA": "d", "XDG_CACHE_HOME": "c"}, "win32") == Path("d/qwen-audio/kernels")
    assert tuning_folder({}, "linux") == Path("~/.cache/qwen-audio/kernels").expanduser()


def test_sizes_survive_their_json() -> None:
    assert load_sizes(json.loads(json.dumps(sizes_json(OWN)))) == OWN


def test_the_shape_tells_models_apart_by_what_the_kernels_see(checkpoint: Callable[[str], Path]) -> None:
    names = ("cv_1b7_a", "vd_1b7_a", "cv_0b6_a")
    large, design, small = [model_shape(ModelConfig.read(checkpoint(name)), "bfloat16") for name in names]
    assert large == design != small
    assert model_shape(ModelConfig.read(checkpoint("cv_1b7_a")), "float32") != large


class _Kernels(ModuleType):
    """In place of the module that needs Triton: keeps what it is asked for."""

    CAN_OVERLAP = True

    def __init__(self) -> None:
        super().__init__("toolkit.synthesis.fast.triton_operations")
        self.made: list[tuple[object, ...]] = []

    def TritonOperations(self, device: object, sizes: object, *, chained: bool) -> PlainOperations:
        self.made.append((sizes, chained))
        return PlainOperations()


def test_the_fast_path_runs_with_the_tuning_and_says_where_it_comes_from(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint("cv_1b7_small")
    talker = load_talker(folder, ModelConfig.read(folder), dtype=torch.float32, pack=False)
    kernels = _Kernels()
    monkeypatch.setitem(sys.modules, kernels.__name__, kernels)
    path = Choice(TRITON_GRAPH, "a test")
    tuning = Tuning(OWN, True, Choice("own tuning", "card.json"))
    backend = FastBackend(talker, path=path, tuning=tuning)
    assert str(backend.path) == "triton graph (a test; kernel sizes: own tuning (card.json), overlapping)"
    assert backend.tuning == tuning
    backend._make_operations()
    kernels.CAN_OVERLAP = False
    backend._make_operations()
    assert kernels.made == [(OWN, True), (OWN, False)]
    assert FastBackend(talker, tuning=tuning).tuning is None


def test_on_a_card_the_tuning_is_looked_up_by_card_versions_and_shape(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = checkpoint("cv_1b7_small")
    config = ModelConfig.read(folder)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    key = tuning_key(config, torch.bfloat16, torch.device("cuda", 0), "3.4.0")
    assert key == TuningKey("Card", (9, 0), "3.4.0", torch.__version__, model_shape(config, "bfloat16"))
    write_tuning(key, OWN, True, {})
    assert choose_tuning(key).sizes == OWN

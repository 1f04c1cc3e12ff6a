"""Safetensors files: what is refused and how, and tensors that arrive in their place, device and dtype."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from toolkit.errors import BadModelFolder, ToolkitFault
from toolkit.synthesis import weights
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.talker import load_talker
from toolkit.synthesis.weights import SafetensorsFile, Slot

Checkpoints = Callable[[str], Path]


class Pair(nn.Module):
    """Two parameters and a buffer, without memory."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Parameter(torch.empty(5, 3, device="meta"))
        self.one = nn.Parameter(torch.empty(4, device="meta"))
        self.kept: torch.Tensor
        self.register_buffer("kept", torch.empty(2, 2, device="meta"))


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "top": torch.randn(2, 3, generator=generator).bfloat16(),
        "rest": torch.randn(3, 3, generator=generator).bfloat16(),
        "one": torch.randn(4, generator=generator),
        "kept": torch.randn(2, 2, generator=generator).half(),
    }


MAPPING: dict[str, Slot | str] = {"top": "wide", "rest": Slot("wide", 2), "one": "one", "kept": Slot("kept")}
SHAPES = {"top": (2, 3), "rest": (3, 3), "one": (4,), "kept": (2, 2)}


@pytest.fixture
def path(tensors: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    return tmp_path / "model.safetensors"


def test_the_header_gives_names_types_and_shapes(path: Path) -> None:
    file = SafetensorsFile(path)
    assert {name: (entry.dtype, entry.shape) for name, entry in file.tensors.items()} == {
        "top": ("BF16", (2, 3)),
        "rest": ("BF16", (3, 3)),
        "one": ("F32", (4,)),
        "kept": ("F16", (2, 2)),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, None])
@pytest.mark.parametrize("staging", [8, weights.STAGING_BYTES])
def test_tensors_arrive_in_their_rows_and_dtype(
    path: Path,
    tensors: dict[str, torch.Tensor],
    dtype: torch.dtype | None,
    staging: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read directly, and in several pieces through the buffer."""
    monkeypatch.setattr(weights, "STAGING_BYTES", staging)
    module = Pair()
    SafetensorsFile(path).load_into(module, MAPPING, "cpu", dtype)
    wide = torch.cat((tensors["top"], tensors["rest"]))
    assert torch.equal(module.wide, wide.to(dtype or torch.bfloat16))
    assert torch.equal(module.one, tensors["one"].to(dtype or torch.float32))
    assert torch.equal(module.kept, tensors["kept"].to(dtype or torch.float16))
    assert module.wide.dtype == (dtype or torch.bfloat16)
    assert isinstance(module.wide, nn.Parameter)
    assert not module.wide.requires_grad


def test_one_error_names_all_that_does_not_fit(path: Path) -> None:
    expected = {"top": (2, 3), "rest": (9, 3), "one": (4,), "absent": (1,), "absent_too": (1,)}
    with pytest.raises(BadModelFolder) as caught:
        SafetensorsFile(path).check_shapes(expected)
    assert str(caught.value) == (
        f"{path}: does not fit the network: 2 tensors are missing (absent, absent_too); "
        "1 tensors have another shape (rest is [3, 3] instead of [9, 3]); 1 tensors are unknown (kept)"
    )


def test_tensors_of_another_network_in_the_same_file_are_left_alone(path: Path) -> None:
    expected = {name: shape for name, shape in SHAPES.items() if name != "kept"}
    SafetensorsFile(path).check_shapes(expected, elsewhere=("ke",))


def test_quantised_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3, dtype=torch.int8), "b": torch.zeros(2)}, path)
    with pytest.raises(BadModelFolder, match=r"1 tensors are not BF16, F16 or F32 \(a is I8\)"):
        SafetensorsFile(path).check_shapes({"a": (3,), "b": (2,)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_that_are_not_numbers_are_refused(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.tensor([0.0, value, 1.0, 2.0])}, path)
    with pytest.raises(BadModelFolder, match="one holds NaN, infinity, or a value too large for"):
        SafetensorsFile(path).load_into(Pair(), {"one": "one"}, "cpu", dtype)


def test_a_value_that_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.tensor([0.0, 1e30, 1.0, 2.0], dtype=torch.bfloat16)}, path)
    SafetensorsFile(path).load_into(Pair(), {"one": "one"}, "cpu", torch.float32)
    with pytest.raises(BadModelFolder, match="too large for float16"):
        SafetensorsFile(path).load_into(Pair(), {"one": "one"}, "cpu", torch.float16)


def test_large_numbers_whose_sum_overflows_are_still_numbers(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.full((4,), 3e38)}, path)
    SafetensorsFile(path).load_into(Pair(), {"one": "one"}, "cpu", None)


def test_a_mapping_that_leaves_rows_empty_is_our_own_fault(path: Path) -> None:
    with pytest.raises(ToolkitFault, match="wide: 2 of 5 rows were filled"):
        SafetensorsFile(path).load_into(Pair(), {"top": "wide"}, "cpu", None)
    with pytest.raises(ToolkitFault, match=r"rest \[3, 3\] is not part of wide \[5, 3\]"):
        SafetensorsFile(path).load_into(Pair(), {"rest": Slot("wide", 4)}, "cpu", None)
    with pytest.raises(ToolkitFault, match="Pair has no parameter or buffer nothing"):
        SafetensorsFile(path).load_into(Pair(), {"rest": "nothing"}, "cpu", None)


def test_a_file_that_shrinks_after_its_header_was_read_is_an_error_and_no_crash(path: Path) -> None:
    file = SafetensorsFile(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadModelFolder, match="became shorter while it was read"):
        file.load_into(Pair(), MAPPING, "cpu", torch.float32)


def header(table: object, data: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


ROW = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a safetensors file (it is empty)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "it is a web page"),
        (b"PK\x03\x04aaaaaaaaaaaa", "it is a pickle of PyTorch"),
        (b"\0" * 64, "it begins with zeros"),
        (b"GGUF\x03\0\0\0aaaa", "its first bytes are no header length"),
        (header({"a": ROW}, b"1234567")[:20], "is cut off inside its header (20 bytes); download it again"),
        (header({"a": ROW}, b"1234567"), "is cut off: it has 76 bytes and must have 77; download it again"),
        (header({"a": ROW}, b"123456789"), "is too long: it has 78 bytes and must have 77; download it again"),
        (header({"a": ROW | {"shape": [3]}}, b"12345678"), "has a damaged header (the entry of 'a' makes no sense)"),
        (header({"a": ROW | {"shape": [-2]}}, b"12345678"), "has a damaged header (the entry of 'a' makes no sense)"),
        (header({"a": 5}), "has a damaged header (the entry of 'a' makes no sense)"),
        (header({"a": ROW, "b": ROW}, b"12345678"), "has a damaged header ('b' leaves a hole or overlaps)"),
        ((9).to_bytes(8, "little") + b'{"a": 1]}', "has a damaged header ("),
    ],
)
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadModelFolder) as caught:
        SafetensorsFile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_an_absent_file_means_an_incomplete_folder(tmp_path: Path) -> None:
    with pytest.raises(BadModelFolder, match=r"model\.safetensors is missing; the folder is not a complete model"):
        SafetensorsFile(tmp_path / "model.safetensors")


def test_a_model_of_another_size_is_refused_before_anything_is_allocated(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_0b6_a"))
    with pytest.raises(BadModelFolder, match=r"tensors have another shape .* tensors are unknown"):
        load_talker(checkpoint("cv_1b7_a"), config)


def test_the_speaker_encoder_is_not_expected_in_other_models(checkpoint: Checkpoints) -> None:
    load_talker(checkpoint("base_0b6_a"), ModelConfig.read(checkpoint("base_0b6_a")))
    with pytest.raises(BadModelFolder, match=r"tensors are unknown \(speaker_encoder\."):
        load_talker(checkpoint("base_0b6_a"), ModelConfig.read(checkpoint("cv_0b6_a")))


MEASURE = """
import resource, sys, torch
from pathlib import Path
from torch import nn
from toolkit.synthesis.weights import SafetensorsFile
class Big(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.empty(20, 4_000_000, device="meta"))
file = SafetensorsFile(Path(sys.argv[1]))
big = Big()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file.load_into(big, {"w": "w"}, "cpu", getattr(torch, sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("dtype", "weight_kib"), [("bfloat16", 156_250), ("float32", 312_500)])
def test_loading_takes_the_weights_and_one_buffer(tmp_path: Path, dtype: str, weight_kib: int) -> None:
    """160 MB of BF16 in the file; a second copy, or mapped pages, would show at once."""
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(20, 4_000_000, dtype=torch.bfloat16)}, path)
    command = [sys.executable, "-c", MEASURE, str(path), dtype]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown <= weight_kib + 2 * weights.STAGING_BYTES // 1024 + 20_000

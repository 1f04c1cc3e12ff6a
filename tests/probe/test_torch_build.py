"""Build tags, architecture lists and companions are read as PyTorch means them."""

from __future__ import annotations

import pytest

from toolkit.probe.torch_build import Architectures, architectures, build_tag, companion_mismatches, public_version

CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU128 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.mark.parametrize(
    ("version", "cuda", "hip", "tag"),
    [
        ("2.8.0+cu126", "12.6", None, "cu126"),
        ("2.8.0+cpu", None, None, "cpu"),
        ("2.8.0", "12.8", None, "cu128"),  # PyPI, conda
        ("2.8.0", None, None, "cpu"),  # PyPI on Windows and macOS
        ("2.1.0a0+32f93b1", "12.2", None, "cu122"),  # NVIDIA's container: the tag is a commit
        ("2.9.0.dev20250801+cu130", "13.0", None, "cu130"),
        ("2.8.0+rocm6.4", None, "6.4.43482", "rocm6.4"),
        ("2.8.0", None, "6.4.43482-0f2d60242", "rocm6.4"),
        ("2.8.0+xpu", None, None, "xpu"),
    ],
)
def test_build_tags(version: str, cuda: str | None, hip: str | None, tag: str) -> None:
    assert build_tag(version, cuda, hip) == tag
    assert "+" not in public_version(version)


@pytest.mark.parametrize(
    ("listed", "card", "runs"),
    [
        (CU126, "8.9", True),  # code for 8.6 runs on 8.9
        (CU126, "6.1", True),
        (CU126, "12.0", False),  # RTX 50 on a wheel that stops at 9.0
        (CU128, "12.0", True),
        (CU128, "6.1", False),  # GTX 10 on a wheel that begins at 7.5
        (CU128, "7.0", False),
        ([*CU126, "compute_90"], "12.0", True),  # PTX is compiled by the driver
        (["sm_86"], "8.0", False),  # not for a lower minor version
        (["sm_90a"], "9.0", True),
        (["sm_100a"], "10.3", False),
        (["sm_100f"], "10.3", True),
        (["sm_120"], "12.1", True),
    ],
)
def test_which_card_a_build_can_run_on(listed: list[str], card: str, runs: bool) -> None:
    assert architectures(listed, card).has_card is runs


def test_the_range_of_a_build() -> None:
    assert architectures(CU126, None) == Architectures("5.0", "9.0", None)
    assert architectures([*CU128, "compute_120"], "8.6") == Architectures("7.5", "12.0", True)
    assert architectures([], "8.6") == Architectures(None, None, None)
    assert architectures(["gfx1100"], None) == Architectures(None, None, None)


@pytest.mark.parametrize(
    ("torch", "companions", "requires", "told"),
    [
        ("2.8.0+cu126", {"torchaudio": "2.8.0+cu126", "torchvision": "0.23.0+cu126"}, {}, []),
        ("2.8.0+cu126", {"torchaudio": "2.5.1+cu126"}, {}, ["torchaudio 2.5.1+cu126 belongs to torch 2.5"]),
        ("2.8.0", {"torchvision": "0.20.1"}, {}, ["torchvision 0.20.1 belongs to torch 2.5"]),
        ("2.8.0+cpu", {"torchaudio": "2.8.0+cu128"}, {}, ["is another build than torch 2.8.0+cpu"]),
        ("2.5.0", {"torchaudio": "2.5.1"}, {"torchaudio": ["torch==2.5.1"]}, ["belongs to torch 2.5.1"]),
        ("2.8.0", {"torchcodec": "0.7.0"}, {}, []),
        ("2.8.0", {"torchcodec": "0.9.1"}, {}, ["torchcodec 0.9.1 belongs to torch 2.9"]),
        ("2.8.0", {"torchcodec": "9.9"}, {}, []),  # not in the table: nothing is claimed
        ("nonsense", {"torchaudio": "2.5.1"}, {}, []),
        ("2.8.0", {"torchaudio": "local build"}, {}, []),
    ],
)
def test_companions(torch: str, companions: dict[str, str], requires: dict[str, list[str]], told: list[str]) -> None:
    found = companion_mismatches(torch, companions, requires)
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True))

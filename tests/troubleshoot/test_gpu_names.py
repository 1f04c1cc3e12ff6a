"""A card's capability, vendor and memory from its name, and a card in a sentence without taking numbers for cards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troubleshoot.gpu_names import Card, architecture_of, card_from_text, compute_capability


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("12.1", ["NVIDIA DGX Spark", "NVIDIA GB10"]),
        ("12.0", ["NVIDIA GeForce RTX 5090", "RTX 5060 Ti", "rtx5080 laptop", "NVIDIA RTX PRO 6000", "RTX 50 series"]),
        ("10.3", ["NVIDIA B300", "GB300"]),
        ("10.0", ["NVIDIA B200", "NVIDIA GB200"]),
        ("9.0", ["NVIDIA H100 80GB HBM3", "NVIDIA H200", "H800", "NVIDIA GH200 480GB", "H20"]),
        ("8.9", ["NVIDIA GeForce RTX 4090", "RTX 4060 Laptop GPU", "NVIDIA L4", "L40S", "RTX 6000 Ada Generation"]),
        ("8.7", ["NVIDIA Jetson AGX Orin"]),
        ("8.6", ["NVIDIA GeForce RTX 3060", "3080 Ti", "NVIDIA RTX A4000", "NVIDIA A10G", "A40", "RTX 30-series"]),
        ("8.0", ["NVIDIA A100-SXM4-40GB", "A800", "A30"]),
        ("7.5", ["Tesla T4", "NVIDIA GeForce RTX 2060", "GTX 1660 Ti", "TITAN RTX", "Quadro RTX 5000", "T1000"]),
        ("7.2", ["Jetson Xavier NX"]),
        ("7.0", ["Tesla V100-PCIE-16GB", "NVIDIA TITAN V", "Quadro GV100"]),
        ("6.1", ["NVIDIA GeForce GTX 1080 Ti", "GTX 1050", "Tesla P40", "Quadro P2000", "TITAN Xp", "GeForce MX150"]),
        ("6.0", ["Tesla P100-SXM2-16GB"]),
        ("5.2", ["GTX 970", "Tesla M40", "Quadro M4000"]),
        ("5.0", ["GTX 750 Ti"]),
        ("3.7", ["Tesla K80"]),
    ],
)  # fmt: skip
def test_cards_have_the_capability_of_nvidias_table(capability: str, names: list[str]) -> None:
    assert {name: compute_capability(name) for name in names} == dict.fromkeys(names, capability)


@pytest.mark.parametrize(
    "name", ["", "Radeon RX 7900 XTX", "Intel Arc A770", "Apple M2", "card", "NVIDIA", "CPU i7-9700K"]
)
def test_other_names_have_none(name: str) -> None:
    assert compute_capability(name) is None


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [
        (12.0, "blackwell"), (10.3, "blackwell"), (9.0, "hopper"), (8.9, "ada"), (8.6, "ampere"), (8.0, "ampere"),
        (7.5, "turing"), (7.2, "volta"), (7.0, "volta"), (6.1, "pascal"), (5.2, "maxwell"), (3.5, "kepler"),
        (2.0, "unknown"),
    ],
)  # fmt: skip
def test_architectures_follow_the_capability(capability: float, architecture: str) -> None:
    assert architecture_of(capability) == architecture


@pytest.mark.parametrize(
    ("sentence", "name", "capability"),
    [
        ("my RTX 3060 12GB stays idle", "RTX 3060", "8.6"),
        ("on an NVIDIA GeForce RTX 4070 Ti SUPER it is slow", "NVIDIA GeForce RTX 4070 Ti SUPER", "8.9"),
        ("free Colab gives me a T4", "T4", "7.5"),
        ("a 4090 laptop, fans loud", "4090", "8.9"),
        ("I own a 3090 card", "3090", "8.6"),
        ("in the lab we have an H100", "H100", "9.0"),
        ("GTX-1660 Super with 6 GB", "GTX-1660 Super", "7.5"),
    ],
)
def test_a_card_is_found_in_a_sentence(sentence: str, name: str, capability: str) -> None:
    assert card_from_text(sentence) == Card(name, "nvidia", capability, None)


@pytest.mark.parametrize(
    "sentence",
    [
        "it takes 4090 ms a sentence",
        "port 3080 is refused",
        "line 2060 of the script",
        "in 1080p the video lags",
        "chapter 3090",
    ],
)
def test_bare_numbers_are_no_cards(sentence: str) -> None:
    assert card_from_text(sentence) == Card(None, None, None, None)


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("RX 6700 XT on ROCm", "amd"), ("gfx1100", "amd"), ("AMD Instinct MI210", "amd"), ("Ryzen, RTX 3060", "nvidia"),
        ("MacBook with M2 Pro", "apple"), ("Apple Silicon", "apple"), ("Intel Arc B580", "intel"), ("Quadro", "nvidia"),
        ("an old laptop", None),
    ],
)  # fmt: skip
def test_the_vendor_is_told_by_the_words(text: str, vendor: str | None) -> None:
    assert card_from_text(text).vendor == vendor


def test_other_vendors_cards_get_no_capability_of_nvidias() -> None:
    assert card_from_text("Radeon RX 7900, replaced my RTX 3060").capability is None


@pytest.mark.parametrize(
    ("name", "memory_gb"),
    [("RTX 3060 12GB", 12.0), ("A100 80 GB", 80.0), ("RTX 4090 (24 GiB)", 24.0), ("RTX 4090", None)],
)
def test_a_name_may_state_the_memory(name: str, memory_gb: float | None) -> None:
    assert card_from_text(name, is_name=True).memory_gb == memory_gb


@given(st.text(max_size=80), st.booleans())
def test_any_text_gives_a_card_whose_parts_agree(text: str, is_name: bool) -> None:
    card = card_from_text(text, is_name=is_name)
    if card.capability is not None:
        assert card.name
        assert card.vendor == "nvidia"
        assert architecture_of(float(card.capability)) != "unknown"

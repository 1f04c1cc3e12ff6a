"""Compute capability, architecture and memory of a card from its marketing name."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Card", "architecture_of", "card_from_text", "compute_capability"]

# NVIDIA, "CUDA GPU Compute Capability" table (developer.nvidia.com/cuda-gpus and its legacy page), read Nov 2026.
# Patterns are tried in order on the upper-cased name; the first that matches wins.
_TABLE: tuple[tuple[str, str], ...] = (
    (r"DGX SPARK|GB10\b", "12.1"),
    (r"\bB300\b|GB300", "10.3"),
    (r"\bB200\b|GB200|\bB100\b", "10.0"),
    (r"RTX PRO (6000|5000|4500|4000|2000)", "12.0"),
    (r"RTX ?50[5-9]0|\b50[5-9]0 ?(TI|SUPER|LAPTOP|D)?\b", "12.0"),
    (r"RTX ?50(\d0)?[- ]?SERIES|\b50[- ]?SERIES", "12.0"),
    (r"\bH100|\bH200|\bH800|\bH20\b|GH200", "9.0"),
    (r"RTX 6000 ADA|RTX 5000 ADA|RTX 4[05]00 ADA|RTX 2000 ADA|\bL40S?\b|\bL4\b|\bL20\b", "8.9"),
    (r"RTX ?40[5-9]0|\b40[5-9]0 ?(TI|SUPER|LAPTOP|D)?\b", "8.9"),
    (r"RTX ?40[- ]?SERIES|\b40[- ]?SERIES", "8.9"),
    (r"\bA100|\bA800|\bA30\b", "8.0"),
    (r"RTX ?30[5-9]0|\b30[5-9]0 ?(TI|SUPER|LAPTOP)?\b|RTX ?30[- ]?SERIES|\b30[- ]?SERIES", "8.6"),
    (r"RTX A[2-6]\d00|\bA10G?\b|\bA16\b|\bA40\b|\bA2\b|\bA[2-6]000\b", "8.6"),
    (r"ORIN", "8.7"),
    (r"QUADRO RTX|TITAN RTX|RTX ?20[5-8]0|\b20[5-8]0 ?(TI|SUPER|LAPTOP)?\b|RTX ?20[- ]?SERIES", "7.5"),
    (r"GTX ?16\d0|\b16[3-6]0 ?(TI|SUPER)?\b|\bT4\b|\bT4G\b|\bT1000|\bT2000|\bT600|\bT400|GTX ?16[- ]?SERIES", "7.5"),
    (r"\bV100|TITAN V\b|QUADRO GV100", "7.0"),
    (r"XAVIER", "7.2"),
    (r"\bP100\b|QUADRO GP100", "6.0"),
    (r"GTX ?10[1-8]0|\b10[5-8]0 ?(TI)?\b|TITAN XP?\b|\bP(40|4|6)\b|QUADRO P\d+|GTX ?10[- ]?SERIES|\bMX\d50", "6.1"),
    (r"GTX ?9\d0|\bM40\b|\bM60\b|TITAN X|QUADRO M\d+", "5.2"),
    (r"GTX ?750|\b940MX\b", "5.0"),
    (r"\bK80\b", "3.7"),
    (r"\bK40\b", "3.5"),
)
_COMPILED = tuple((re.compile(pattern), capability) for pattern, capability in _TABLE)
_MEMORY = re.compile(r"\b(\d{1,3}(?:\.\d+)?)\s?(?:GB|GIB|G)\b", re.IGNORECASE)
# A bare number such as "4090" counts only beside a word that says it is a card: text is full of numbers.
_IN_TEXT = re.compile(
    r"\b(?:NVIDIA |GEFORCE |TESLA |QUADRO )*(?:"
    r"(?:RTX|GTX)[ -]?(?:PRO )?[A-Z]?\d{3,4}(?: ?(?:TI|SUPER|LAPTOP|D|ADA|MAX-?Q))*|(?:RTX|GTX)[ -]?\d0[ -]SERIES"
    r"|\d0-?SERIES CARDS?|TITAN (?:RTX|XP?|V)|DGX SPARK|GB10|(?:TESLA )?(?:T4|V100|P100|P40|P4|M60|M40|K80)"
    r"|A100|A800|A40|A30|A10G?|H100|H200|H800|H20|L40S?|L4|L20|B100|B200|B300|GH200|GB200|QUADRO [A-Z]*\d+)\b"
    r"|\b(?:[2345]0[5-9]0|16[3-6]0|10[5-8]0)(?:[ -]?(?:TI|SUPER|LAPTOP))*"
    r"(?= ?(?:TI\b|SUPER|LAPTOP|\d\d? ?GB|CARD|USER|OWNER|BOX|GPU|显卡))",
    re.IGNORECASE,
)
_VENDORS: tuple[tuple[str, str], ...] = (
    (
        r"\bRADEON\b|\bRX ?\d{3,4}\b|\bMI\d{2,3}X?\b|\bGFX\d{3,4}"
        r"|\bAMD(?! ?(?:RYZEN|EPYC|CPU|THREADRIPPER|PROCESSOR))\b",
        "amd",
    ),
    (r"\bAPPLE SILICON\b|\bM[1-5](?: ?(?:MAX|PRO|ULTRA))?\b(?! ?\.\d)|\bMPS\b", "apple"),
    (r"\bARC ?[AB]\d{3}\b|\bINTEL (?:ARC|XPU|GPU|IRIS)\b", "intel"),
    (r"\bNVIDIA\b|\bGEFORCE\b|\bRTX\b|\bGTX\b|\bTESLA\b|\bQUADRO\b|\bTITAN\b", "nvidia"),
)
_COMPILED_VENDORS = tuple((re.compile(pattern, re.IGNORECASE), vendor) for pattern, vendor in _VENDORS)
_ARCHITECTURES: tuple[tuple[float, str], ...] = (
    (10.0, "blackwell"), (9.0, "hopper"), (8.9, "ada"), (8.0, "ampere"), (7.5, "turing"), (7.0, "volta"),
    (6.0, "pascal"), (5.0, "maxwell"), (3.0, "kepler"),
)


@dataclass(frozen=True)
class Card:
    """What a name or a sentence says of a graphics card; ``None`` where it says nothing."""

    name: str | None
    vendor: str | None
    capability: str | None
    memory_gb: float | None


def compute_capability(name: str) -> str | None:
    """Compute capability such as ``"8.9"`` for a card's name, or ``None`` when the name is not in NVIDIA's table."""
    upper = name.upper()
    return next((capability for pattern, capability in _COMPILED if pattern.search(upper)), None)


def architecture_of(capability: float) -> str:
    """Architecture name (lower case) of a compute capability."""
    return next((name for least, name in _ARCHITECTURES if capability >= least), "unknown")


def card_from_text(text: str, *, is_name: bool = False) -> Card:
    """Find the card that a text speaks of. With ``is_name`` the whole text is taken as the card's name."""
    vendor = next((vendor for pattern, vendor in _COMPILED_VENDORS if pattern.search(text)), None)
    found = _IN_TEXT.search(text)
    name = text.strip() if is_name else (found.group(0).strip() if found else None)
    capability = compute_capability(name) if name and vendor not in ("amd", "apple", "intel") else None
    memory = _MEMORY.search(text) if is_name else None
    if capability and vendor is None:
        vendor = "nvidia"
    return Card(name or None, vendor, capability, float(memory.group(1)) if memory else None)

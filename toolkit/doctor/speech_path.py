"""How a frame would run on the machine that a facts file is of, as further facts for the doctor's rows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from toolkit.synthesis.fast.path import FAST, choose_backend, choose_path
from toolkit.synthesis.precision import choose_dtype
from troubleshoot.facts import NA, FactValue

__all__ = ["path_facts"]

_CAPABILITY = re.compile(r"(\d{1,2})\.(\d)")


def path_facts(facts: Mapping[str, FactValue]) -> dict[str, FactValue]:
    """``speech.path`` ("triton graph", "torch graph", "eager") and ``speech.path_told``, a sentence with the reason.

    Both are NA where card or packages are not known, or where PyTorch does not reach the card. Nothing is loaded:
    capability and Triton's version decide.
    """
    capability, triton = _capability(facts), facts.get("triton.version")
    reason: NA | None = None
    if capability is None:
        told = facts.get("gpu.cc")
        reason = told if isinstance(told, NA) else NA("the card's compute capability is not known")
    elif not isinstance(triton, str) and not isinstance(facts.get("packages.conflicts"), str):
        # The list of packages was read where this fact is there; without it Triton is not missing but not known.
        reason = triton if isinstance(triton, NA) else NA("the installed packages are not known")
    elif facts.get("torch.cuda_available") is not True:
        reason = NA("PyTorch does not reach the card")
    if reason is not None:
        return {"speech.path": reason, "speech.path_told": reason}
    way = choose_path("cuda", capability, triton if isinstance(triton, str) else None)
    backend = choose_backend("auto", "cuda", choose_dtype("auto", capability, "cuda").value)
    sentence = f"{way.value}: {way.reason}"
    if backend.value != FAST:
        sentence = f"with --path fast, {sentence}; --path auto takes {backend.value}: {backend.reason}"
    return {"speech.path": way.value, "speech.path_told": sentence}


def _capability(facts: Mapping[str, FactValue]) -> tuple[int, int] | None:
    found = _CAPABILITY.fullmatch(str(facts.get("gpu.cc")))
    return None if found is None else (int(found[1]), int(found[2]))

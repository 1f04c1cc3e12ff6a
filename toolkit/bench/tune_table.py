"""What a search for kernel sizes found, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["table_of"]


def table_of(document: Mapping[str, Any]) -> RenderableType:
    """A row a task: default and winner with their times, the noise, how many were tried and how many failed."""
    key = document["key"]
    head = Text(f"{key['card']}, compute capability {key['capability']}, Triton {key['triton']}, torch {key['torch']}")
    table = Table("what", "default", "us", "best", "us", "noise, us", "tried", "refused")
    for task in document["tasks"]:
        changed = task["sizes"] != task["default"]
        table.add_row(
            task["name"],
            _spelt(task["default"]),
            f"{task['default_us']:.3f}",
            _spelt(task["sizes"]) if changed else "the default",
            f"{task['best_us']:.3f}",
            f"{task['noise_us']:.3f}",
            str(task["tried"]),
            str(len(task["refused"])),
        )
    legend = (
        "products: outputs x inputs x warps, of 32 rows outputs x inputs x splits x warps x stages; attention: slots x "
        "warps x splits, of 32 rows programs, short slots x warps; choice: warps; frame: 1 where kernels overlap"
    )
    return Group(head, table, Text(legend))


def _spelt(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes))

"""A box whose contents are drawn anew; what was in it before is closed, since ipywidgets keeps all that is not."""

from __future__ import annotations

from collections.abc import Iterable

from ipywidgets import Box, DOMWidget

from toolkit.widgets.controls import close_parts

__all__ = ["refill"]


def refill(box: Box, children: Iterable[DOMWidget]) -> None:
    """Put these controls into a box and close those that were there."""
    before = box.children
    box.children = tuple(children)
    for one in before:
        close_parts(one)
        one.close()

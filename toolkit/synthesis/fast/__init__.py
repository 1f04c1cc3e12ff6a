"""The fast path: a frame as few kernels, for batches of sequences of unequal length.

Nothing is loaded by importing this package; only the kernels need Triton, and nothing here imports them unasked.
"""

from __future__ import annotations

__all__: list[str] = []

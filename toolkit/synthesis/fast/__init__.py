"""The fast path: one frame of a whole batch as one CUDA graph; see :mod:`toolkit.synthesis.fast.backend`."""

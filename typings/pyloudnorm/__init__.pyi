from typing import Any

from numpy.typing import NDArray

class Meter:
    def __init__(
        self, rate: float, filter_class: str = "K-weighting", block_size: float = 0.400, overlap: float = 0.75
    ) -> None: ...
    def integrated_loudness(self, data: NDArray[Any]) -> float: ...

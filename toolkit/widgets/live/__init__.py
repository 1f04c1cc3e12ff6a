"""A card live on the page: utilisation, memory, clocks, power and throttling, and the rule that explains them."""

from __future__ import annotations

from toolkit.widgets.live.panel import LiveGpu, live_gpu

__all__ = ["LiveGpu", "live_gpu"]

"""Figures that the emotion notebook's controls and its worker share."""

from __future__ import annotations

__all__ = ["CHUNK_SIZES", "MOST_CLIPS", "SHORTEST_S", "USUAL_CHUNK"]

CHUNK_SIZES = (12, 25, 50, 75, 100, 128, 150, 200, 256, 300, 400, 512)
"""Frames that the codec decodes at once, for the slider; the tutorial's 128 and 256 and the toolkit's 300 are there."""
USUAL_CHUNK = 300
"""What :func:`toolkit.load` takes."""
MOST_CLIPS = 4
"""Clips side by side: as many as one picture holds (``toolkit.acoustics.figures.MOST_VIEWS``)."""
SHORTEST_S = 0.05
"""Shorter sounds are played but not measured; see :func:`toolkit.acoustics.voice.measure_voice`."""

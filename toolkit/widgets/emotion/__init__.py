"""Emotion tuning in a notebook: instructions that are linted, spoken, compared, tested, scored and kept."""

from __future__ import annotations

from toolkit.widgets.emotion.page import EmotionTuning, emotion_tuning

__all__ = ["EmotionTuning", "emotion_tuning"]

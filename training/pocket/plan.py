"""How much of everything a run makes, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.synthesis.demo_shapes import ModelShape
from training.pocket.codec_training import CodecSettings
from training.pocket.shape import POCKET, SMOKE
from training.pocket.talker_training import Settings

__all__ = ["FULL", "SMOKE_PLAN", "Folder", "Plan"]


@dataclass(frozen=True)
class Plan:
    """Amounts of one run. Stages that train stop at their time; on a fast card that is more steps.

    Attributes:
        shape: sizes of the model.
        shards, lines: how many shards of how many utterances the voice is trained on.
        other_shards: shards of the other voices, for the recogniser.
        codec_shards: the first shards, from which the codec learns; the one after them checks it.
        recogniser_s, codec_s, talker_s: seconds of training, those of compiling included.
        most_steps: of each training, for the smoke version.
        seed: of everything.
    """

    shape: ModelShape
    codec: CodecSettings
    refining: CodecSettings
    talker: Settings
    shards: int
    lines: int
    other_shards: int
    codec_shards: int
    recogniser_s: float
    codec_s: float
    talker_s: float
    most_steps: int | None = None
    vocabulary_lines: int = 200_000
    seed: int = 20261124


FULL = Plan(
    shape=POCKET,
    codec=CodecSettings(),
    refining=CodecSettings(
        learning_rate=4e-4, low_band=6.0, formant_band=3.0, harmonics=4.0, alone=0.05, edges=3, warmup=100
    ),
    # At 64 rows a step takes 17 ms and at 32 rows 10 ms; more steps were worth more than larger ones.
    talker=Settings(rows=32, predictor_frames=2048),
    shards=280,
    lines=500,
    other_shards=16,
    codec_shards=24,
    recogniser_s=60,
    codec_s=540,
    talker_s=540,
)
"""What ships: on one H100 or H200 with 16 cores about half an hour."""

SMOKE_PLAN = Plan(
    shape=SMOKE,
    codec=CodecSettings(batch=2, frames=6, warmup=2, compiled=False),
    refining=CodecSettings(batch=2, frames=6, harmonics=1.0, alone=0.1, edges=2, warmup=2, compiled=False),
    talker=Settings(rows=2, predictor_frames=16, warm_up=2, log_every=1),
    shards=2,
    lines=12,
    other_shards=2,
    codec_shards=1,
    recogniser_s=60,
    codec_s=60,
    talker_s=60,
    most_steps=3,
    vocabulary_lines=2_000,
)
"""Every stage within seconds on two cores; what comes out is noise in the right layout."""


@dataclass(frozen=True)
class Folder:
    """Where a run keeps its files."""

    root: Path

    @property
    def speech(self) -> Path:
        """Shards of the nine speakers."""
        return self.root / "speech"

    @property
    def others(self) -> Path:
        """Shards of the other voices."""
        return self.root / "others"

    @property
    def recogniser(self) -> Path:
        """The trained recogniser."""
        return self.root / "recogniser.safetensors"

    @property
    def decoder(self) -> Path:
        """The codec's decoder, float32, under the names of the released file."""
        return self.root / "codec.decoder.safetensors"

    @property
    def encoder(self) -> Path:
        """The codec's encoder."""
        return self.root / "codec.encoder.safetensors"

    @property
    def codes(self) -> Path:
        """Codes of all utterances, uint8 ``[frames, 16]``."""
        return self.root / "codes.npy"

    @property
    def tokenizer(self) -> Path:
        """Folder of the text tokenizer."""
        return self.root / "tokenizer"

    @property
    def talker(self) -> Path:
        """Folder of the trained talker and code predictor."""
        return self.root / "talker"

    @property
    def model(self) -> Path:
        """The finished model folder."""
        return self.root / "model"

    @property
    def evaluation(self) -> Path:
        """Figures of the finished model."""
        return self.root / "evaluation"

    @property
    def log(self) -> Path:
        """What the stages said."""
        return self.root / "log.txt"

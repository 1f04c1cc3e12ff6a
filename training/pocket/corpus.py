"""The training data: lines of text with an instruction and a speaker, spoken by espeak-ng, in shards on disk.

A shard holds the samples (int16, 24 kHz), a label for each 20 ms, and for each utterance its text, instruction,
speaker, style and the times of its characters. All of that follows from the seed and the number of the shard; only the
phase of voices and the noise of breath are the engine's own, which carries them on from one utterance to the next.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.pocket import instructions
from training.pocket.espeak import Phone
from training.pocket.sentences import chinese, english
from training.pocket.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Language, Spoken, clauses, render
from training.pocket.style import PLAIN, Style
from training.pocket.voices import OTHER_VOICES, SPEAKERS

__all__ = ["LABEL_SAMPLES", "MOST_FRAMES", "Corpus", "Line", "Utterance", "Voices", "draw_line", "make_shards"]

Voices = Literal["speakers", "others"]

LABEL_SAMPLES = 480
"""20 ms: four labels a frame."""

MOST_FRAMES = 240
"""19 seconds; longer utterances are dropped."""

_SENTENCES: dict[Language, Callable[[random.Random], str]] = {"english": english.sentence, "chinese": chinese.sentence}

# How many sentences an utterance has, in parts of 100.
_LENGTHS = ((1, 74), (2, 16), (3, 6), (4, 3), (6, 1))
_CHARACTERS: dict[Language, int] = {"english": 260, "chinese": 80}


@dataclass(frozen=True)
class Line:
    """What is to be spoken, by whom, and how."""

    text: str
    language: Language
    speaker: str
    instruct: str
    style: Style


@dataclass(frozen=True)
class Utterance:
    """A line that was spoken. ``start`` is its first sample among all samples of the corpus."""

    line: Line
    start: int
    samples: int
    char_times_s: NDArray[np.float32]
    phones: tuple[tuple[str, int], ...]

    @property
    def frames(self) -> int:
        """Frames of 80 ms."""
        return self.samples // FRAME_SAMPLES


def draw_line(source: random.Random, voices: Voices = "speakers") -> Line:
    """A random line. An instruction about pauses comes with a text that has some."""
    language: Language = "english" if source.random() < 0.5 else "chinese"
    speaker = source.choice(list(SPEAKERS if voices == "speakers" else OTHER_VOICES))
    instruction = instructions.draw(source)
    draw = _SENTENCES[language]
    count = source.choices([number for number, _ in _LENGTHS], [weight for _, weight in _LENGTHS])[0]
    joint = " " if language == "english" else ""
    text = joint.join(draw(source) for _ in range(count))
    while instruction.style.pause_s is not None and len(clauses(text)) < 2:
        text = f"{text}{joint}{draw(source)}"
    if len(text) > _CHARACTERS[language]:
        text = draw(source)
    return Line(text, language, speaker, instruction.text, instruction.style)


def phone_labels(spoken: Spoken, language: Language, names: dict[str, int]) -> NDArray[np.int16]:
    """The phone at the middle of each 20 ms, as numbers of ``names``, to which new names are added."""
    count = len(spoken.wave) // LABEL_SAMPLES
    labels = np.zeros(count, np.int16)
    for phone in spoken.phones:
        first = round(phone.start_s * SAMPLE_RATE_HZ / LABEL_SAMPLES)
        last = round(phone.stop_s * SAMPLE_RATE_HZ / LABEL_SAMPLES)
        labels[first:last] = names.setdefault(label_name(phone, language), len(names))
    return labels


def label_name(phone: Phone, language: Language) -> str:
    """Name of a phone among all languages; silence is the same in both."""
    return "_" if phone.name == "_" else f"{language[:2]}:{phone.name}{phone.tone or ''}"


def _make_shard(arguments: tuple[str, int, int, int, Voices]) -> float:
    folder, seed, number, count, voices = arguments
    source = random.Random(f"{seed} {voices} {number}")
    waves: list[NDArray[np.int16]] = []
    labels: list[NDArray[np.int16]] = []
    records: list[dict[str, object]] = []
    names: dict[str, int] = {"_": 0}
    table = SPEAKERS if voices == "speakers" else OTHER_VOICES
    while len(records) < count:
        line = draw_line(source, voices)
        try:
            spoken = render(line.text, line.language, table[line.speaker], line.style)
        except ValueError:
            continue
        if len(spoken.wave) > MOST_FRAMES * FRAME_SAMPLES:
            continue
        waves.append(np.round(spoken.wave * 32767.0).astype(np.int16))
        labels.append(phone_labels(spoken, line.language, names))
        record = {**asdict(line), "style": line.style.changes(), "samples": len(spoken.wave)}
        record["times_ms"] = np.round(spoken.char_times_s * 1000).astype(int).tolist()
        record["phones"] = [[phone.name, phone.tone] for phone in spoken.phones if phone.name != "_"]
        records.append(record)
    base = Path(folder) / f"{number:05d}"
    np.save(base.with_suffix(".waves.npy"), np.concatenate(waves))
    np.save(base.with_suffix(".labels.npy"), np.concatenate(labels))
    with base.with_suffix(".jsonl.part").open("w", encoding="utf-8") as file:
        file.write(json.dumps({"names": list(names)}) + "\n")
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    base.with_suffix(".jsonl.part").rename(base.with_suffix(".jsonl"))  # last: a shard counts when this is there
    return sum(map(len, waves)) / SAMPLE_RATE_HZ


def make_shards(
    folder: Path, numbers: Sequence[int], *, seed: int, count: int, voices: Voices = "speakers", workers: int = 1
) -> Iterator[float]:
    """Make the shards that are not there yet; yields the seconds of speech in each as it is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        (str(folder), seed, number, count, voices)
        for number in numbers
        if not (folder / f"{number:05d}.jsonl").exists()
    ]
    if workers == 1:
        yield from map(_make_shard, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make_shard, tasks)


class Corpus:
    """Shards that were made, as one.

    Attributes:
        waves: int16 ``[all samples]``; empty when only the texts were asked for.
        labels: int16 ``[all samples / 480]``, numbers of ``names``.
        utterances: in order.
    """

    def __init__(self, folder: Path, numbers: Sequence[int], *, with_waves: bool = True) -> None:
        if not numbers:
            raise ValueError(f"no shard in {folder}")
        self.names: list[str] = ["_"]
        index: dict[str, int] = {"_": 0}
        waves, labels = [], []
        self.utterances: list[Utterance] = []
        start = 0
        for number in numbers:
            base = folder / f"{number:05d}"
            if with_waves:
                waves.append(np.load(base.with_suffix(".waves.npy"), mmap_mode="r"))
            with base.with_suffix(".jsonl").open(encoding="utf-8") as file:
                names = json.loads(next(file))["names"]
                mapping = np.array([index.setdefault(name, len(index)) for name in names], np.int16)
                labels.append(mapping[np.load(base.with_suffix(".labels.npy"))])
                for text in file:
                    utterance = _utterance(json.loads(text), start)
                    start += utterance.samples
                    self.utterances.append(utterance)
        self.names = list(index)
        self.waves: NDArray[np.int16] = np.concatenate(waves) if waves else np.zeros(0, np.int16)
        self.labels: NDArray[np.int16] = np.concatenate(labels)

    def wave(self, index: int) -> NDArray[np.float32]:
        """One utterance, float32."""
        item = self.utterances[index]
        return self.waves[item.start : item.start + item.samples].astype(np.float32) / 32767.0

    @property
    def hours(self) -> float:
        """Length of all."""
        return len(self.waves) / SAMPLE_RATE_HZ / 3600


def finished(folder: Path) -> list[int]:
    """Numbers of the shards in a folder."""
    return sorted(int(path.stem) for path in folder.glob("*.jsonl"))


def _utterance(record: dict[str, object], start: int) -> Utterance:
    changes = record["style"]
    assert isinstance(changes, dict)
    line = Line(
        text=str(record["text"]),
        language="english" if record["language"] == "english" else "chinese",
        speaker=str(record["speaker"]),
        instruct=str(record["instruct"]),
        style=PLAIN.with_changes(**changes),
    )
    phones = record.get("phones", [])
    assert isinstance(phones, list)
    return Utterance(
        line,
        start,
        int(str(record["samples"])),
        np.array(record["times_ms"], np.float32) / 1000.0,
        tuple((str(name), int(tone)) for name, tone in phones),
    )

"""What ``qwen-audio listen`` does with a file: hears it, compares it with another recording, and draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BadAudio, ToolkitFault, UsageError
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from toolkit.acoustics.comparison import Comparison, Take
    from toolkit.acoustics.reading import Recording
    from toolkit.acoustics.voice import Voice
    from toolkit.doctor.compared import Compared
    from toolkit.doctor.listening import Heard

_LONGEST_SAMPLES = 5_000_000
"""Samples of all channels that are heard as a whole: 3.4 minutes of 24 kHz mono, longer than 2,048 frames, where a run
is cut off."""
_SHORTEST_S = 0.05

__all__ = ["Hearing", "Listened", "check_options", "compare_all", "draw"]


def check_options(files: Sequence[Path], plot: Path | None, against: Path | None, spread: Sequence[Path]) -> None:
    """Find out before any work whether the options fit together and the picture can be written.

    Raises:
        UsageError, BadOutput: they do not, or it cannot.
    """
    from toolkit.acoustics.figures import MOST_VIEWS, picture_format
    from toolkit.acoustics.spread import FEWEST_SEEDS
    from toolkit.synthesis.whole_file import check_output

    if spread and against is None:
        raise UsageError("--spread tells how much a difference means: name the other recording too (--against FILE)")
    if spread and len(spread) < FEWEST_SEEDS:
        raise UsageError(
            f"--spread needs {FEWEST_SEEDS} recordings of the same text by other seeds or more, not {len(spread)}; "
            "repeat the option for each"
        )
    if plot is None:
        return
    picture_format(plot)
    check_output(plot, overwrite=True)
    if against is not None and len(files) > 1:
        raise UsageError(f"--plot with --against draws one recording over another, not {len(files)}; name one FILE")
    if len(files) > MOST_VIEWS:
        raise UsageError(f"--plot draws up to {MOST_VIEWS} recordings in one picture, not {len(files)}")


@dataclass(frozen=True, eq=False)
class Listened:
    """What was heard of a file; and, where all of it lay in memory, the recording and its measures (None where it is
    too short for them)."""

    path: Path
    heard: Heard
    recording: Recording | None = None
    voice: Voice | None = None

    @property
    def whole(self) -> Recording:
        """The recording, which only a file has that was heard as a whole."""
        if self.recording is None:
            raise ToolkitFault(f"{self.path} was heard in windows")
        return self.recording


@dataclass(frozen=True, eq=False)
class Hearing:
    """How files are heard: with the length of a chunk in seconds, the recording that the voice was cloned from, and the
    text, each where it is known."""

    chunk_s: float | None = None
    reference: Recording | None = None
    text: str | None = None

    def hear(self, path: Path, *, whole: bool = False) -> Listened:
        """Measure a file and find its faults; a long one is read in windows, unless it has to be there as a whole.

        Raises:
            BadAudio: it is no recording, or too long to be there as a whole.
        """
        from toolkit.acoustics.faults import find_faults
        from toolkit.acoustics.hearing import hear_file
        from toolkit.acoustics.reading import open_stream, read_wav
        from toolkit.acoustics.voice import measure_voice
        from toolkit.doctor.listening import Heard

        with open_stream(path) as stream:
            frames = stream.header_frames
            # Without a promise, at most a sample a byte.
            samples = path.stat().st_size if isinstance(frames, NA) else frames * stream.channel_count
            is_long = samples > _LONGEST_SAMPLES
        if is_long and not whole:
            one = hear_file(path, self.chunk_s, self.reference)
            return Listened(
                path, Heard(str(path), one.duration_s, one.sample_rate_hz, one.channels, one.values, (), one.faults)
            )
        recording = read_wav(path, max_samples=_LONGEST_SAMPLES)
        faults = find_faults(recording, self.chunk_s, self.reference)
        voice = None
        if recording.duration_s >= _SHORTEST_S:
            voice = measure_voice(recording.finite_mono(), recording.sample_rate, self.text)
        values, pauses = ({}, ()) if voice is None else (voice.values(), voice.pauses)
        heard = Heard(
            str(path), recording.duration_s, recording.sample_rate, recording.channel_count, values, pauses, faults
        )
        return Listened(path, heard, recording, voice)


def compare_all(listened: Sequence[Listened], reference: Listened, seeds: Sequence[Listened]) -> list[Compared]:
    """Each recording against the reference, beside the spread of the seeds when there are any.

    Raises:
        BadAudio: one of them is too short to be compared.
    """
    from toolkit.acoustics.comparison import compare, spread_of
    from toolkit.doctor.compared import Compared

    other = _take(reference)
    spread = spread_of([_take(one) for one in seeds]) if seeds else None
    found = []
    for one in listened:
        comparison = compare(other, _take(one))
        comparison = comparison if spread is None else comparison.against(spread)
        found.append(Compared(str(one.path), str(reference.path), comparison))
    return found


def draw(path: Path, listened: Sequence[Listened], comparison: Comparison | None = None) -> None:
    """Draw recordings one over another into a file, PNG or SVG by its name; an older picture is replaced.

    Raises:
        UsageError: a recording is too short to be drawn.
        BadOutput, DiskFull: the file cannot be written.
    """
    from toolkit.acoustics.figures import View, draw_speech, picture_bytes, picture_format
    from toolkit.synthesis.whole_file import WholeFile

    views = [
        View(
            one.path.name,
            one.whole.finite_mono(),
            one.whole.sample_rate,
            one.voice.pitch if one.voice is not None else None,
            [(pause.start_s, pause.stop_s) for pause in one.voice.pauses] if one.voice is not None else (),
            one.heard.faults,
        )
        for one in listened
    ]
    data = picture_bytes(draw_speech(views, comparison), picture_format(path))
    with WholeFile(path, overwrite=True) as file:
        file.write(data)


def _take(one: Listened) -> Take:
    from toolkit.acoustics.comparison import Take

    if one.voice is None:
        raise BadAudio(f"{one.path.name}: {one.heard.duration_s:.3f} s of sound are too short to be compared")
    return Take.of(one.whole.finite_mono(), one.whole.sample_rate, voice=one.voice)

"""What ``qwen-audio listen`` does beside listening: compares with another recording, and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BadAudio, UsageError

if TYPE_CHECKING:
    from toolkit.acoustics.comparison import Comparison, Take
    from toolkit.acoustics.faults import Fault
    from toolkit.acoustics.reading import Recording
    from toolkit.acoustics.voice import Voice
    from toolkit.doctor.compared import Compared

__all__ = ["Listened", "check_options", "compare_all", "draw"]


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
    """A recording as it was heard: its measures (None where it is too short for them) and its faults."""

    path: Path
    recording: Recording
    voice: Voice | None
    faults: tuple[Fault, ...]


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
            one.recording.finite_mono(),
            one.recording.sample_rate,
            one.voice.pitch if one.voice is not None else None,
            [(pause.start_s, pause.stop_s) for pause in one.voice.pauses] if one.voice is not None else (),
            one.faults,
        )
        for one in listened
    ]
    data = picture_bytes(draw_speech(views, comparison), picture_format(path))
    with WholeFile(path, overwrite=True) as file:
        file.write(data)


def _take(one: Listened) -> Take:
    from toolkit.acoustics.comparison import Take

    if one.voice is None:
        raise BadAudio(f"{one.path.name}: {one.recording.duration_s:.3f} s of sound are too short to be compared")
    return Take.of(one.recording.finite_mono(), one.recording.sample_rate, voice=one.voice)

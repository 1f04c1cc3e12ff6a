"""Judges a finished voice: errors by ear, stops, obedience to instructions, speed; writes figures.json and a table.

``python -m training.pocket.evaluation FOLDER --recogniser FILE --out DIR``; espeak-ng's own rendering of the same
sentences is measured in the same way. Everything is three hours of speech: that takes a card (``--batch 192``); on a
CPU, take ``--limit 30``.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import toolkit
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.speaker import Speech
from training.pocket import scoring
from training.pocket.measures import (
    Measures,
    boundaries,
    boundary_pauses,
    measure,
    pearson,
    semitones,
    speech_s,
)
from training.pocket.recogniser import Recogniser, symbols_of
from training.pocket.recogniser import load as load_recogniser
from training.pocket.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Language, Spoken, clauses, render
from training.pocket.style import PLAIN, Style
from training.pocket.voices import SPEAKERS

__all__ = ["BOUNDS", "Case", "Heard", "evaluate", "main", "table"]

UNSEEN = Path(__file__).parent / "unseen"
LANGUAGES: tuple[Language, ...] = ("english", "chinese")

LONGEST = 1.3
"""Factor of espeak-ng's length within which speech has to stop."""
PAUSE_TOLERANCE_S = 0.080
WHISPER_BELOW = 0.2
"""Voiced share that tells whispers from voice: espeak-ng's whispers have 0.01 at most, its lowest voices 0.3."""
_WHISPER_DB = -4.0  # espeak-ng's whispers are rendered so much softer
_QUICK = 2
_SPEED_LINES = 6
_REFERENCE_EVERY = 4  # obedience of espeak-ng itself is measured on a share of the cases
Log = Callable[[str], None]
Figures = dict[str, Any]

# Name, path in the figures, bound, whether the figure has to be at most (else at least) that.
BOUNDS: tuple[tuple[str, str, float, bool], ...] = (
    ("English phone error", "errors.whole.english.phones.rate", 0.06, True),
    ("Mandarin syllable error", "errors.whole.chinese.syllables.rate", 0.12, True),
    ("Mandarin tone error", "errors.whole.chinese.tones.rate", 0.25, True),
    ("text in steps / whole text, English", "errors.steps_over_whole.english", 1.3, True),
    ("text in steps / whole text, Mandarin", "errors.steps_over_whole.chinese", 1.3, True),
    ("stops within 1.3 x the length", "stops.all.within", 0.995, False),
    ("rate, lowest r of a voice", "obedience.lowest.rate_r", 0.95, False),
    ("median F0, r, women", "obedience.women.f0_r", 0.95, False),
    ("median F0, r, men", "obedience.men.f0_r", 0.95, False),
    ("median F0, lowest r of a voice", "obedience.lowest.f0_r", 0.95, False),
    ("level, lowest r of a voice", "obedience.lowest.level_r", 0.9, False),
    ("whisper told from voice, lowest of a voice", "obedience.lowest.whisper_accuracy", 0.98, False),
    ("pause off by, median in s", "obedience.all.pause_error_s", 0.08, True),
    ("no instruction: rate off by, worst voice", "plain.worst.rate", 0.03, True),
    ("no instruction: F0 off by, worst voice", "plain.worst.f0", 0.03, True),
    ("x real time on two CPU cores", "speed.x_real_time", 2.0, False),
    ("first audio in s", "speed.first_audio_s", 0.3, True),
)


@dataclass(frozen=True)
class Case:
    """One thing to say. ``style`` is what ``instruct`` commands."""

    text: str
    language: Language
    speaker: str
    instruct: str = ""
    style: Style = PLAIN


@dataclass(frozen=True, eq=False)
class Heard:
    """What came out; ``ended`` tells whether the model stopped by itself."""

    wave: NDArray[np.float32]
    ended: bool

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.wave) / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Condition:
    """One way to run the model."""

    name: str
    dtype: str = "float32"
    greedy: bool = False
    whole: bool = True
    seed: int = 0


CONDITIONS: tuple[Condition, ...] = (
    Condition("whole"),
    Condition("whole, another seed", seed=1),
    Condition("whole, greedy", greedy=True),
    Condition("steps", whole=False),
    Condition("steps, greedy", greedy=True, whole=False),
    Condition("whole, bfloat16", dtype="bfloat16"),
)
_INSTRUCTED = Condition("instructions")
_FIRST_INSTRUCTED = Condition("instructions, first list")
INSTRUCTIONS: dict[str, str] = {_INSTRUCTED.name: "instructions_second", _FIRST_INSTRUCTED.name: "instructions"}
"""Files of instructions by condition. The phrasings of the training were widened after the voice had been tried on the
first list, so that the second, drawn up later and blind, is what counts."""
_QUICK_CONDITIONS = tuple(CONDITIONS[index] for index in (0, 3, 5))


@dataclass(frozen=True)
class Stop:
    """How one utterance ended; ``ratio`` is its length over that of espeak-ng's rendering in the same style."""

    ended: bool
    ratio: float


def rendered(case: Case) -> Spoken:
    """espeak-ng's own rendering, such as the voice was trained on."""
    return render(case.text, case.language, SPEAKERS[case.speaker], case.style)


@cache
def _expected(case: Case) -> tuple[int, tuple[str, ...]]:
    """Samples and symbols of the rendering; the sound itself is not kept, since all would be a gigabyte."""
    spoken = rendered(case)
    return len(spoken.wave), tuple(symbols_of(spoken.phones, case.language))


@cache
def _plain_measures(text: str, language: Language, speaker: str) -> tuple[Measures, tuple[float, ...]]:
    """Measures of the rendering without an instruction, and where its pauses between clauses lie."""
    spoken = rendered(Case(text, language, speaker))
    return measure(spoken.wave), tuple(boundaries(spoken.phones))


def unseen_lines(language: Language) -> list[str]:
    """The sentences that were kept apart before training."""
    return [line for line in (UNSEEN / f"{language}.txt").read_text(encoding="utf-8").splitlines() if line.strip()]


def plain_cases(limit: int | None) -> list[Case]:
    """All unseen sentences without an instruction, the speakers taking turns."""
    names = list(SPEAKERS)
    return [
        Case(text, language, names[index % len(names)])
        for language in LANGUAGES
        for index, text in enumerate(unseen_lines(language)[:limit])
    ]


def instructed_cases(limit: int | None, condition: Condition = _INSTRUCTED) -> list[Case]:
    """All unseen instructions of a list for every speaker, over both languages in turn.

    An instruction about pauses gets a text that has a pause inside.
    """
    lines = (UNSEEN / f"{INSTRUCTIONS[condition.name]}.jsonl").read_text(encoding="utf-8").splitlines()
    commands = [json.loads(line) for line in lines if line.strip()]
    step = max(1, len(commands) // limit) if limit else 1
    texts = {language: unseen_lines(language) for language in LANGUAGES}
    parted = {language: [text for text in texts[language] if len(clauses(text)) > 1] for language in LANGUAGES}
    cases = []
    for turn, speaker in enumerate(SPEAKERS):
        for index in range(0, len(commands), step)[:limit]:
            style = PLAIN.with_changes(**commands[index]["style"])
            language = LANGUAGES[(index // step + turn) % 2]
            pool = texts[language] if style.pause_s is None else parted[language] or texts[language]
            text = pool[(7 * index + 31 * turn) % len(pool)]
            cases.append(Case(text, language, speaker, commands[index]["instruct"], style))
    return cases


def speak_cases(
    speech: Speech, cases: Sequence[Case], condition: Condition, *, batch: int, log: Log = print
) -> list[Heard]:
    """Speak all, ``batch`` side by side, those of like length together.

    The cap is twice espeak-ng's length and two seconds; no case is tried again, so that a missed end shows.
    """
    lengths = [_expected(case)[0] for case in cases]
    order = sorted(range(len(cases)), key=lambda index: lengths[index])
    settings = speech.sampling()
    settings = settings.greedy() if condition.greedy else settings
    found: dict[int, Heard] = {}
    began = time.perf_counter()
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        cap = 2 * max(lengths[row] for row in rows) // FRAME_SAMPLES + 25
        spoken = _speak(speech, [cases[row] for row in rows], condition, settings, cap)
        found.update(zip(rows, spoken, strict=True))
    spoken_s = sum(heard.seconds for heard in found.values())
    passed_s = time.perf_counter() - began
    log(f"{condition.name}: {len(cases)} texts, {spoken_s:.0f} s of speech in {passed_s:.0f} s")
    return [found[index] for index in range(len(cases))]


def _speak(
    speech: Speech, cases: Sequence[Case], condition: Condition, settings: DecodeSettings, cap: int
) -> list[Heard]:
    results = speech.speak_many(
        [case.text for case in cases],
        speaker=[case.speaker for case in cases],
        language=[case.language for case in cases],
        instruct=[case.instruct or None for case in cases],
        batch=len(cases),
        seed=condition.seed,
        settings=settings,
        non_streaming_text=condition.whole,
        max_frames=cap,
    )
    return [Heard(result.samples, result.finish_reason == "eos") for result in results]


def error_figures(cases: Sequence[Case], waves: Sequence[NDArray[np.float32]], ear: Recogniser) -> Figures:
    """Errors of what the recogniser hears, by language."""
    heard = ear.recognise(waves)
    groups: dict[Language, dict[str, list[scoring.Errors]]] = {}
    for case, found in zip(cases, heard, strict=True):
        _, wanted = _expected(case)
        group = groups.setdefault(case.language, {})
        group.setdefault("phones", []).append(scoring.phone_errors(wanted, found))
        if case.language == "chinese":
            group.setdefault("syllables", []).append(scoring.syllable_errors(wanted, found))
            # A whisper has no tones, and a monotone hardly any.
            if not case.style.whisper and case.style.spread >= 0.5:
                group.setdefault("tones", []).append(scoring.tone_errors(wanted, found))
    return {
        language: {name: scoring.error_rate(errors).to_json() for name, errors in group.items()}
        for language, group in groups.items()
    }


def stops_of(cases: Sequence[Case], heard: Sequence[Heard]) -> list[Stop]:
    """How each ended."""
    return [Stop(sound.ended, len(sound.wave) / _expected(case)[0]) for case, sound in zip(cases, heard, strict=True)]


def stop_figures(stops: Sequence[Stop]) -> Figures:
    """How many stop by themselves, and in time."""
    return {
        "within": _mean([stop.ended and stop.ratio <= LONGEST for stop in stops]),
        "without_end": _mean([not stop.ended for stop in stops]),
        "shorter_than_0.7": _mean([stop.ratio < 0.7 for stop in stops]),
        "median_length_ratio": _median([stop.ratio for stop in stops]),
        "count": len(stops),
    }


@dataclass(frozen=True)
class Obeyed:
    """Commanded and measured quantities of one case; NaN where one makes no sense.

    Rate is a factor of espeak-ng's for the same text and voice without an instruction, F0 in semitones above 100 Hz
    (commanded: espeak-ng's median for that text and voice, shifted), spread a factor of espeak-ng's.
    """

    speaker: str
    whisper: bool
    rate: tuple[float, float]
    f0_st: tuple[float, float]
    level_db: tuple[float, float]
    spread: tuple[float, float]
    voiced_share: float
    pause_errors_s: tuple[float, ...]


def obeyed(case: Case, wave: NDArray[np.float32]) -> Obeyed:
    """Measure one case against what its style commands."""
    found = measure(wave)
    plain, shares = _plain_measures(case.text, case.language, case.speaker)
    pauses = boundary_pauses(found, shares)
    plain_s = speech_s(plain, boundary_pauses(plain, shares))
    style, nothing = case.style, float("nan")
    silent = style.whisper
    level_db = rendered_level_db(case) + style.level_db
    return Obeyed(
        case.speaker,
        style.whisper,
        (style.rate, plain_s / speech_s(found, pauses)),
        (
            nothing if silent else semitones(plain.f0_hz, 100.0) + style.pitch_st,
            nothing if silent else semitones(found.f0_hz, 100.0),
        ),
        (level_db, found.level_db),
        (nothing if silent else style.spread, nothing if silent else found.spread_st / plain.spread_st),
        found.voiced_share,
        tuple(pause - style.pause_s for pause in pauses) if style.pause_s is not None else (),
    )


def rendered_level_db(case: Case) -> float:
    """Level of the rendering without an instruction; whispers are softer by what the data makes them."""
    plain, _ = _plain_measures(case.text, case.language, case.speaker)
    return plain.level_db + (_WHISPER_DB if case.style.whisper else 0.0)


def obedience_of(rows: Sequence[Obeyed]) -> Figures:
    """Figures of a group of cases."""
    voiced = [row for row in rows if not row.whisper]
    whispered = [row for row in rows if row.whisper]
    pauses = [error for row in rows for error in row.pause_errors_s]
    figures: Figures = {
        "count": len(rows),
        "rate_r": _r(rows, "rate"),
        "rate_off": _median([abs(found / asked - 1) for asked, found in (row.rate for row in rows)]),
        "f0_r": _r(voiced, "f0_st"),
        "f0_off_st": _median([abs(found - asked) for asked, found in (row.f0_st for row in voiced)]),
        "level_r": _r(rows, "level_db"),
        "level_off_db": _median([abs(found - asked) for asked, found in (row.level_db for row in rows)]),
        "spread_r": _r(voiced, "spread"),
        "whispers": len(whispered),
        "pauses": len(pauses),
    }
    if whispered and voiced:
        hit = _mean([row.voiced_share < WHISPER_BELOW for row in whispered])
        kept = _mean([row.voiced_share >= WHISPER_BELOW for row in voiced])
        figures["whisper_accuracy"] = (hit + kept) / 2
    if pauses:
        figures["pauses_within"] = _mean([abs(error) <= PAUSE_TOLERANCE_S for error in pauses])
        figures["pause_error_s"] = _median([abs(error) for error in pauses])
    return figures


def obedience_figures(cases: Sequence[Case], waves: Sequence[NDArray[np.float32]]) -> Figures:
    """Obedience of all, of women and men, of each voice, and the lowest figure among the voices."""
    rows = [obeyed(case, wave) for case, wave in zip(cases, waves, strict=True)]
    groups: dict[str, Callable[[Obeyed], bool]] = {
        "all": lambda row: True,
        "women": lambda row: SPEAKERS[row.speaker].gender == "female",
        "men": lambda row: SPEAKERS[row.speaker].gender == "male",
    }
    figures: Figures = {name: obedience_of([row for row in rows if takes(row)]) for name, takes in groups.items()}
    voices = {name: obedience_of([row for row in rows if row.speaker == name]) for name in SPEAKERS}
    wanted = ("rate_r", "f0_r", "level_r", "whisper_accuracy", "pauses_within")
    figures["lowest"] = {name: _worst(min, [voice.get(name) for voice in voices.values()]) for name in wanted}
    figures["voices"] = voices
    compared = cases[:: _REFERENCE_EVERY if len(cases) > 100 else 1]
    figures["espeak"] = obedience_of([obeyed(case, rendered(case).wave) for case in compared])
    return figures


def plain_figures(cases: Sequence[Case], waves: Sequence[NDArray[np.float32]]) -> Figures:
    """How far each voice lies from espeak-ng's when nothing is asked: medians over its sentences."""
    by_voice: dict[str, list[Obeyed]] = {}
    for case, wave in zip(cases, waves, strict=True):
        by_voice.setdefault(case.speaker, []).append(obeyed(case, wave))
    voices = {
        name: {
            "rate": _median([row.rate[1] for row in rows]) - 1,
            "f0": 2 ** (_median([row.f0_st[1] - row.f0_st[0] for row in rows]) / 12) - 1,
            "level_db": _median([row.level_db[1] - row.level_db[0] for row in rows]),
            "voiced_share": _median([row.voiced_share for row in rows]),
            "count": len(rows),
        }
        for name, rows in by_voice.items()
    }
    worst = {name: _worst(max, [abs(voice[name]) for voice in voices.values()]) for name in ("rate", "f0", "level_db")}
    return {"worst": worst, "voices": voices, "count": len(cases)}


def speed_figures(speech: Speech, lines: int = _SPEED_LINES) -> Figures:
    """Real-time factor of single sentences, and time to the first sound, medians; the first of each warms up."""
    cases = [case for case in plain_cases(None) if len(case.text) >= 12][:: max(1, 200 // lines)][: lines + 1]
    factors, firsts = [], []
    for case in cases:
        result = speech.speak(case.text, speaker=case.speaker, language=case.language, seed=0)
        factors.append(result.x_real_time)
        began = time.perf_counter()
        stream = speech.stream(case.text, speaker=case.speaker, language=case.language, seed=0)
        next(stream)
        firsts.append(time.perf_counter() - began)
        stream.close()
    factors, firsts = (factors[1:], firsts[1:]) if len(cases) > 1 else (factors, firsts)
    return {
        "x_real_time": _median(factors),
        "first_audio_s": _median(firsts),
        "device": str(speech.model.device),
        "dtype": speech.model.dtype.value,
        "threads": torch.get_num_threads(),
        "count": len(factors),
    }


def evaluate(
    folder: Path,
    ear: Recogniser,
    *,
    device: str = "auto",
    batch: int = 48,
    quick: bool = False,
    limit: int | None = None,
    log: Log = print,
) -> Figures:
    """All figures of the model in ``folder``.

    Args:
        folder: of the model, as :func:`toolkit.load` takes it.
        ear: on its device.
        batch: texts side by side; a card takes 192 well, two CPU cores 48.
        quick: two sentences and one instruction a voice, in three conditions.
        limit: so many sentences a language and instructions a voice; None: all 200.
    """
    limit = _QUICK if quick else limit
    plain = plain_cases(limit)
    conditions = _QUICK_CONDITIONS if quick else CONDITIONS
    began = time.perf_counter()
    figures: Figures = {"model": folder.name, "quick": quick, "limit": limit, "errors": {}}
    own = [rendered(case).wave for case in plain]
    figures["errors"]["espeak"] = error_figures(plain, own, ear)
    stops: dict[str, list[Stop]] = {}
    for dtype in dict.fromkeys(condition.dtype for condition in conditions):
        speech = toolkit.load(folder, device=device, dtype=dtype, codec_dtype="float32")
        runs = [(condition, plain) for condition in conditions if condition.dtype == dtype]
        if dtype == _INSTRUCTED.dtype:
            lists = (_INSTRUCTED,) if quick else (_INSTRUCTED, _FIRST_INSTRUCTED)
            runs += [(condition, instructed_cases(1 if quick else limit, condition)) for condition in lists]
        for condition, cases in runs:
            heard = speak_cases(speech, cases, condition, batch=batch, log=log)
            waves = [sound.wave for sound in heard]
            figures["errors"][condition.name] = error_figures(cases, waves, ear)
            stops[condition.name] = stops_of(cases, heard)
            if condition == CONDITIONS[0]:
                figures["plain"] = plain_figures(cases, waves)
            if condition.name in INSTRUCTIONS:
                name = "obedience" if condition == _INSTRUCTED else "obedience_first_list"
                figures[name] = obedience_figures(cases, waves)
            log(f"{condition.name}: measured, {time.perf_counter() - began:.0f} s so far")
        del speech
        gc.collect()
    stops["all"] = [stop for group in stops.values() for stop in group]
    figures["stops"] = {name: stop_figures(group) for name, group in stops.items()}
    figures["errors"]["steps_over_whole"] = _steps_over_whole(figures["errors"])
    figures["speed"] = _cpu_speed(folder, 1 if quick else _SPEED_LINES)
    figures["seconds"] = time.perf_counter() - began
    rounded: Figures = _rounded(figures)
    return rounded


def table(figures: Mapping[str, Any]) -> str:
    """The figures against their bounds, and the error rates, as Markdown."""
    lines = ["| figure | found | bound | |", "|---|---|---|---|"]
    for name, path, bound, at_most in BOUNDS:
        found = _at(figures, path)
        if found is None:
            lines.append(f"| {name} | not measured | {'<=' if at_most else '>='} {bound:g} | |")
            continue
        met = found <= bound if at_most else found >= bound
        verdict = "met" if met else "**missed**"
        lines.append(f"| {name} | {found:.4g} | {'<=' if at_most else '>='} {bound:g} | {verdict} |")
    lines += [
        "",
        "| errors, % (95 % interval) | English phones | Mandarin syllables | Mandarin tones |",
        "|---|---|---|---|",
    ]
    for name, group in figures["errors"].items():
        if name == "steps_over_whole":
            continue
        cells = [_shown(_at(group, path)) for path in ("english.phones", "chinese.syllables", "chinese.tones")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| voice | rate r | F0 r | level r | whisper | pauses within 80 ms | spread r |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = {**figures["obedience"]["voices"], "espeak": figures["obedience"]["espeak"]}
    for name, group in groups.items():
        keys = ("rate_r", "f0_r", "level_r", "whisper_accuracy", "pauses_within", "spread_r")
        cells = ["" if group.get(key) is None else f"{group[key]:.3f}" for key in keys]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| stops | in time | without an end | median length | count |", "|---|---|---|---|---|"]
    for name, group in figures["stops"].items():
        lines.append(
            f"| {name} | {group['within']:.2%} | {group['without_end']:.2%} | {group['median_length_ratio']:.3f} "
            f"| {group['count']} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the figures were written, whatever they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the model")
    parser.add_argument("--recogniser", type=Path, required=True, help="file of the trained recogniser")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures.json and figures.md")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; speed is always measured on the CPU")
    parser.add_argument("--batch", type=int, default=48, help="texts side by side")
    parser.add_argument("--limit", type=int, help="sentences a language and instructions a voice; all 200 unless given")
    parser.add_argument("--quick", action="store_true", help="a few sentences, to see that it works")
    options = parser.parse_args(arguments)
    on_card = options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available())
    ear = load_recogniser(options.recogniser, "cuda" if on_card else "cpu")
    figures = evaluate(
        options.folder, ear, device=options.device, batch=options.batch, quick=options.quick, limit=options.limit
    )
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, ensure_ascii=False, indent=1, allow_nan=False)
    (options.out / "figures.json").write_text(text + "\n", encoding="utf-8")
    (options.out / "figures.md").write_text(table(figures), encoding="utf-8")
    print(table(figures))
    return 0


def _cpu_speed(folder: Path, lines: int) -> Figures:
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, threads))
    try:
        return speed_figures(toolkit.load(folder, device="cpu", dtype="float32"), lines)
    finally:
        torch.set_num_threads(threads)


def _steps_over_whole(errors: Mapping[str, Any]) -> Figures:
    """Error of the text in steps over that of the whole text, default sampling."""
    found: Figures = {}
    for language, unit in (("english", "phones"), ("chinese", "syllables")):
        whole, steps = (_at(errors, f"{name}.{language}.{unit}.rate") for name in ("whole", "steps"))
        if whole and steps is not None:
            found[language] = steps / whole
    return found


def _r(rows: Sequence[Obeyed], name: str) -> float:
    pairs = [getattr(row, name) for row in rows]
    return pearson([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")


def _worst(choose: Callable[[list[float]], float], values: Iterable[float | None]) -> float:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return choose(finite) if finite else float("nan")


def _at(figures: Mapping[str, Any], path: str) -> Any:
    found: Any = figures
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _shown(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return ""
    return f"{100 * rate['rate']:.2f} ({100 * rate['low']:.2f} to {100 * rate['high']:.2f})"


def _rounded(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    raise SystemExit(main())

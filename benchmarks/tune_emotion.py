"""How often the tuner finds what was commanded, and finds something where nothing was asked, with the pocket voice.

    python benchmarks/tune_emotion.py --output benchmarks/results/tune_emotion.json

A trial is one sentence and one speaker at eight seeds with an instruction against the same eight without it; one of
each kind shares sentence, speaker and seeds. Commands
are of rate, pitch, level and whisper, in sizes well above what is noticeable, in English and Chinese. Two controls ask
for nothing: *no instruction* on both sides with other seeds, where every finding is a false one; and wordings without a
quantity ("Read it aloud."), where the voice may really change a little, so that "found" and "found and noticeable" are
counted apart. The last line is one JSON. On two cores of a CPU with the defaults it takes about half an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.synthesis.whole_file import WholeFile
from toolkit.tuning.answers import check_asked, scaled
from toolkit.tuning.book import Plan, Trial, Variant
from toolkit.tuning.effects import Effects, parse_effects
from toolkit.tuning.statistics import Judgement, judge_effect
from toolkit.tuning.trial_measures import TESTED
from toolkit.tuning.trial_voice import ModelVoice, open_voice
from toolkit.tuning.trials import take_to_trial

__all__ = ["main"]

SEEDS = 8
TEXTS = {
    "english": (
        "The morning train was late again.",
        "Nobody knew where the old key was kept.",
        "We walked along the river, then home.",
        "Please leave your coat by the door.",
        "The garden looked better after the rain.",
        "She opened the window, and listened.",
        "My brother paints houses in the summer.",
        "It was colder on the mountain, of course.",
    ),
    "chinese": (
        "今天的天气真不错。",
        "我们一起去公园散步吧。",
        "他把钥匙放在桌子上了。",
        "明天早上八点开会。",
        "这家饭馆的面条很好吃。",
        "请把窗户关上，谢谢。",
    ),
}
COMMANDS = {
    "rate": ("20% faster", "30% faster", "25% slower", "20% slower", "语速加快20%", "语速放慢25%"),
    "pitch": ("4 semitones higher", "6 semitones higher", "3 semitones lower", "音调升高4个半音", "音调降低3个半音"),
    "level": ("4 dB louder", "6 dB softer", "8 dB softer", "音量降低6分贝", "音量提高4分贝"),
    "whisper": ("whisper", "in a whisper", "用气声说", "低声耳语"),
}
NEUTRAL = ("Read it aloud.", "Speak normally.", "正常说话。", "Say it as usual.")
FIELDS = {"rate": "rate", "pitch": "pitch_st", "level": "level_db", "whisper": "whisper"}
MEASURES = {"rate": "rate", "pitch": "pitch", "level": "level", "whisper": "voicing"}
_FURTHER_SEED = 500_000_000


@dataclass(frozen=True)
class Case:
    """One trial: what is said, by whom, and how."""

    kind: str
    text: str
    language: str
    speaker: str
    instruction: str
    seed: int


def cases(count: int, speakers: Sequence[str], seed: int) -> Iterator[Case]:
    """``count`` of each kind, drawn."""
    draw = random.Random(seed)
    for number in range(count):
        language = draw.choice(tuple(TEXTS))
        text, speaker = draw.choice(TEXTS[language]), draw.choice(speakers)
        for kind, wordings in (*COMMANDS.items(), ("neutral", NEUTRAL), ("nothing", ("",))):
            yield Case(kind, text, language, speaker, draw.choice(wordings), 1000 * number)


def judged(voice: ModelVoice, case: Case, plains: dict[int, list[Trial]]) -> tuple[Judgement, list[Trial], list[Trial]]:
    """Speak both sides of a case; ``plains`` keeps the sides without instruction, which cases of a seed share."""
    if case.seed not in plains:
        plains.clear()
        plains[case.seed] = spoken(voice, case, "", case.seed)
    plain = plains[case.seed]
    # Nothing is asked: the other side is the same request with seeds of its own.
    other = case.seed + _FURTHER_SEED if case.kind == "nothing" else case.seed
    with_it = spoken(voice, case, case.instruction, other)
    sides = [{one.name: scaled(side, one) for one in TESTED} for side in (with_it, plain)]
    return judge_effect(sides[0], sides[1]), with_it, plain


def spoken(voice: ModelVoice, case: Case, instruction: str, seed: int) -> list[Trial]:
    """Eight runs."""
    plan = plan_of(case, seed)
    own = ModelVoice(plan, voice.speech)
    takes = own.speak(instruction, 0, SEEDS)
    return [take_to_trial(plan, take, "float32", 1 if instruction else 0, run) for run, take in enumerate(takes)]


def plan_of(case: Case, seed: int) -> Plan:
    """The plan of a case."""
    variants = (
        Variant(number=0, origin="none", instruction=""),
        Variant(number=1, origin="given", instruction=case.instruction or "-"),
    )
    return Plan(
        text=case.text, language=case.language, speaker=case.speaker, variants=variants, seeds=SEEDS, first_seed=seed
    )


def noticeable(judgement: Judgement) -> list[str]:
    """Measures that changed by more than chance and noticeably."""
    least = {one.name: one.noticeable for one in TESTED}
    return [
        test.measure
        for test in judgement.tests
        if test.measure in judgement.changed and abs(test.mean_change) >= least[test.measure]
    ]


def row_of(case: Case, judgement: Judgement, with_it: list[Trial], plain: list[Trial]) -> dict[str, object]:
    """What became of a case."""
    effects = parse_effects(case.instruction) if case.kind in FIELDS else Effects()
    verdicts = {check.field: check.verdict for check in check_asked(effects, with_it, plain)}
    return {
        "kind": case.kind,
        "instruction": case.instruction,
        "text": case.text,
        "speaker": case.speaker,
        "found": judgement.found,
        "measure_found": MEASURES.get(case.kind) in judgement.changed,
        "verdict": verdicts.get(FIELDS.get(case.kind, ""), ""),
        "changed": list(judgement.changed),
        "noticeable": noticeable(judgement),
        "joint_p": round(judgement.joint_p, 5),
    }


def summary(rows: Sequence[dict[str, object]]) -> dict[str, dict[str, object]]:
    """Shares by kind."""
    told: dict[str, dict[str, object]] = {}
    for kind in (*COMMANDS, "neutral", "nothing"):
        own = [row for row in rows if row["kind"] == kind]
        count = max(1, len(own))
        told[kind] = {
            "trials": len(own),
            "found": round(sum(bool(row["found"]) for row in own) / count, 4),
            "measure_found": round(sum(bool(row["measure_found"]) for row in own) / count, 4),
            "any_measure_changed": round(sum(bool(row["changed"]) for row in own) / count, 4),
            "found_and_noticeable": round(sum(bool(row["noticeable"]) for row in own) / count, 4),
            "verdicts": {
                verdict: sum(row["verdict"] == verdict for row in own)
                for verdict in ("reached", "short", "beyond", "opposite", "not measurable")
            },
        }
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="trials of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the draw of texts, speakers and wordings")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long with what there is")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    first = Case("nothing", TEXTS["english"][0], "english", "serena", "", 0)
    voice = open_voice(plan_of(first, 0), "float32")
    rows: list[dict[str, object]] = []
    plains: dict[int, list[Trial]] = {}
    for case in cases(options.count, voice.speech.speakers, options.seed):
        rows.append(row_of(case, *judged(voice, case, plains)))
        if time.perf_counter() - began > 60 * options.minutes:
            break
        if len(rows) % 30 == 0:
            print(len(rows), json.dumps(summary(rows)), file=sys.stderr, flush=True)
    data = {
        "schema": 1,
        "model": "pocket",
        "precision": "float32",
        "seeds": SEEDS,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - began, 1),
        "machine": voice.machine.model_dump(),
        "summary": summary(rows),
        "rows": rows,
    }
    if options.output is not None:
        with WholeFile(options.output, overwrite=True) as file:
            file.write((json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
    print(json.dumps(data["summary"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

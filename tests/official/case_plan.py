"""What the official package and ours are both asked: drawn from a seed, so that another seed asks other things."""

from __future__ import annotations

import json
import math
import random
import wave
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.synthesis.demo_model import make_demo_model

__all__ = ["make_plan"]

TEXTS = (
    "好",
    "OK",
    "明天早上八点，我们在地铁口见面。",
    "外面下雨了，记得带伞！",
    "这本书一共有三百二十页，我只看了一半。",
    "The train leaves at 9:45, so please don't be late.",
    'She said: "I\'d rather stay at home." Nobody answered.',
    "打开 WiFi 以后，用 Chrome 登录 GitHub，再点 Settings。",
    "Version 2.5 costs $19.99 (about 18 €), 20% less than before.",
    "  space before and after  ",
    "第一行\n第二行\n\n第四行",
    "新しい本を読みました。とても面白かったです。",
    "오늘은 비가 와서 집에 있었어요.",
    "Où est la gare, s'il vous plaît ?",
    "Грустно, но завтра будет лучше.",
    "¿Cómo estás? ¡Muy bien!",
    "Das kostet fünf Euro zwanzig.",
    "哈哈😂，太好笑了👍🏽！",
    "ＡＢＣ１２３ ｶﾀｶﾅ ㈱ ﬁne",
    "e\u0301te\u0301 Å ñ ü — … “引号” ‘single’",
    "https://example.org/a?b=c&d=e  user@example.org",
    "他慢慢地走进房间，" * 12 + "然后坐下来。",
    "and then we went on, " * 20 + "until it was dark.",
    "\t制表符\r\n回车",
    "WeChat和iPad都没电了",
)
INSTRUCTIONS = ("用开心的语气说", "Whisper, as if somebody slept next door.", "语速很慢，声音低沉", "")
DESIGNS = ("A bright young woman's voice, quick and clear.", "沙哑的老人，说话很慢", "", "Robot")
TRANSCRIPTS = ("这是参考录音里的话。", "This is what the recording says.", "嗯。", "A longer one, word by word: " * 4)
SPEAKERS = ("serena", "Vivian", "UNCLE_FU", "ryan", "aiden", "Ono_Anna", "sohee", "eric", "dylan")
LANGUAGES = (None, "auto", "Chinese", "english", "German", "Italian", "Portuguese", "Spanish", "Japanese", "KOREAN")
RATES_HZ = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
GREEDY = {"do_sample": False, "subtalker_dosample": False}


def _recording(path: Path, pick: random.Random, seconds: float, rate: int, channels: int) -> None:
    """A hum with a moving pitch, pulses like syllables, and some breath."""
    noise = np.random.default_rng(pick.randrange(2**32))
    t = np.arange(round(seconds * rate)) / rate
    pitch = pick.uniform(90, 260) * (1 + pick.uniform(0.05, 0.2) * np.sin(2 * np.pi * pick.uniform(0.4, 1.4) * t))
    turns = 2 * np.pi * np.cumsum(pitch) / rate
    tones = sum(
        np.sin(n * turns + pick.uniform(0, 6)) / n ** pick.uniform(0.8, 1.6) for n in range(1, 9) if n * 300 < rate / 2
    )
    pulses = np.clip(0.55 + 0.6 * np.sin(2 * np.pi * pick.uniform(1.8, 4.0) * t), 0.02, 1)
    sound = np.stack([0.4 * tones / np.abs(tones).max() * pulses for _ in range(channels)], 1)
    sound += noise.normal(0, 0.006, sound.shape)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2").tobytes())


def _settings(pick: random.Random) -> dict[str, Any]:
    """Greedy in half of the cases; otherwise drawn with all that can be set."""
    penalty = pick.choice([{}, {}, {"repetition_penalty": 1.0}, {"repetition_penalty": 1.3}])
    if pick.random() < 0.5:
        return {**GREEDY, **penalty}
    settings: dict[str, Any] = {"do_sample": True, "subtalker_dosample": pick.random() < 0.8, **penalty}
    for prefix in ("", "subtalker_"):
        settings |= {
            f"{prefix}temperature": pick.choice([0.7, 0.9, 1.0, 1.4]),
            f"{prefix}top_k": pick.choice([0, 3, 50, 5000]),
            f"{prefix}top_p": pick.choice([0.5, 0.95, 1.0]),
        }
    return settings


def _case(pick: random.Random, kind: str, number: int, refs: dict[str, int]) -> dict[str, Any]:
    batch = pick.choice([1, 1, 1, 2, 3, 5])
    texts = [pick.choice(TEXTS) for _ in range(batch)]

    def each(choices: tuple[str | None, ...]) -> Any:
        drawn = [pick.choice(choices) for _ in range(batch)]
        return drawn[0] if batch == 1 or pick.random() < 0.4 else drawn

    # The official package takes None for all rows together, not for one of a list.
    languages = each(LANGUAGES)
    if isinstance(languages, list):
        languages = [name or "Auto" for name in languages]
    args: dict[str, Any] = {"text": texts if batch > 1 else texts[0], "language": languages}
    case: dict[str, Any] = {
        "id": f"case{number}",
        "method": {"custom_voice": "custom_voice", "voice_design": "voice_design", "base": "voice_clone"}[kind],
        "max_new_tokens": pick.choice([2, 3, 9, 24, 40]),
        "non_streaming_mode": pick.random() < 0.5,
        "settings": _settings(pick),
        "seed": pick.randrange(2**31),
        "args": args,
    }
    if kind == "custom_voice":
        args["speaker"] = each(SPEAKERS)
        args["instruct"] = each(INSTRUCTIONS)
    elif kind == "voice_design":
        args["instruct"] = each(DESIGNS)
    else:
        names = sorted(refs)
        if batch > 1 and pick.random() < 0.5:
            case["ref"] = [pick.choice(names) for _ in range(batch)]
            modes = [pick.random() < 0.4 for _ in range(batch)]
            args["x_vector_only_mode"] = modes
            args["ref_text"] = [None if mode else pick.choice(TRANSCRIPTS) for mode in modes]
            rates = {refs[name] for name in case["ref"]}
            stereo = any(name.endswith("stereo") for name in case["ref"])
        else:
            case["ref"] = pick.choice(names)
            args["x_vector_only_mode"] = pick.random() < 0.4
            args["ref_text"] = None if args["x_vector_only_mode"] else pick.choice(TRANSCRIPTS)
            rates, stereo = {refs[case["ref"]]}, case["ref"].endswith("stereo")
        # Stereo arrays raise officially, stereo files do not.
        case["pass_as"] = "path" if stereo or (len(rates) == 1 and pick.random() < 0.4) else "array"
    return case


def _long_case(name: str) -> dict[str, Any]:
    """More frames than the codec decodes at once."""
    return {
        "checkpoint": name, "id": "long", "method": "custom_voice", "max_new_tokens": 331, "non_streaming_mode": True,
        "settings": GREEDY, "seed": 1, "args": {"text": TEXTS[2], "language": "Chinese", "speaker": "vivian"},
    }  # fmt: skip


def _codec_cases(pick: random.Random, name: str, refs: dict[str, int], size: int) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    lengths = ([1], [2], [pick.randint(3, 80)], [pick.randint(1, 40) for _ in range(3)], [pick.randint(301, 420)])
    for number, counts in enumerate(lengths):
        codes = [[[pick.randrange(size) for _ in range(16)] for _ in range(count)] for count in counts]
        cases.append({"id": f"decode{number}", "method": "codec_decode", "codes": codes, "lengths": list(counts)})
    mono = sorted(ref for ref in refs if not ref.endswith("stereo"))
    for number in range(4):
        ref = pick.choice(mono)
        counts_cut: list[int | None] = [None, pick.randint(1, 40000)][: 1 + number % 2]
        cases.append(
            {"id": f"encode{number}", "method": "codec_encode", "items": [[ref, count] for count in counts_cut]}
        )
    return [{**case, "checkpoint": name, "id": f"{name}_{case['id']}"} for case in cases]


def make_plan(folder: Path, seed: int, cases_each: int) -> Path:
    """Draw the cases, write recordings and checkpoints of every kind and size; returns the path of the plan."""
    pick = random.Random(seed)
    (folder / "refs").mkdir(parents=True)
    refs: dict[str, int] = {}
    for number in range(6):
        rate, channels = pick.choice(RATES_HZ), 2 if number == 5 else 1
        name = f"ref{number}" + ("_stereo" if channels == 2 else "")
        seconds = pick.uniform(10.5, 13.0) if number == 0 else math.exp(pick.uniform(math.log(0.5), math.log(5.0)))
        _recording(folder / "refs" / f"{name}.wav", pick, seconds, rate, channels)
        refs[name] = rate
    checkpoints: dict[str, Any] = {}
    cases: list[dict[str, Any]] = []
    codec_cases: list[dict[str, Any]] = []
    wanted = [
        (kind, size, scale, dtype, full)
        for kind in ("custom_voice", "voice_design", "base")
        for size in ("1b7", "0b6")
        for scale, dtype, full in (("tiny", "float32", False), ("tiny", "bfloat16", False))
    ]
    wanted += [("custom_voice", "1b7", "tiny", "float32", True), ("custom_voice", "0b6", "small", "float32", False)]
    wanted += [("base", "1b7", "small", "float32", False)]
    for kind, size, scale, dtype, full in wanted:
        name = f"{kind}_{size}_{scale}_{dtype}" + ("_fullvocab" if full else "")
        recipe = {
            "kind": kind, "size": size, "seed": pick.randrange(10**6), "scale": scale,
            "eos_scale": round(pick.uniform(1.0, 2.6), 2), "full_text_vocab": full,
        }  # fmt: skip
        if name == "custom_voice_0b6_tiny_float32":
            recipe["eos_scale"] = 0.0
            cases.append(_long_case(name))
        make_demo_model(folder / "checkpoints" / name, **recipe)
        checkpoints[name] = {**recipe, "dtype": dtype}
        count = cases_each if scale == "tiny" and dtype == "float32" and not full else max(1, cases_each // 3)
        cases += [{"checkpoint": name, **_case(pick, kind, number, refs)} for number in range(count)]
        if dtype == "float32" and kind == "base":
            codec_cases += _codec_cases(pick, name, refs, 256 if scale == "tiny" else 2048)
    path = folder / "plan.json"
    plan = {"checkpoints": checkpoints, "cases": cases, "codec_cases": codec_cases}
    path.write_text(json.dumps(plan, ensure_ascii=False), encoding="utf-8")
    return path

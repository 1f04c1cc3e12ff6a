"""Makes the pocket voice: data, recogniser, codec, codes, talker, export, evaluation, each stage resumable.

``python -m training.pocket.run`` does all that is not done yet; ``--stages codec,codes`` some of it. A stage whose
result is there is passed over; to do it again, remove its result. Every training ends by the clock, none later than ten
minutes after its start.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from training.pocket import corpus as corpora
from training.pocket import evaluation, instructions, recogniser, scoring
from training.pocket.bpe import draw_texts, read_vocabulary, train_bpe, write_tokenizer
from training.pocket.codec_net import Codec
from training.pocket.codec_training import refine_decoder, train_codec
from training.pocket.codes import calibrate_level, encode_corpus, pitch_errors, resynthesise
from training.pocket.corpus import Corpus, make_shards
from training.pocket.espeak import Phone
from training.pocket.export import export
from training.pocket.plan import FULL, SMOKE_PLAN, Folder, Plan
from training.pocket.sentences import chinese, english
from training.pocket.sequences import Example, Sequences, lay_out
from training.pocket.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ
from training.pocket.talker_training import load_checkpoint, save_checkpoint, train

__all__ = ["STAGES", "STAGE_ORDER", "main"]


class _CodecTraining(TypedDict):
    """What both trainings of the codec are told alike."""

    time_limit_s: float
    device: torch.device
    seed: int
    log: Callable[[str], None]
    most_steps: int | None
    keep: Callable[[Codec], None]


class Run:
    """One run: a plan, a folder, a device."""

    def __init__(self, plan: Plan, folder: Folder, device: torch.device, workers: int) -> None:
        self.plan, self.folder, self.device, self.workers = plan, folder, device, workers
        folder.root.mkdir(parents=True, exist_ok=True)

    def log(self, text: str) -> None:
        """Say it and keep it."""
        stamped = f"{time.strftime('%H:%M:%S')} {text}"
        print(stamped, flush=True)
        with self.folder.log.open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")

    def data(self) -> None:
        """Speech of the other voices and of the nine speakers."""
        plan = self.plan
        self._shards("others", range(plan.other_shards))
        self._shards("speakers", range(plan.shards))

    def first_data(self) -> None:
        """The part of the data that the recogniser and the codec learn from."""
        self._shards("others", range(self.plan.other_shards))
        self._shards("speakers", range(self.plan.codec_shards))

    def recogniser(self) -> None:
        """The judge of the evaluation; a fiftieth of its data is held out."""
        if self.folder.recogniser.exists():
            return
        data = self._corpus(self.folder.others, self.plan.other_shards)
        held = range(0, len(data.utterances), 50)
        pairs = (
            (data.waves[item.start : item.start + item.samples], _symbols(data, index))
            for index, item in enumerate(data.utterances)
            if index % 50
        )
        model = recogniser.train(
            recogniser.Recordings(pairs),
            time_limit_s=self.plan.recogniser_s,
            device=self.device,
            seed=self.plan.seed,
            max_steps=self.plan.most_steps,
            log=self.log,
        )
        recogniser.save(model, self.folder.recogniser)
        heard = model.recognise([data.wave(index) for index in held])
        self.log(f"recogniser, held out: {_errors(data, held, heard)}")

    def codec(self) -> None:
        """Encoder, quantizer and decoder."""
        if self.folder.decoder.exists() and self.folder.encoder.exists():
            return
        data = self._corpus(self.folder.speech, self.plan.codec_shards)
        self.log(f"codec: {data.hours:.1f} h, {len(data.names)} labels")
        codec = train_codec(data, self.plan.shape, self.plan.codec, **self._codec_training())
        self._finish_codec(codec, data)

    def refine(self) -> None:
        """The decoder alone, further, on codes that stay as they are: for when a talker was trained already."""
        data = self._corpus(self.folder.speech, min(self.plan.codec_shards, self.plan.shards))
        codec = self._codec()
        codes = encode_corpus(codec, data, self.device)
        refine_decoder(codec, data, codes, self.plan.refining, **self._codec_training())
        self._finish_codec(codec, data)

    def codes(self) -> None:
        """Codes of everything."""
        if self.folder.codes.exists():
            return
        codec = self._codec()
        started = time.monotonic()
        codes = [
            encode_corpus(codec, Corpus(self.folder.speech, [number]), self.device)
            for number in range(self.plan.shards)
        ]
        np.save(self.folder.codes, np.concatenate(codes))
        hours = sum(map(len, codes)) * FRAME_SAMPLES / SAMPLE_RATE_HZ / 3600
        self.log(f"codes: {hours:.1f} h in {time.monotonic() - started:.0f} s")

    def codec_check(self, count: int = 120) -> None:
        """Pitch and phone errors of utterances of the last codec shard, which the codec has not heard."""
        data = Corpus(self.folder.speech, [self.plan.codec_shards])
        codec = self._codec()
        members = range(min(count, len(data.utterances)))
        waves = resynthesise(codec, data, members, self.device)
        cents = {name: round(value, 1) for name, value in pitch_errors(data, members, waves).items()}
        self.log(f"codec, median F0 error in cents: {json.dumps(cents)}")
        if self.folder.recogniser.exists():
            ear = recogniser.load(self.folder.recogniser, self.device)
            before = ear.recognise([data.wave(member) for member in members])
            self.log(f"codec, errors before: {_errors(data, members, before)}")
            self.log(f"codec, errors after: {_errors(data, members, ear.recognise(waves))}")

    def tokenizer(self) -> None:
        """The text tokenizer, from sentences and instructions drawn anew."""
        if (self.folder.tokenizer / "tokenizer_config.json").exists():
            return
        texts = draw_texts(
            (english.sentence, chinese.sentence),
            lambda source: instructions.draw(source).text,
            count=self.plan.vocabulary_lines,
            seed=self.plan.seed,
        )
        vocabulary = train_bpe(texts)
        write_tokenizer(self.folder.tokenizer, vocabulary)
        self.log(f"tokenizer: {len(vocabulary)} tokens")

    def talker(self) -> None:
        """Talker and code predictor."""
        if list(self.folder.talker.glob("*.safetensors")):
            return
        state = train(
            self._sequences(),
            self.plan.shape,
            time_limit_s=self.plan.talker_s,
            device=self.device,
            seed=self.plan.seed,
            log=self.log,
            settings=self.plan.talker,
            most_steps=self.plan.most_steps,
            checkpoint=self.folder.root / "talker.unfinished",
        )
        save_checkpoint(self.folder.talker, state)

    def export(self) -> None:
        """The model folder, and the codec's encoder beside it."""
        if self.folder.model.exists():
            return
        export(
            self.folder.model,
            load_checkpoint(self.folder.talker),
            {**load_file(self.folder.decoder), **load_file(self.folder.encoder)},
            self.folder.tokenizer,
            encoder_file=self.folder.root / "encoder.safetensors",
            shape=self.plan.shape,
            log=self.log,
        )

    def evaluation(self) -> None:
        """What the finished voice can do, in figures."""
        if (self.folder.evaluation / "figures.json").exists():
            return
        arguments = [str(self.folder.model), "--recogniser", str(self.folder.recogniser)]
        arguments += ["--out", str(self.folder.evaluation), *(["--quick"] if self.plan.most_steps else [])]
        evaluation.main(arguments)

    def _sequences(self) -> Sequences:
        started = time.monotonic()
        codes = np.load(self.folder.codes)
        examples = []
        for item in self._corpus(self.folder.speech, self.plan.shards, with_waves=False).utterances:
            first = item.start // FRAME_SAMPLES
            examples.append(
                Example(
                    item.line.text,
                    item.line.instruct,
                    item.line.language,
                    item.line.speaker,
                    codes[first : first + item.frames],
                    item.char_times_s,
                )
            )
        laid = lay_out(examples, read_vocabulary(self.folder.tokenizer), self.plan.shape, seed=self.plan.seed)
        self.log(f"talker: {len(examples)} utterances laid out in {time.monotonic() - started:.0f} s")
        return laid

    def _shards(self, voices: corpora.Voices, numbers: Sequence[int]) -> None:
        folder = self.folder.others if voices == "others" else self.folder.speech
        started = time.monotonic()
        hours = (
            sum(
                make_shards(
                    folder, numbers, seed=self.plan.seed, count=self.plan.lines, voices=voices, workers=self.workers
                )
            )
            / 3600
        )
        if hours:
            self.log(f"data: {hours:.1f} h of {voices} in {time.monotonic() - started:.0f} s")

    def _corpus(self, folder: Path, shards: int, *, with_waves: bool = True) -> Corpus:
        return Corpus(folder, range(shards), with_waves=with_waves)

    def _codec_training(self) -> _CodecTraining:
        return {
            "time_limit_s": self.plan.codec_s,
            "device": self.device,
            "seed": self.plan.seed,
            "log": self.log,
            "most_steps": self.plan.most_steps,
            "keep": lambda unfinished: self._save_codec(unfinished, ".unfinished"),
        }

    def _finish_codec(self, codec: Codec, data: Corpus, count: int = 200) -> None:
        step = max(1, len(data.utterances) // count)
        gain_db = calibrate_level(codec.eval(), data, range(0, len(data.utterances), step), self.device)
        self.log(f"codec: level raised by {gain_db:.2f} dB")
        self._save_codec(codec)

    def _save_codec(self, codec: Codec, suffix: str = "") -> None:
        tensors = codec.file_tensors()
        for path, prefix in ((self.folder.encoder, "encoder."), (self.folder.decoder, "decoder.")):
            part = {name: value for name, value in tensors.items() if name.startswith(prefix)}
            save_file(part, path.with_name(path.name + suffix))

    def _codec(self) -> Codec:
        codec = Codec(self.plan.shape)
        codec.load_file_tensors({**load_file(self.folder.decoder), **load_file(self.folder.encoder)})
        return codec.to(self.device).eval()


def _symbols(data: Corpus, index: int) -> list[str]:
    item = data.utterances[index]
    phones = [Phone(name, 0.0, 0.0, tone) for name, tone in item.phones]
    return recogniser.symbols_of(phones, item.line.language)


def _errors(data: Corpus, members: Sequence[int], heard: Sequence[list[str]]) -> str:
    """Error rates by language, and of fast, slow and whispered English phones."""
    groups: dict[str, list[scoring.Errors]] = {}
    for member, found in zip(members, heard, strict=True):
        line, wanted = data.utterances[member].line, _symbols(data, member)
        phones = scoring.phone_errors(wanted, found)
        style = "whisper" if line.style.whisper else "fast" if line.style.rate > 1.2 else "usual"
        groups.setdefault(f"{line.language} phones", []).append(phones)
        groups.setdefault(f"{style} phones", []).append(phones)
        if line.language == "chinese":
            groups.setdefault("syllables", []).append(scoring.syllable_errors(wanted, found))
            if not line.style.whisper and line.style.spread > 0.3:
                groups.setdefault("tones", []).append(scoring.tone_errors(wanted, found))
    shown = {
        name: f"{100 * sum(item.errors for item in group) / max(1, sum(item.length for item in group)):.2f} %"
        for name, group in sorted(groups.items())
    }
    return json.dumps(shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when all stages ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", help=f"some of {','.join(STAGES)}; all unless given", default=",".join(STAGE_ORDER))
    parser.add_argument("--folder", type=Path, default=Path("build/pocket"), help="where the files go")
    parser.add_argument("--smoke", action="store_true", help="tiny amounts, to see that every stage works")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that make speech")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.stages.split(",") if name not in STAGES]
    if unknown:
        print(f"no stage {', '.join(unknown)}; known: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    plan = SMOKE_PLAN if options.smoke else FULL
    run = Run(plan, Folder(options.folder), torch.device(options.device), options.workers)
    for name in options.stages.split(","):
        started = time.monotonic()
        STAGES[name](run)
        run.log(f"{name}: done in {time.monotonic() - started:.0f} s")
    return 0


STAGE_ORDER = ("data", "recogniser", "codec", "codec-check", "codes", "tokenizer", "talker", "export", "evaluation")
STAGES: dict[str, Callable[[Run], None]] = {
    "first-data": Run.first_data,
    "data": Run.data,
    "recogniser": Run.recogniser,
    "codec": Run.codec,
    "codes": Run.codes,
    "codec-check": Run.codec_check,
    "refine": Run.refine,
    "tokenizer": Run.tokenizer,
    "talker": Run.talker,
    "export": Run.export,
    "evaluation": Run.evaluation,
}


if __name__ == "__main__":
    raise SystemExit(main())

"""Run every case of a set of goldens through our own core, end to end, and compare. For development only.

``python scripts/check_goldens.py FOLDER`` takes a folder in the shared layout (``cases.json``, ``CHECKPOINT.npz``,
``codec.npz``, ``refs/*.wav``, ``tokens.json`` if there). Checkpoints are rebuilt from their seeds and must be the
recorded ones, bit for bit. Voices are encoded from the recordings by our own encoders, and codes are decoded to waves.
Each case gives one line: whether its codes are equal, and the largest error of each kind. Exit code 0 when all is equal
and within the tolerances, 3 when not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "synthesis"))

from codec_models import decoder_at, encoder_at, reference, speaker_at, wave_error  # noqa: E402
from golden_set import HIDDEN_TOLERANCE, Comparison, GoldenCase, GoldenSet, compare_case, worst  # noqa: E402

from toolkit.errors import EXIT_FAILS, EXIT_WELL  # noqa: E402
from toolkit.synthesis.codec_decoder import pad_code_rows, reference_samples  # noqa: E402
from toolkit.synthesis.codec_encoder import CodecEncoder  # noqa: E402
from toolkit.synthesis.config import ModelConfig  # noqa: E402
from toolkit.synthesis.demo_model import make_demo_model  # noqa: E402
from toolkit.synthesis.prompt import ClonedVoice, PromptBuilder  # noqa: E402
from toolkit.synthesis.talker import load_talker  # noqa: E402
from toolkit.synthesis.tokenizer import TextTokenizer  # noqa: E402

WAVE_TOLERANCE = 1e-4
SPEAKER_TOLERANCE = 1e-4
_TOLERANCES = {"wav": WAVE_TOLERANCE, "spk_embedding": SPEAKER_TOLERANCE}

Findings = Iterable[tuple[str, float]]


def main() -> int:
    """Check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", help="only the cases of this one")
    parser.add_argument("--work", type=Path, help="keep the rebuilt checkpoints here")
    parser.add_argument("--plain", action="store_true", help="use PyTorch's own matrix products (the slow twin)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    goldens = GoldenSet(options.folder)
    failed = total = 0
    with tempfile.TemporaryDirectory() as scratch:
        build = _Builds(goldens, options.work or Path(scratch))
        for label, findings in _all(goldens, build, options.checkpoint, not options.plain):
            found = worst(findings)
            bad = [name for name, error in found.items() if not error <= _TOLERANCES.get(name, HIDDEN_TOLERANCE)]
            total += 1
            failed += bool(bad)
            print(f"{'DIFFERS' if bad else 'equal  '} {label}  {_shown(found)}", flush=True)
    print(f"{total - failed} of {total} cases equal")
    return EXIT_FAILS if failed else EXIT_WELL


class _Builds:
    """Checkpoints of the set, each written once."""

    def __init__(self, goldens: GoldenSet, parent: Path) -> None:
        self._goldens = goldens
        self._parent = parent
        self._done: dict[str, Path] = {}

    def __call__(self, name: str) -> Path:
        if name not in self._done:
            kept = self._parent / name
            self._done[name] = kept if kept.exists() else self._goldens.build(name, self._parent)
        return self._done[name]


def _all(
    goldens: GoldenSet, build: Callable[[str], Path], only: str | None, pack: bool
) -> Iterator[tuple[str, Findings]]:
    for name in goldens.checkpoints:
        if only in (None, name):
            yield from _talker_cases(goldens, build(name), name, pack)
    for case in goldens.codec_cases("codec_decode"):
        if only in (None, case.checkpoint):
            yield f"codec/{case.id}", _decode_case(build(case.checkpoint), case, pack)
    for case in goldens.codec_cases("codec_encode"):
        if only in (None, case.checkpoint):
            yield f"codec/{case.id}", _encode_case(goldens, build(case.checkpoint), case, pack)
    if only is None and (goldens.folder / "tokens.json").exists():
        yield from _token_cases(goldens.folder / "tokens.json")


def _talker_cases(goldens: GoldenSet, folder: Path, name: str, pack: bool) -> Iterator[tuple[str, Findings]]:
    config = ModelConfig.read(folder)
    talker = load_talker(folder, config, pack=pack)
    builder = PromptBuilder(talker, TextTokenizer(folder, config))
    for case in goldens.cases(name):
        voices = _voices(goldens, folder, case, pack) if case.method == "voice_clone" else []
        compared = compare_case(talker, builder, case, lambda _, row, known=voices: known[row])
        yield f"{name}/{case.id}", [*compared.findings, *_sounds(folder, case, voices, compared, pack)]


def _voices(goldens: GoldenSet, folder: Path, case: GoldenCase, pack: bool) -> list[ClonedVoice]:
    """One voice per row, as the official package makes them: a list of recordings of one rate is encoded together."""
    names = [case.reference(row) for row in range(case.batch)]
    waves = {name: reference(goldens, name) for name in names}
    encoder, speaker = encoder_at(folder, pack=pack), speaker_at(folder)
    together = isinstance(case.spec["ref"], list) and len({goldens.recording(name)[1] for name in names}) == 1
    if together:
        codes = encoder.encode_rows([waves[name] for name in names])
    else:
        alone = {name: encoder.encode_rows([wave])[0] for name, wave in waves.items()}
        codes = [alone[name] for name in names]
    return [
        ClonedVoice(
            speaker.embed(waves[name][None])[0],
            None if case.vector_only(row) else codes[row],
            None if case.vector_only(row) else case.text_argument("ref_text", row),
        )
        for row, name in enumerate(names)
    ]


def _sounds(
    folder: Path, case: GoldenCase, voices: list[ClonedVoice], compared: Comparison, pack: bool
) -> Iterator[tuple[str, float]]:
    for row, codes in enumerate(compared.codes):
        frames = codes
        if voices:
            yield "spk_embedding", float(np.abs(voices[row].speaker.numpy() - case.needed(row, "spk_embedding")).max())
            stored, found = case.array(row, "ref_code"), voices[row].codes
            if stored is not None and found is not None:
                yield "ref_code", 0.0 if np.array_equal(found.numpy(), stored) else float("inf")
                frames = torch.cat((found, codes))
        wave = decoder_at(folder, pack=pack).decode_official(frames.T[None])[0]
        cut = reference_samples(len(frames) - len(codes), len(frames), wave.shape[0]) if len(frames) > len(codes) else 0
        yield "wav", wave_error(case, row, wave[cut:])


def _decode_case(folder: Path, case: GoldenCase, pack: bool) -> Iterator[tuple[str, float]]:
    lengths = [int(length) for length in case.listed("lengths")]
    rows = [torch.from_numpy(case.needed(row, "codes").astype(np.int64)) for row in range(len(lengths))]
    waves = decoder_at(folder, pack=pack).decode_official(pad_code_rows(rows))
    for row, (length, wave) in enumerate(zip(lengths, waves, strict=True)):
        yield "wav", wave_error(case, row, wave[: length * 1920])


def _encode_case(goldens: GoldenSet, folder: Path, case: GoldenCase, pack: bool) -> Iterator[tuple[str, float]]:
    encoder: CodecEncoder = encoder_at(folder, pack=pack)
    waves = [reference(goldens, name, samples) for name, samples in case.listed("items")]
    for row, codes in enumerate(encoder.encode_rows(waves)):
        yield "ref_code", 0.0 if np.array_equal(codes.numpy(), case.needed(row, "codes")) else float("inf")


def _token_cases(path: Path) -> Iterator[tuple[str, Findings]]:
    tokens = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        for situation, wanted in tokens["ids"].items():
            full, _, version = situation.partition("_version_")
            folder = Path(scratch) / full
            if not folder.exists():
                make_demo_model(folder, full_text_vocab=full == "full_vocab")
            config = dataclasses.replace(ModelConfig.read(folder), transformers_version=version or None)
            tokenizer = TextTokenizer(folder, config)
            found = [list(tokenizer.assistant(text).whole) for text in tokens["texts"]]
            yield f"tokens/{situation}", [("input_ids", 0.0 if found == wanted else float("inf"))]


def _shown(found: dict[str, float]) -> str:
    return "  ".join(f"{name} {error:.1e}" if error else f"{name} 0" for name, error in found.items())


if __name__ == "__main__":
    sys.exit(main())

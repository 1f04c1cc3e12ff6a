"""What is claimed of the fast path on a card, checked there with random weights in the true shapes.

``python benchmarks/card_checks.py [--size 1b7] [--frames 300] [--only equal,flat]``; a JSON object is the last line.
Without a card it runs on the tiny shapes, which shows that the checks themselves work. For speed there is
``qwen-audio bench``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from toolkit.synthesis.decoding import TorchBackend
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.operations import ChoiceRules, PlainOperations
from toolkit.synthesis.fast.path import TORCH_GRAPH
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.prompt import PromptBatch
from toolkit.synthesis.sampling import Sampling
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.speaking import Pipeline, Progress

ON_CARD = torch.cuda.is_available()
DEVICE = "cuda" if ON_CARD else "cpu"
SCALE: Any = "real" if ON_CARD else "tiny"
TEXT = "The train to the coast leaves at nine, and the coffee is still hot."
OTHERS = ["Short.", "今天天气很好，我们一起去公园散步吧。", "Three of us speak here, and none listens to the others."]
DRAWS = 100_000


def opened(options: argparse.Namespace, **given: Any) -> Speech:
    """A model of random weights."""
    with drawn_model(options.size, SCALE) as found:
        return load(found, device=DEVICE, seed=1, **given)


def on_path(speech: Speech, backend: Any) -> Pipeline:
    """The same weights on another path."""
    return Pipeline(speech.model, 300, backend)


def codes_of(speech: Speech, backend: Any, texts: Sequence[str], frames: int) -> list[np.ndarray]:
    """Greedy codes of texts side by side."""
    kept, speech._pipeline = speech._pipeline, on_path(speech, backend)
    try:
        settings = speech.sampling(max_new_tokens=frames + 1).greedy()
        results = speech.speak_many(
            list(texts), speaker="Ryan", seed=1, settings=settings, max_frames=frames, batch=len(texts)
        )
    finally:
        speech._pipeline = kept
    return [result.codes for result in results]


def equal(options: argparse.Namespace) -> dict[str, object]:
    """Greedy float32 codes of both graphs against the plain path's; and of a batch against each text alone."""
    torch.backends.cuda.matmul.allow_tf32 = False
    speech = opened(options, dtype="float32", codec_dtype="float32", path="plain")
    talker = speech.model.talker
    wanted = codes_of(speech, TorchBackend(talker), [TEXT], options.frames)[0]
    fast = FastBackend(talker)
    plain_graph = FastBackend(talker, path=Choice(TORCH_GRAPH, "asked for")) if ON_CARD else fast
    found: dict[str, object] = {"frames": options.frames}
    for name, backend in (("fused", fast), ("torch graph", plain_graph)):
        same = (codes_of(speech, backend, [TEXT], options.frames)[0] == wanted).all(1)
        found[name] = {"path": str(backend.path), "equal_frames": int(same.sum())}
    count = min(60, options.frames)
    for rows in (2, 4, 7):
        texts = [TEXT, *(OTHERS * 2)][:rows]
        together = codes_of(speech, fast, texts, count)
        alone = [codes_of(speech, fast, [text], count)[0] for text in texts]
        found[f"batch of {rows}"] = [int((a == b).all(1).sum()) for a, b in zip(together, alone, strict=True)]
    found["path afterwards"] = str(fast.path)
    return found


def cosine(options: argparse.Namespace) -> dict[str, object]:
    """Logits of the first step in BF16 on the fast path against the same weights and prompt in float32, plain."""
    speech = opened(options, dtype="bfloat16", path="fast")
    talker = speech.model.talker
    prompt = speech._requests.any_voice(TEXT, "Ryan", None, "auto", None, True, False, bounded=False).prompt(TEXT)
    settings = speech.sampling(max_new_tokens=8).greedy()
    with torch.inference_mode():
        state = FastBackend(talker, ahead=0).prefill(PromptBatch([prompt]), settings, 1)
        assert state.lease.engine is not None
        brief = talker.head(talker.stack.normed(state.lease.engine.buffers.last[:1])).float().flatten()
        exact = copy.deepcopy(talker).float()
        wide = replace(prompt, rows=prompt.rows.float(), trail=prompt.trail.float(), pad=prompt.pad.float())
        full = exact.head(TorchBackend(exact).prefill(PromptBatch([wide]), settings, 1).hidden).flatten()
    return {"cosine": round(float(torch.nn.functional.cosine_similarity(brief, full, dim=0)), 6)}


def unbiased(options: argparse.Namespace) -> dict[str, object]:
    """Draws of the fused kernel against the probabilities of the reference order: a chi-square test."""
    if not ON_CARD:
        operations: Any = PlainOperations()
    else:
        from toolkit.synthesis.fast.triton_operations import TritonOperations

        operations = TritonOperations(DEVICE)
    found: dict[str, object] = {}
    total = torch.zeros(2048, dtype=torch.int64)
    for seed in (77, 78, 79, 80):
        total += (counts := drawn(operations, seed))
        found[f"seed {seed}"] = judged(counts)
    return found | {"all": judged(total)}


GENERATOR = torch.Generator().manual_seed(5)
LOGITS = torch.randn(2048, generator=GENERATOR) * 2


def drawn(operations: Any, seed: int) -> torch.Tensor:
    """How often each of 2,048 tokens is drawn, of 100,000 draws of one seed."""
    vocab, sampling = 2048, Sampling(temperature=0.9, top_k=50, top_p=1.0)
    counts = torch.zeros(vocab, dtype=torch.int64)
    rows = 64
    rules = ChoiceRules.of([sampling] * rows, DEVICE)
    seeds = torch.full((rows,), seed, device=DEVICE)
    wide = LOGITS.to(DEVICE).expand(rows, -1).contiguous()
    for start in range(0, DRAWS, rows):
        counters = torch.arange(start, start + rows, device=DEVICE)
        tokens = operations.choose(wide, rules, seeds, counters)[: DRAWS - start]
        counts += torch.bincount(tokens.cpu(), minlength=vocab)
    return counts


def judged(counts: torch.Tensor) -> dict[str, object]:
    """A chi-square test against the probabilities in double precision."""
    kept = LOGITS.topk(50).indices
    wanted = torch.softmax(LOGITS[kept].double() / 0.9, 0) * int(counts.sum())
    seen = counts[kept].double()
    chi = float(((seen - wanted) ** 2 / wanted).sum())
    # Wilson and Hilferty's normal approximation of the chi-square distribution with 49 degrees of freedom.
    free = len(kept) - 1
    z = ((chi / free) ** (1 / 3) - (1 - 2 / (9 * free))) / math.sqrt(2 / (9 * free))
    return {
        "draws": int(counts.sum()),
        "outside_top_k": int(counts.sum() - counts[kept].sum()),
        "chi_square": round(chi, 2),
        "degrees": free,
        "p": round(0.5 * math.erfc(z / math.sqrt(2)), 4),
    }


def held() -> tuple[int, int]:
    """Allocated and reserved bytes."""
    return (torch.cuda.memory_allocated(), torch.cuda.memory_reserved()) if ON_CARD else (0, 0)


def flat(options: argparse.Namespace) -> dict[str, object]:
    """Fifty texts in a row under a cap of 6.1 GB with pieces of 128 frames: nothing grows."""
    speech = opened(options, audio_chunk_size=128, vram_limit="6.1GB" if ON_CARD else None, path="fast")
    after: list[tuple[int, int]] = []
    for number in range(50):
        speech.speak([TEXT, *OTHERS][number % 4], speaker="Ryan", seed=number, max_frames=20 + number % 40)
        after.append(held())
    peak = torch.cuda.max_memory_allocated() if ON_CARD else 0
    return {
        "runs": len(after),
        "held": [bytes_held for bytes_held, _ in after[::7]],
        "growth_bytes": [last - fourth for last, fourth in zip(after[-1], after[7], strict=True)],
        "peak_allocated": peak,
        "reserved": after[-1][1],
    }


def peak(options: argparse.Namespace) -> dict[str, object]:
    """Peak of one text with room for 4,096 positions, with the text table on the card and off it."""
    found: dict[str, object] = {}
    for on_cpu in (False, True):
        if ON_CARD:
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        before = held()[0]
        speech = opened(options, text_embedding_on_cpu=on_cpu, path="fast")
        loading, loaded = torch.cuda.max_memory_allocated() if ON_CARD else 0, held()[0]

        def stop(progress: Progress) -> None:
            if progress.frames >= 40:
                raise KeyboardInterrupt

        settings = speech.sampling(max_new_tokens=4000)
        with contextlib.suppress(KeyboardInterrupt):
            speech.speak(TEXT, speaker="Ryan", seed=1, settings=settings, max_frames=3999, on_progress=stop)
        found["text table on the CPU" if on_cpu else "all on the card"] = {
            "before": before,
            "loading": loading,
            "loaded": loaded,
            "held afterwards": held()[0],
            "peak": torch.cuda.max_memory_allocated() if ON_CARD else 0,
        }
        del speech
    return found


def sound(options: argparse.Namespace) -> dict[str, object]:
    """A stream against the whole text, and the codec's precisions against float32, of the trained pocket voice."""
    settings: Any = None
    exact, found = None, {}
    for codec in ("float32", "tf32", "bfloat16") if ON_CARD else ("float32",):
        speech = load("pocket", device=DEVICE, dtype="float32", codec_dtype=codec, path="fast")
        settings = settings or speech.sampling().greedy()
        given: dict[str, Any] = {"speaker": "ryan", "seed": 1, "settings": settings}
        whole = speech.speak(TEXT, **given).samples
        pieces = np.concatenate([samples for samples, _ in speech.stream(TEXT, **given)])
        exact = whole if exact is None else exact
        noise = float(np.mean((whole - exact) ** 2))
        found[codec] = {
            "codec": str(speech._pipeline.codec.path),
            "stream_off_by": float(np.abs(pieces - whole).max()),
            "snr_db": None if noise == 0 else round(10 * math.log10(float(np.mean(exact**2)) / noise), 1),
        }
    return found


def broken(options: argparse.Namespace) -> dict[str, object]:
    """A call that is stopped, one that fails and one without memory leave an engine that speaks as before."""
    speech = opened(options, path="fast")
    given: dict[str, Any] = {"speaker": "Ryan", "seed": 3, "max_frames": 16}
    wanted = speech.speak(TEXT, **given).codes
    found = {}
    for name, error in (("stopped", KeyboardInterrupt()), ("failed", ValueError("enough"))):

        def fail(progress: Progress, error: BaseException = error) -> None:
            if progress.frames >= 5:
                raise error

        with contextlib.suppress(KeyboardInterrupt, ValueError):
            speech.speak(TEXT, **given, on_progress=fail)
        found[name] = bool(np.array_equal(speech.speak(TEXT, **given).codes, wanted))
    stream = speech.stream(TEXT, **given)
    next(stream)
    stream.close()
    found["left"] = bool(np.array_equal(speech.speak(TEXT, **given).codes, wanted))
    if ON_CARD:
        free = torch.cuda.mem_get_info()[0]
        ballast = torch.empty(max(0, free - 300 * 2**20), dtype=torch.uint8, device=DEVICE)
        try:
            speech.speak_many([TEXT] * 64, speaker="Ryan", seed=1, max_frames=16, batch=64)
            found["full"] = "fitted"
        except Exception as error:  # noqa: BLE001 - what it is called is the finding
            found["full"] = type(error).__name__
        del ballast
        torch.cuda.empty_cache()
        found["after full memory"] = bool(np.array_equal(speech.speak(TEXT, **given).codes, wanted))
    return found


CHECKS: dict[str, Callable[[argparse.Namespace], dict[str, object]]] = {
    check.__name__: check for check in (equal, cosine, unbiased, flat, peak, sound, broken)
}


def main() -> int:
    """Run the checks; one that crashes does not keep the others from running."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("1b7", "0b6"), default="1b7")
    parser.add_argument("--frames", type=int, default=300, help="of the comparison with the plain path")
    parser.add_argument("--only", default=",".join(CHECKS), help=f"some of {','.join(CHECKS)}")
    options = parser.parse_args()
    names = options.only.split(",")
    if not set(names) <= set(CHECKS):
        parser.error(f"--only knows {', '.join(CHECKS)}, not {options.only}")
    found: dict[str, object] = {
        "device": torch.cuda.get_device_name() if ON_CARD else "CPU",
        "torch": torch.__version__,
    }
    for name in names:
        began = time.perf_counter()
        try:
            result: dict[str, object] = CHECKS[name](options)
        except Exception as error:  # noqa: BLE001 - the next checks are of use all the same
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
        if ON_CARD:
            # What a check leaves behind, and the cap of one of them, is not to be seen by the next.
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(1.0)
        found[name] = result
        print(f"{name} ({time.perf_counter() - began:.0f} s): {json.dumps(result)}", file=sys.stderr, flush=True)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

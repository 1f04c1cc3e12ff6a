"""Runs inside a peer's interpreter: a request on standard input, its figures as one line of JSON on standard output.

Needs torch and the peer, nothing of the toolkit. Random weights have the shapes of the request's configuration, and a
zeroed end-of-speech row, so that every call makes the frames that it may; they are made on the device.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

__all__ = ["PromptReader", "main"]

MODULES = {"qwen-tts": ("qwen_tts",), "faster-qwen3-tts": ("qwen_tts", "faster_qwen3_tts")}
SAMPLES_PER_FRAME = 1920
SAMPLES_PER_SECOND = 24000
CACHE_SLOTS = 2048
WARM_FRAMES = 8


class PromptReader:
    """In place of the text processor, which random weights do not need: fixed marks, and one token a character."""

    def __init__(self, im_start: int, im_end: int, assistant: int, vocab: int) -> None:
        self.start, self.end = (im_start, assistant, 198), (im_end, 198)
        self.next_turn = (im_start, assistant, 198)
        self.vocab = vocab

    def __call__(self, text: str, **options: object) -> dict[str, Any]:
        import torch

        turns = text.split("<|im_start|>")[1:]
        said = turns[0].split("\n", 1)[1].rsplit("<|im_end|>", 1)[0]
        ids = [*self.start, *(ord(letter) % min(self.vocab, 20000) for letter in said), *self.end]
        ids += self.next_turn if len(turns) > 1 else ()
        return {"input_ids": torch.tensor([ids])}


def random_model(request: Mapping[str, Any]) -> Any:
    """The official network in the shapes of the request, on the device."""
    import torch
    from qwen_tts import Qwen3TTSModel, Qwen3TTSTokenizer
    from qwen_tts.core import Qwen3TTSTokenizerV2Config, Qwen3TTSTokenizerV2Model
    from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSForConditionalGeneration

    device, dtype = torch.device(request["device"]), getattr(torch, request["dtype"])

    def built(network: Any, config: Any) -> Any:
        torch.set_default_dtype(dtype)
        try:
            with device:
                made = network._from_config(config, dtype=dtype, attn_implementation="sdpa")
        finally:
            torch.set_default_dtype(torch.float32)
        return made.to(device, dtype).eval()

    config = Qwen3TTSConfig(**_without_names(request["model_config"]))
    model = built(Qwen3TTSForConditionalGeneration, config)
    codec_config = Qwen3TTSTokenizerV2Config(**_without_names(request["codec_config"]))
    if getattr(codec_config.encoder_config, "rope_theta", None) is None:
        codec_config.encoder_config.rope_theta = 10000.0  # newer versions of the library no longer fill it in
    codec = built(Qwen3TTSTokenizerV2Model, codec_config)
    with torch.no_grad():
        model.talker.codec_head.weight[config.talker_config.codec_eos_token_id].zero_()
        # The codebook is a sum over its usage count, and an unused entry would be divided by almost nothing.
        for name, buffer in codec.named_buffers():
            if name.endswith("cluster_usage"):
                buffer.fill_(1.0)
    tokenizer = Qwen3TTSTokenizer()
    tokenizer.model, tokenizer.config, tokenizer.device = codec, codec.config, device
    model.load_speech_tokenizer(tokenizer)
    ids = request["model_config"]
    reader = PromptReader(
        ids["im_start_token_id"],
        ids["im_end_token_id"],
        ids["assistant_token_id"],
        config.talker_config.text_vocab_size,
    )
    return Qwen3TTSModel(model=model, processor=reader, generate_defaults={})


def stored_model(request: Mapping[str, Any]) -> Any:
    """The official network with the weights of a folder."""
    import torch
    from qwen_tts import Qwen3TTSModel

    return Qwen3TTSModel.from_pretrained(
        request["folder"],
        device_map=request["device"],
        dtype=getattr(torch, request["dtype"]),
        attn_implementation="sdpa",
    )


def graphed(model: Any, request: Mapping[str, Any]) -> Any:
    """The faster peer around the official network."""
    import torch
    from faster_qwen3_tts import FasterQwen3TTS
    from faster_qwen3_tts.predictor_graph import PredictorGraph
    from faster_qwen3_tts.talker_graph import TalkerGraph

    talker, config = model.model.talker, model.model.config.talker_config
    common = {"device": request["device"], "dtype": getattr(torch, request["dtype"])}
    predictor = PredictorGraph(
        talker.code_predictor,
        talker.code_predictor.model.config,
        config.hidden_size,
        do_sample=True,
        top_k=50,
        temperature=0.9,
        **common,
    )
    steps = TalkerGraph(talker.model, config, max_seq_len=CACHE_SLOTS, **common)
    made = FasterQwen3TTS(
        base_model=model, predictor_graph=predictor, talker_graph=steps, max_seq_len=CACHE_SLOTS, **common
    )
    made.warmup()
    return made


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of the peer."""
    import torch

    on_card = request["device"].startswith("cuda")
    if request["threads"] is not None:
        torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    began = time.perf_counter()
    model = stored_model(request) if request["folder"] else random_model(request)
    faster = request["peer"] == "faster-qwen3-tts"
    spoken = graphed(model, request) if faster else model
    load_s = time.perf_counter() - began
    speakers = sorted(model.get_supported_speakers() or [])
    voice = {
        "text": request["text"],
        "language": "Auto",
        "speaker": "serena" if "serena" in speakers or not speakers else speakers[0],
    }

    def wait() -> None:
        if on_card:
            torch.cuda.synchronize()

    def timed(call: Callable[[], Sequence[Sequence[float]]]) -> tuple[float, int]:
        wait()
        start = time.perf_counter()
        waves = call()
        wait()
        return time.perf_counter() - start, sum(len(wave) for wave in waves)

    def speak(frames: int, rows: int = 1) -> Any:
        words: dict[str, Any] = dict(voice) if rows == 1 else {name: [value] * rows for name, value in voice.items()}
        # The official package counts the choice that makes no frame.
        return spoken.generate_custom_voice(max_new_tokens=frames if faster else frames + 1, **words)[0]

    speak(WARM_FRAMES)
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    runs = [timed(lambda: speak(request["frames"])) for _ in range(request["repeats"])]
    found: dict[str, Any] = {
        "state": "measured",
        "reason": None,
        "load_s": round(load_s, 3),
        "warm": speed(statistics.median(run[0] for run in runs), runs[-1][1]),
        "memory": memory(on_card),
        "batches": [],
        "streams": [],
    }
    for rows in request["batches"]:
        seconds, samples = timed(partial(speak, request["frames"], rows))
        found["batches"].append({"rows": rows, **speed(seconds, samples)})
    if faster:
        found["streams"] = [stream(spoken, voice, request, chunk, wait) for chunk in request["chunks"]]
    return found


def stream(
    spoken: Any, voice: Mapping[str, str], request: Mapping[str, Any], chunk: int, wait: Callable[[], None]
) -> dict[str, Any]:
    """First sound and speed of a stream; the first of the streams is a warm-up."""
    firsts: list[float] = []
    totals: list[float] = []
    samples = 0
    for number in range(request["repeats"] + 1):
        wait()
        start, samples = time.perf_counter(), 0
        first: float | None = None
        pieces = spoken.generate_custom_voice_streaming(max_new_tokens=request["frames"], chunk_size=chunk, **voice)
        for piece, _rate, _told in pieces:
            first = time.perf_counter() - start if first is None else first
            samples += len(piece)
        if number and first is not None:
            firsts.append(first)
            totals.append(time.perf_counter() - start)
    return {
        "chunk_frames": chunk,
        "first_audio_ms": round(statistics.median(firsts) * 1000, 3),
        **speed(statistics.median(totals), samples),
    }


def speed(seconds: float, samples: int) -> dict[str, Any]:
    """The names of the toolkit's own figures."""
    frames, audio_s = samples / SAMPLES_PER_FRAME, samples / SAMPLES_PER_SECOND
    return {
        "total_s": round(seconds, 5),
        "frames": round(frames),
        "audio_s": round(audio_s, 4),
        "ms_per_frame": round(seconds * 1000 / frames, 4) if frames else None,
        "x_real_time": round(audio_s / seconds, 4),
        "rtf": round(seconds / audio_s, 5) if audio_s else None,
    }


def memory(on_card: bool) -> dict[str, int]:
    """Highest use so far, of the card since the warm-up, of the process since it began."""
    import torch

    if on_card:
        return {
            "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
            "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    status = "/proc/self/status"
    if not os.path.exists(status):
        return {}
    with open(status, encoding="utf-8") as lines:
        peak = next(line for line in lines if line.startswith("VmHWM"))
    return {"peak_resident_bytes": int(peak.split()[1]) * 1024}


def versions(modules: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that the modules come from."""
    owners = importlib.metadata.packages_distributions()
    names = [name for module in (*modules, "torch", "transformers") for name in owners.get(module, ())[:1]]
    return {name: importlib.metadata.version(name) for name in names}


def main() -> int:
    """One request, one answer."""
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the packages greet on standard output
    request = json.loads(sys.stdin.read())
    modules = MODULES[request["peer"]]
    answer: dict[str, Any]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        told = f"no module {', '.join(missing)} in {sys.executable}"
        answer = {"state": "not-installed", "reason": told}
    elif request["peer"] == "faster-qwen3-tts" and not request["device"].startswith("cuda"):
        answer = {"state": "not-here", "reason": "it needs a CUDA card", "versions": versions(modules)}
    else:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                answer = {**measure(request), "versions": versions(modules)}
            except Exception as error:  # noqa: BLE001 - whatever a foreign program raises is its answer
                told = " ".join(str(error).split())[:400]
                answer = {"state": "failed", "reason": f"{type(error).__name__}: {told}", "versions": versions(modules)}
    print(json.dumps(answer), file=answers)
    return 0


def _without_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the keys by which a library finds its class."""
    return {name: value for name, value in config.items() if name not in ("architectures", "model_type")}


if __name__ == "__main__":
    raise SystemExit(main())

"""Peak memory of loading a checkpoint, in a child process, against its weights. The last line is one JSON object.

    python benchmarks/load_memory.py --model-folder FOLDER

The checkpoint has the published shape of 1.7B custom voice and random weights; it is written to FOLDER unless it is
there (4.5 GB). The child loads a tiny model first, so that libraries and their buffers count as baseline; what the
process then holds at most, less the baseline, may exceed the weights by 300 MB. Weights are what is loaded (the codec's
encoder is not), in the dtype in which it is held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

__all__ = ["ALLOWED_EXTRA_BYTES", "main", "measure", "measure_in_child", "weight_bytes"]

ALLOWED_EXTRA_BYTES = 300 * 1000 * 1000


def weight_bytes(folder: Path, dtype_bytes: int, codec_dtype_bytes: int) -> int:
    """Bytes of the tensors that a loaded model holds: talker, predictor, codec decoder."""
    from toolkit.synthesis.weights import SafetensorsFile

    model = SafetensorsFile(folder / "model.safetensors").tensors.values()
    codec = SafetensorsFile(folder / "speech_tokenizer" / "model.safetensors").tensors.values()
    talker = sum(entry.element_count for entry in model if not entry.name.startswith("speaker_encoder."))
    decoder = sum(entry.element_count for entry in codec if entry.name.startswith("decoder."))
    return talker * dtype_bytes + decoder * codec_dtype_bytes


def measure(folder: Path, tiny: Path, dtype: str) -> dict[str, object]:
    """Load in this process; bytes."""
    import torch

    from toolkit.synthesis.resident import peak_resident_bytes
    from toolkit.synthesis.speaker import load

    load(tiny, device="cpu", dtype=dtype)
    baseline = psutil.Process().memory_info().rss
    before = peak_resident_bytes()
    model = load(folder, device="cpu", dtype=dtype)
    peak, held = peak_resident_bytes(), psutil.Process().memory_info().rss
    del model
    weights = weight_bytes(folder, getattr(torch, dtype).itemsize, torch.float32.itemsize)
    return {
        "dtype": dtype,
        "weight_bytes": weights,
        "baseline_bytes": baseline,
        "peak_before_bytes": before,
        "peak_bytes": peak,
        "held_bytes": held,
        "extra_bytes": peak - baseline - weights,
        "held_extra_bytes": held - baseline - weights,
    }


def measure_in_child(folder: Path, dtype: str) -> dict[str, int]:
    """Load in a fresh process; see :func:`measure`."""
    from toolkit.synthesis.demo_model import make_demo_model

    with tempfile.TemporaryDirectory() as scratch:
        tiny = make_demo_model(Path(scratch) / "tiny").folder
        command = [sys.executable, __file__, "--measure", str(folder), str(tiny), dtype]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    """Exit code 0 when the bound holds, 3 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, help="where the checkpoint is or shall be written")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--output", type=Path, help="also write the JSON object here")
    parser.add_argument("--measure", nargs=3, metavar=("FOLDER", "TINY", "DTYPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        folder, tiny, dtype = options.measure
        print(json.dumps(measure(Path(folder), Path(tiny), dtype)))
        return 0
    if options.model_folder is None:
        parser.error("--model-folder is needed")
    if not (options.model_folder / "model.safetensors").exists():
        from toolkit.synthesis.demo_model import make_demo_model

        make_demo_model(options.model_folder, "custom_voice", "1b7", seed=7, scale="real")
    results = [measure_in_child(options.model_folder, dtype) for dtype in options.dtypes]
    largest = max(result["extra_bytes"] for result in results)
    report = {
        "what": "peak resident memory of loading a 1.7B custom voice checkpoint on the CPU, random weights",
        "results": results,
        "allowed_extra_bytes": ALLOWED_EXTRA_BYTES,
        "largest_extra_bytes": largest,
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))
    return 0 if largest <= ALLOWED_EXTRA_BYTES else 3


if __name__ == "__main__":
    raise SystemExit(main())

"""Scan a generated log of any size in a child process: MB/s, seconds, peak memory. The last line is one JSON object.

    python benchmarks/scan_log.py --megabytes 1000

The log mixes what servers, installers and training runs print with the failing logs that lie beside the rules, so that
patterns hit, exceptions pile up and progress bars rewrite their lines.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["generate_log", "main", "scan"]

# Budget of the project: a log of 1 GB in under 20 s and under 300 MB of memory, on two cores of a few years ago.
BUDGET_S_PER_GB = 20.0
BUDGET_RSS_BYTES = 300 * 1000 * 1000
_BLOCK_BYTES = 16 * 1024 * 1024
_ORDINARY = (
    'INFO:     127.0.0.1:{port} - "POST /v1/audio/speech HTTP/1.1" 200 OK',
    "2026-03-{day:02d} {hour:02d}:{minute:02d}:{second:02d},{milli:03d} [INFO] tts: job {job} done in {share:.3f} s",
    "\rGenerating:  {percent:3d}%|{bar:<20}| {frames}/2048 [00:{second:02d}<00:{minute:02d}, {share:.2f}it/s]",
    "[step {job}] loss={share:.4f} grad_norm={share:.3f} lr=1.0e-05 tokens/s={frames}",
    '  File "/srv/tts/app/pipeline.py", line {frames}, in run_{percent}',
    "    return self._call_impl(*args, **kwargs)",
    "D:\\AI\\ComfyUI\\custom_nodes\\node_{percent}\\nodes.py:{frames}: UserWarning: value {share:.3f} clipped",
    "第 {job} 条文本合成完成，用时 {share:.2f} 秒，共 {frames} 帧",
    '{{"level":"info","ts":{share:.6f},"msg":"request served","bytes":{frames},"path":"/audio/{job}.wav"}}',
    "\x1b[32mINFO\x1b[0m [vllm] Avg generation throughput: {share:.1f} tokens/s, Running: {percent} reqs",
    "Downloading model-{percent:05d}-of-00100.safetensors: {percent}%  {frames} MB / 3833 MB",
    "",
)


def generate_log(
    path: Path, megabytes: int, *, failing_logs: list[str], failure_every_lines: int = 400, seed: int = 7
) -> None:
    """Write a log of ``megabytes`` (10^6 bytes). A failing log is put in about every ``failure_every_lines`` lines."""
    block = _block(random.Random(seed), failing_logs, failure_every_lines)
    left = megabytes * 1_000_000
    with path.open("wb") as stream:
        while left > 0:
            stream.write(block[:left])
            left -= len(block)


def _block(choose: random.Random, failing_logs: list[str], failure_every_lines: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for line in _lines(choose, failing_logs, failure_every_lines):
        parts.append(line.encode() + b"\n")
        size += len(parts[-1])
        if size >= _BLOCK_BYTES:
            return b"".join(parts)
    raise AssertionError("the lines never end")


def _lines(choose: random.Random, failing_logs: list[str], failure_every_lines: int) -> Iterator[str]:
    while True:
        if failing_logs and choose.random() < 1 / failure_every_lines:
            yield choose.choice(failing_logs)
        percent = choose.randrange(100)
        yield choose.choice(_ORDINARY).format(
            port=choose.randrange(30_000, 60_000),
            day=choose.randrange(1, 29),
            hour=choose.randrange(24),
            minute=choose.randrange(60),
            second=choose.randrange(60),
            milli=choose.randrange(1000),
            job=choose.randrange(10**6),
            share=choose.random() * 10,
            frames=choose.randrange(2048),
            percent=percent,
            bar="█" * (percent // 5),
        )


def scan(path: Path) -> dict[str, object]:
    """Scan in this process, with the whole catalogue; figures of time and memory."""
    from toolkit.synthesis.resident import peak_resident_bytes
    from troubleshoot.catalogue import load_catalogue
    from troubleshoot.evidence import Matcher
    from troubleshoot.scanner import scan_path

    started = time.perf_counter()
    matcher = Matcher(load_catalogue(plugins=False, check_links=False))
    ready, cpu = time.perf_counter(), time.process_time()
    result = scan_path(path, matcher.patterns)
    seconds, cpu_s = time.perf_counter() - ready, time.process_time() - cpu
    size = path.stat().st_size
    return {
        "megabytes": round(size / 1e6, 1),
        "rules": len(matcher.catalogue),
        "patterns": len(matcher.patterns.patterns),
        "load_s": round(ready - started, 3),
        "scan_s": round(seconds, 3),
        "cpu_s": round(cpu_s, 3),
        "megabytes_per_s": round(size / 1e6 / seconds, 1),
        "peak_rss_mb": round(peak_resident_bytes() / 1e6, 1),
        "lines": result.lines,
        "hits": len(result.hits),
        "exceptions": len(result.exceptions),
    }


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the budgets hold, 1 when one is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the log, 10^6 bytes each")
    parser.add_argument("--failure-every", type=int, default=400, help="lines between two failing logs; 0 for none")
    parser.add_argument("--log", type=Path, help="scan this file instead of a generated one")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(scan(options.child)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = options.log or Path(folder) / "mixed.log"
        if not options.log:
            generate_log(
                path,
                options.megabytes,
                failing_logs=_failing_logs() if options.failure_every else [],
                failure_every_lines=options.failure_every or 1,
            )
        command = [sys.executable, __file__, "--child", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    within_s = figures["scan_s"] <= BUDGET_S_PER_GB * figures["megabytes"] / 1000
    figures["within_budget"] = within = within_s and figures["peak_rss_mb"] * 1e6 <= BUDGET_RSS_BYTES
    print(f"{figures['megabytes']} MB, {figures['rules']} rules, {figures['patterns']} patterns")
    print(f"{figures['scan_s']} s, {figures['megabytes_per_s']} MB/s, peak {figures['peak_rss_mb']} MB of memory")
    print(json.dumps(figures))
    return 0 if within else 1


def _failing_logs() -> list[str]:
    from troubleshoot.catalogue import load_catalogue

    catalogue = load_catalogue(plugins=False, check_links=False)
    return [sample.log for _, samples in catalogue.samples() for sample in samples.hit if sample.log]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    raise SystemExit(main())

"""The setup's tasks: the doctor's rows, forecasts, a download that is paused and resumed, the proof, the files."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from toolkit.errors import BadModelFolder, BadOutput, GpuUnavailable, UsageError
from toolkit.probe.gpu_sample import Sample
from toolkit.synthesis import hub
from toolkit.synthesis.pocket_voice import FOLDER
from toolkit.synthesis.speech_config import read_config
from toolkit.widgets.jobs import Work, Worker
from toolkit.widgets.setup import fetching, looking, planning, speaking
from toolkit.widgets.setup.card import Card
from toolkit.widgets.setup.writing import start_script, write_setup
from troubleshoot.facts import NA

COMMIT = "a" * 40
REPOSITORY = "someone/small-voice"


@pytest.fixture
def work() -> Work:
    """What a task is given, with nobody who listens."""
    return Work("test", lambda _: None, {})


def card_of(gigabytes: float) -> dict[str, object]:
    return Card("a card", "cuda", int(gigabytes * 1e9), (8, 9)).to_json()


def test_the_rows_of_the_doctor_come_with_reason_and_are_looked_at_again(work: Work) -> None:
    report = looking.look(work)
    assert json.loads(json.dumps(report)) == report
    rows = {row["id"]: row for row in report["rows"]}
    assert {"graphics-card", "torch-version", "disk"} <= set(rows)
    assert {label for label, _, _ in rows["disk"]["details"]} >= {"needed", "why"}
    assert report["can_speak"] in (True, False)
    # A row is measured anew: what was wrong in the facts is right afterwards.
    report["file"]["facts"]["disk.free_gb"] = 0.5
    again = looking.look_again(work, report, "disk")
    fresh = next(row for row in again["rows"] if row["id"] == "disk")
    assert not fresh["found"].startswith("0.5 ")
    kept = "transformers.version", "torch.version"
    assert all(again["file"]["facts"].get(name) == report["file"]["facts"].get(name) for name in kept)
    with pytest.raises(UsageError, match="no row 'moon'"):
        looking.look_again(work, report, "moon")


@pytest.mark.parametrize(
    ("gigabytes", "advice", "large"),
    [(4.8, "0.6B-CustomVoice", "tight"), (2.0, "pocket", "too-big")],
)
def test_the_largest_model_that_fits_is_advised(work: Work, gigabytes: float, advice: str, large: str) -> None:
    found = planning.suit(work, card_of(gigabytes))
    assert found["advice"] == advice
    verdicts = {one["name"]: one["verdict"] for one in found["models"]}
    assert (verdicts["pocket"], verdicts["1.7B-CustomVoice"]) == ("fits", large)
    assert len(verdicts) == 6
    downloads = {one["name"]: one["download_bytes"] for one in found["models"]}
    assert (downloads["pocket"], downloads["0.6B-Base"]) == (0, 2_530_000_000)


def test_without_a_card_the_pocket_voice_is_advised(work: Work) -> None:
    assert planning.suit(work, Card("", "cpu", 64 * 10**9).to_json())["advice"] == "pocket"


def test_the_forecast_follows_the_limits(worker: Worker) -> None:
    card = Card("", "cpu", 8 * 10**9).to_json()
    job = worker.run(planning.follow_limits, card=card, model="pocket", precision="auto", batch=1)
    for count, characters in enumerate((80, 40, 20), 1):
        job.tell("limits", {"audio_chunk_size": 300, "max_text_length": characters})
        end = time.monotonic() + 20
        while len(job.partials) < count and time.monotonic() < end and not job.finished:
            time.sleep(0.02)
            worker.drain()
    job.cancel()
    job.wait(5)
    needs = [part.value["need_bytes"] for part in job.partials]
    assert needs == sorted(set(needs), reverse=True)
    assert len(needs) == 3
    assert [part.value["max_text_length"] for part in job.partials] == [80, 40, 20]
    assert sum(count for _, count in job.partials[0].value["lines"]) == needs[0]
    assert job.state == "cancelled"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as one model needs; ``rate`` is bytes a second, None for all at once."""

    protocol_version = "HTTP/1.1"
    rate: int | None = None
    ranges: list[str]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/"):
            names = [one.relative_to(FOLDER).as_posix() for one in sorted(FOLDER.rglob("*")) if one.is_file()]
            sizes = {name: (FOLDER / name).stat().st_size for name in names}
            tree = [{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()]
            info = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            data = json.dumps(tree if "/tree/" in path else info).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data if body else b"")
            return
        name = re.split("/resolve/[^/]+/", path)[-1]
        data = (FOLDER / name).read_bytes()
        etag = hashlib.sha256(data).hexdigest() if name.endswith(".safetensors") else name.replace("/", "-")
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        if body and begin:
            type(self).ranges.append(name)
        self.send_response(206 if begin else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        step = 64 * 1024
        try:
            for place in range(begin, len(data) if body else 0, step):
                self.wfile.write(data[place : place + step])
                if type(self).rate:
                    time.sleep(step / type(self).rate)
        except OSError:
            self.close_connection = True


@pytest.fixture
def served() -> Iterator[tuple[type[Hub], str]]:
    """A hub on loopback."""
    kind = type("OneHub", (Hub,), {"ranges": [], "rate": 5_000_000})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kind, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_download_is_paused_and_goes_on_where_it_was(served: tuple[type[Hub], str], tmp_path: Path) -> None:
    kind, address = served
    own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    worker = Worker("fetch", environment=own)
    blobs = tmp_path / "hf" / "hub" / "models--someone--small-voice" / "blobs"

    def partly() -> int:
        return sum(path.stat().st_size for path in blobs.glob("*.part")) if blobs.is_dir() else 0

    try:
        job = worker.run(fetching.fetch, model=REPOSITORY)
        end = time.monotonic() + 20
        while partly() < 4_000_000 and time.monotonic() < end and not job.finished:
            time.sleep(0.02)
        worker.drain()
        assert job.state == "running", job.error
        assert job.progress.text == "setup.model.fetching"
        job.cancel()
        job.wait(5)
        assert job.state == "cancelled"
        assert partly() >= 4_000_000
        pid = worker.pid
        kind.rate = None
        result = worker.run(fetching.fetch, model=REPOSITORY).wait(30).result
        assert worker.pid == pid is not None
    finally:
        worker.close()
    assert "model.safetensors" in kind.ranges
    assert {row["verdict"] for row in result["files"]} == {"ok"}
    assert (Path(result["folder"]) / "model.safetensors").read_bytes() == (FOLDER / "model.safetensors").read_bytes()
    assert (result["name"], result["kind"]) == (REPOSITORY, "custom_voice")


def test_a_part_that_is_not_of_the_file_is_thrown_away(served: tuple[type[Hub], str], tmp_path: Path) -> None:
    kind, address = served
    kind.rate = None
    worker = Worker("fetch", environment={"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"})
    blobs = tmp_path / "hub" / "models--someone--small-voice" / "blobs"
    blobs.mkdir(parents=True)
    digest = hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
    part = blobs / f"{digest}.part"
    part.write_bytes(bytes(1000))
    try:
        failed = worker.run(fetching.fetch, model=REPOSITORY).wait(30)
        assert failed.error is not None
        assert failed.error.kind == "DownloadFailed"
        assert "hash" in failed.error.message
        assert not part.exists()
    finally:
        worker.close()


def test_a_damaged_folder_is_told_by_file(work: Work, tmp_path: Path) -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(FOLDER)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(FOLDER)).write_bytes(path.read_bytes())
    assert fetching.fetch(work, str(tmp_path))["name"] == tmp_path.name
    os.truncate(tmp_path / "model.safetensors", 1_000_000)
    with pytest.raises(BadModelFolder, match=r"model\.safetensors"):
        fetching.fetch(work, str(tmp_path))


def test_unfinished_files_count_as_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_cache_folder", lambda _: tmp_path)
    assert hub.downloaded_bytes("0.6B-Base") == (0, 2_530_000_000)
    for name in ("models--Qwen--Qwen3-TTS-12Hz-0.6B-Base/blobs", "._____temp/Qwen/Qwen3-TTS-12Hz-0___6B-Base"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.incomplete").write_bytes(bytes(1000))
    assert hub.downloaded_bytes("0.6B-Base")[0] == 1000
    assert hub.downloaded_bytes("0.6B-Base", source="modelscope")[0] == 1000
    assert hub.downloaded_bytes("someone/else") == (0, None)


def sample(time_s: float, percent: float | NA, used: int = 5 * 10**9) -> Sample:
    none = NA("not told")
    return Sample(time_s, "", 0, percent, none, used, 8 * 10**9, none, none, none, none, none, none, none)


class Meter:
    """A card whose utilisation is told."""

    def __init__(self, percents: list[float]) -> None:
        self.percents = percents
        self.taken = 0
        self.closed = False

    def read(self) -> Sample:
        self.taken += 1
        return sample(self.taken * 0.05, self.percents[(self.taken - 1) % len(self.percents)])

    def close(self) -> None:
        self.closed = True


def test_a_card_is_watched_while_it_speaks() -> None:
    meter = Meter([80.0])
    with speaking.CardWatch(0, lambda _: meter) as watched:
        time.sleep(0.3)
    proof = watched.proof()
    assert meter.closed
    assert proof["sample_count"] == meter.taken >= 3
    assert (proof["mean_percent"], proof["healthy_share"], proof["verdict"]) == (80.0, 1.0, "steady")
    assert (proof["memory_peak_bytes"], proof["problem"]) == (5 * 10**9, "")


def test_a_card_that_cannot_be_watched_does_not_stop_the_speech() -> None:
    def refuse(_: int) -> Meter:
        raise GpuUnavailable("NVML does not start")

    with speaking.CardWatch(0, refuse) as watched:
        pass
    assert watched.proof()["problem"] == "NVML does not start"
    assert watched.proof()["mean_percent"] is None
    assert speaking.card_proof([sample(0.0, NA("x"))])["mean_percent"] is None


def test_weights_are_counted_by_the_dtype_that_they_have() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False).bfloat16(), torch.nn.Linear(2, 1, bias=False))
    assert speaking.weight_bytes(net) == {"bfloat16": 16, "float32": 8}


SUMMARY = {"title": "<b>", "subtitle": "x", "columns": ["a", "b"], "rows": [["<script>", "1"]], "next": "n"}
CONFIG = {"schema": 1, "model": "pocket", "speaker": "serena", "why": {"precision": "so"}}


def test_three_files_are_written_and_none_is_replaced_unasked(work: Work, tmp_path: Path) -> None:
    folder = tmp_path / "a voice"
    made = write_setup(work, str(folder), CONFIG, "python", SUMMARY, windows=False)
    names = ["config.yaml", "setup-summary.html", "speak.sh"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert read_config(folder / "config.yaml").speaker == "serena"
    assert (folder / "speak.sh").stat().st_mode & stat.S_IXUSR
    page = (folder / "setup-summary.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert made["command"] == f"'{folder / 'speak.sh'}' 'Hello.'"
    (folder / "config.yaml").unlink()
    before = (folder / "speak.sh").read_bytes()
    with pytest.raises(BadOutput, match=r"speak\.sh"):
        write_setup(work, str(folder), CONFIG, "python", SUMMARY, windows=False)
    assert not (folder / "config.yaml").exists()
    write_setup(work, str(folder), CONFIG, "other python", SUMMARY, overwrite=True, windows=False)
    assert (folder / "speak.sh").read_bytes() != before
    with pytest.raises(UsageError, match="audio_chunk_size is 0"):
        write_setup(work, str(folder), {**CONFIG, "audio_chunk_size": 0}, "python", SUMMARY, overwrite=True)


def test_the_start_script_hands_on_what_it_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    python = folder / "my python"
    python.write_text('#!/bin/sh\nfor one in "$@"; do echo "[$one]"; done\n')
    python.chmod(0o755)
    script = folder / "speak.sh"
    script.write_text(start_script(str(python), windows=False))
    script.chmod(0o755)
    told = subprocess.run([script, "two words", "--output", "x.wav"], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [
        "[-m]", "[toolkit.cli]", "[speak]", "[--config]", f"[{folder / 'config.yaml'}]", "[two words]", "[--output]",
        "[x.wav]",
    ]  # fmt: skip
    for line in start_script("C:\\my python\\python.exe", windows=True).splitlines()[-1:]:
        assert line == '"C:\\my python\\python.exe" -m toolkit.cli speak --config "%~dp0config.yaml" %*'

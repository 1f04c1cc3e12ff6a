"""Every command: exit codes, only JSON with --json, pages, and input from files, standard input and bundles."""

from __future__ import annotations

import json
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import FACTS, LOG, ROOT, Ran, Run

from toolkit.errors import GpuUnavailable
from toolkit.probe import watch as watch_module
from toolkit.probe.gpu_sample import Sample
from troubleshoot.catalogue import Catalogue
from troubleshoot.facts import NA

GOOD, BAD = FACTS / "healthy-rtx-4090.json", FACTS / "rtx-5090-cu121.json"
SERVICE = ROOT / "docs" / "examples" / "broken_service"


@pytest.fixture
def a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that sees twelve seconds of a card that hardly works."""

    def samples(*_: object, **__: object) -> Iterator[Sample]:
        for second in range(12):
            yield Sample(
                float(second), "2026-11-24T09:30:00Z", 0, 20.0, 5.0, 6 * 2**30, 24 * 2**30, 2520.0, 10501.0, 120.0,
                450.0, 55.0, "P2", (),
            )  # fmt: skip

    monkeypatch.setattr(watch_module, "watch", samples)


def commands(log: Path, saved: Path, tmp_path: Path) -> dict[str, tuple[list[object], int, str]]:
    reports = tmp_path / "reports.jsonl"
    report = {
        "id": "r1", "family": "driver-cuda", "cause": "cpu-only-torch-wheel", "log": LOG, "user_words": "", "env": {},
    }  # fmt: skip
    reports.write_text(json.dumps(report) + "\n", encoding="utf-8")
    return {
        "doctor": (["doctor", "--facts", GOOD], 0, "doctor"),
        "doctor, failing": (["doctor", "--facts", BAD], 3, "doctor"),
        "compare": (["doctor", "--compare", GOOD, BAD], 4, "comparison"),
        "diagnose": (["diagnose", log], 3, "diagnosis"),
        "diagnose, not known": (["diagnose", "--words", "the weather is fine"], 0, "diagnosis"),
        "recheck": (["recheck", saved, log], 3, "recheck"),
        "recheck, unclear": (["recheck", saved], 4, "recheck"),
        "watch": (["watch"], 4, "watch"),
        "bundle": (["bundle", log, "--no-doctor", "--preview"], 0, "bundle"),
        "rules list": (["rules", "list"], 0, "rules"),
        "rules show": (["rules", "show", "cpu-only-torch-wheel"], 0, "rule"),
        "rules eval": (["rules", "eval", reports], 0, "rules-eval"),
    }


NAMES = [
    "doctor", "doctor, failing", "compare", "diagnose", "diagnose, not known", "recheck", "recheck, unclear", "watch",
    "bundle", "rules list", "rules show", "rules eval",
]  # fmt: skip


@pytest.fixture
def command(
    log: Path, saved: Path, tmp_path: Path, a_card: None, request: pytest.FixtureRequest
) -> tuple[list[object], int, str]:
    return commands(log, saved, tmp_path)[request.param]


@pytest.mark.parametrize("command", NAMES, indirect=True)
def test_json_is_all_that_is_printed(run: Run, command: tuple[list[object], int, str]) -> None:
    words, code, kind = command
    ran = run(*words, "--json")
    assert ran.code == code
    assert (ran.json["schema"], ran.json["kind"]) == (1, kind)
    assert ran.err == ""


@pytest.mark.parametrize("command", NAMES, indirect=True)
def test_text_is_plain_when_piped_and_80_columns_wide(run: Run, command: tuple[list[object], int, str]) -> None:
    words, code, _ = command
    ran = run(*words)
    assert ran.code == code
    assert "\x1b" not in ran.out
    assert ran.err == ""
    wide = [line for line in ran.out.split("\n") if len(line) > 80 and "$ " not in line and not line.startswith("    ")]
    assert wide == []


@pytest.mark.parametrize("command", NAMES, indirect=True)
def test_a_page_is_written_beside(run: Run, command: tuple[list[object], int, str], tmp_path: Path) -> None:
    words, code, _ = command
    page = tmp_path / "page.html"
    ran = run(*words, "--json", "--html", page)
    assert (ran.code, ran.line) == (code, f"wrote {page}")
    assert ran.json["schema"] == 1
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.endswith("</html>\n")


def test_the_rules_are_checked_with_their_samples(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = Catalogue.samples  # all of them take long, and have a test of their own
    monkeypatch.setattr(
        Catalogue, "samples", lambda self: [pair for pair in every(self) if pair[0].id == "silent-output"]
    )
    own = tmp_path / "rules" / "numerics"
    own.mkdir(parents=True)
    text = (ROOT / "tests/doctor/rules/numerics/silent-output.yaml").read_text(encoding="utf-8")
    (own / "silent-output.yaml").write_text(text, encoding="utf-8")
    samples = (
        "schema: 1\nrule: silent-output\nhit: [{name: a, words: nothing of the kind}]\nmiss: [{name: b, words: x}]\n"
    )
    (own / "silent-output.samples.yaml").write_text(samples, encoding="utf-8")
    ran = run("rules", "check", tmp_path / "rules", "--json")
    assert ran.code == 3
    assert ran.json["kind"] == "rules-check"
    assert {"rule": "silent-output", "sample": "a", "wanted": "hit"}.items() <= ran.json["failing"][-1].items()
    assert run("rules", "list", "--rules", tmp_path / "rules", "--family", "numerics").out.count("silent-output") == 1


def test_every_help_text_comes(run: Run) -> None:
    for words in ([], ["doctor"], ["diagnose"], ["recheck"], ["watch"], ["bundle"], ["rules"], ["rules", "eval"]):
        ran = run(*words, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert "Usage: qwen-audio" in ran.out


def test_the_version(run: Run) -> None:
    assert run("--version") == Ran(0, "qwen-audio 0.1.0\n", "")


# --- diagnose


def first(ran: Ran) -> str:
    return str(ran.json["findings"][0]["rule"])


def test_standard_input(run: Run) -> None:
    ran = run("diagnose", "-", "--json", stdin=LOG.encode())
    assert (ran.code, first(ran)) == (3, "cpu-only-torch-wheel")
    assert ran.json["logs"][0]["name"] == "-"


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-8-sig", "gb18030"])
def test_a_log_of_a_windows_console(run: Run, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "日志.log"
    path.write_bytes(
        ("服务已启动，正在加载模型\r\n" * 5 + LOG.replace("\n", "\r\n") + "错误：合成失败\r\n").encode(encoding)
    )
    ran = run("diagnose", path, "--json")
    assert (ran.code, first(ran)) == (3, "cpu-only-torch-wheel")


def test_a_log_with_colours_and_progress_bars(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "coloured.log"
    bars = "".join(f"\rLoading: {share}%|████" for share in range(0, 101, 5))
    coloured = LOG.replace("AssertionError", "\x1b[31;1mAssertionError\x1b[0m").replace(
        "CUDA enabled", "\x1b[4mCUDA\x1b[0m enabled"
    )
    path.write_text(f"\x1b]0;title\x07{bars}\n{coloured}", encoding="utf-8")
    ran = run("diagnose", path)
    assert ran.code == 3
    assert "cpu-only-torch-wheel" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("words", ["it sounds robotic and never stops", "生成语音有杂音/断续"])
def test_words_alone(run: Run, words: str) -> None:
    ran = run("diagnose", "--words", words, "--json")
    assert ran.code in (0, 3)
    assert ran.json["findings"]
    assert ran.json["inquiry"]["words"] == words


def test_facts_that_are_told(run: Run) -> None:
    ran = run("diagnose", "--fact", "gpu=RTX 4090", "--fact", "torch=2.8.0+cpu", "--fact", "gpu.memory_gb=24", "--json")
    assert first(ran) == "cpu-only-torch-wheel"
    assert (ran.json["facts"]["gpu.cc"], ran.json["facts"]["gpu.memory_gb"]) == ("8.9", 24)


def test_facts_from_a_file(run: Run) -> None:
    ran = run("diagnose", "--facts", FACTS / "cpu-wheel-windows.json", "--json")
    assert (ran.code, first(ran)) == (3, "cpu-only-torch-wheel")


def test_a_recording(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(b"\0" * 96_000)
    ran = run("diagnose", "--audio", path, "--text", "Hello there.", "--json")
    measures = ran.json["inquiry"]["audio_measures"]
    assert (measures["audio.silent"], measures["audio.duration_s"]) == (True, 2.0)
    assert ran.json["findings"]


def test_a_service_folder(run: Run) -> None:
    ran = run("diagnose", "--service", SERVICE, "--json")
    assert ran.json["facts"]["service.cleanup_flag"] is True
    assert ran.json["facts"]["service.audio_chunk_size"] == 256
    assert ran.json["inquiry"]["target"] == {"service": str(SERVICE)}
    assert (ran.code, first(ran)) == (3, "cleanup-switch-ineffective")


def test_a_bundle_of_another_machine(run: Run, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    made = run("bundle", log, "--no-doctor", "--fact", "gpu=RTX 4090", "--words", "no card used", "-o", path, "--json")
    assert (made.code, made.json["written"]) == (0, str(path))
    log.unlink()
    ran = run("diagnose", path, "--json")
    assert (ran.code, first(ran)) == (3, "cpu-only-torch-wheel")
    assert ran.json["facts"]["gpu.cc"] == "8.9"
    renamed = path.rename(tmp_path / "report")
    assert run("diagnose", renamed, "--json").code == 3


def test_a_preview_writes_nothing(run: Run, log: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    ran = run("bundle", log, "--no-doctor", "--preview", "-o", tmp_path / "b.zip")
    assert (ran.code, set(tmp_path.iterdir())) == (0, before)
    assert "Preview only, nothing written." in ran.out


def test_an_answer_moves_the_ranking(run: Run, log: Path) -> None:
    asked = run("rules", "show", "cpu-only-torch-wheel", "--json").json["rule"]["questions"][0]
    values = {answer["value"]: answer["weights"].get("cpu-only-torch-wheel", 0.0) for answer in asked["answers"]}
    worst = min(values, key=lambda value: values[value])
    before = run("diagnose", "--words", "the card is idle and torch says +cpu", "--json").json["findings"]
    after = run(
        "diagnose", "--words", "the card is idle and torch says +cpu", "--answer", f"{asked['id']}={worst}", "--json"
    ).json["findings"]

    def share(findings: list[dict[str, Any]]) -> float:
        return next((float(each["probability"]) for each in findings if each["rule"] == "cpu-only-torch-wheel"), 0.0)

    assert share(after) < share(before)


def test_the_second_look_after_a_fix(run: Run, saved: Path, tmp_path: Path) -> None:
    after = tmp_path / "after.log"
    after.write_text("INFO 200 OK, 2.1 s of audio\n", encoding="utf-8")
    ran = run("recheck", saved, after, "--json")
    assert (ran.code, ran.json["outcome"], ran.json["rule"]) == (0, "solved", "cpu-only-torch-wheel")


def test_what_is_printed_can_be_looked_at_again(run: Run, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "printed.json"
    path.write_text(run("diagnose", log, "--json").out, encoding="utf-8")
    assert run("recheck", path, log).code == 3


def test_saving_says_how_to_go_on(run: Run, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    ran = run("diagnose", log, "--save", path, "--json")
    assert ran.line == f"saved {path}; after the fix run: qwen-audio recheck {path} [NEW.log]"
    assert json.loads(path.read_text(encoding="utf-8")) == ran.json


def test_rules_of_ones_own_take_part(run: Run) -> None:
    ran = run("diagnose", "--words", "all grey", "--rules", ROOT / "tests" / "doctor" / "rules", "--json")
    assert "silent-output" in {finding["rule"] for finding in ran.json["findings"]}


# --- watch


def test_a_watch_shows_each_sample_and_writes_them_down(run: Run, a_card: None, tmp_path: Path) -> None:
    path = tmp_path / "watch.csv"
    ran = run("watch", "--csv", path)
    lines = ran.out.split("\n")
    assert sum("GPU  20 %" in line for line in lines) == 12
    assert "  warn    Utilisation          low: below 30 %" in ran.out
    assert len(path.read_text(encoding="utf-8").splitlines()) == 13


def test_ctrl_c_ends_a_watch_with_its_summary(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def samples(*_: object) -> Iterator[Sample]:
        yield Sample(0.0, "2026-11-24T09:30:00Z", 0, NA("no"), *[NA("no")] * 10)
        raise KeyboardInterrupt

    monkeypatch.setattr(watch_module, "watch", samples)
    ran = run("watch", "--json")
    assert (ran.code, len(ran.json["samples"])) == (0, 1)


def test_without_a_card_there_is_nothing_to_watch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def samples(*_: object) -> Iterator[Sample]:
        raise GpuUnavailable("NVML does not start; nvidia-smi is not here either")
        yield

    monkeypatch.setattr(watch_module, "watch", samples)
    ran = run("watch", "--json")
    assert (ran.code, ran.out) == (3, "")
    assert ran.line == "qwen-audio: NVML does not start; nvidia-smi is not here either"


def test_a_bundle_is_a_zip_with_a_manifest(run: Run, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    run("bundle", log, "--no-doctor", "-o", path)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["facts.json", "logs/01-service.log", "manifest.json"]
        assert json.loads(archive.read("manifest.json"))["schema"] == 1
        assert b"/home/ann" not in archive.read("logs/01-service.log")

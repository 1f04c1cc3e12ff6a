"""A service folder is read as a whole: scripts, settings, code, and the port with the process behind it."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from toolkit.probe.service import inspect_service
from toolkit.probe.service_config import read_service_config
from toolkit.probe.service_port import inspect_port, service_processes, shown_command
from troubleshoot.facts import NA

APP = """
import argparse, torch
import soundfile as sf
p = argparse.ArgumentParser()
p.add_argument("--host", default="127.0.0.1")
p.add_argument("--port", type=int, default=5000)
p.add_argument("--enable-cleanup", action="store_true")
args = p.parse_args()
model = X.from_pretrained("/root/build/qwen3-tts-model", torch_dtype=torch.bfloat16)
def synthesize_speech(ids):
    output = model(ids)
    sf.write("x.wav", output.cpu().float().numpy(), 24000)
    if args.enable_cleanup:
        torch.cuda.empty_cache()
    return output
app.run(host=args.host, port=args.port)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "start.sh").write_text("python app.py --host 0.0.0.0 --port 5000 --enable-cleanup\n")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "config.yaml").write_text("audio_chunk_size: 128\nmax_text_length: 80\nother: {debug: on}\n")
    return tmp_path


def whats(facts: dict[str, object]) -> str:
    findings = facts["service.findings"]
    assert isinstance(findings, list)
    return "\n".join(f"{row['file']}:{row['line']} {row['what']}" for row in findings)


def test_a_healthy_folder_gives_every_fact(folder: Path) -> None:
    facts = inspect_service(folder, port=1)
    expected = {
        "service.host": "0.0.0.0",
        "service.port": 5000,
        "service.start_script": "start.sh",
        "service.cleanup_flag": True,
        "service.cleanup_declared": True,
        "service.cleanup_in_code": True,
        "service.cleanup_placement": "after-generation",
        "service.audio_chunk_size": 128,
        "service.max_text_length": 80,
        "service.half_call": False,
        "service.bf16_write_uncast": False,
        "service.processes": [],
        "service.published_ports": "",
        "run.dtype": "bfloat16",
    }
    assert {name: facts[name] for name in expected} == expected


def test_a_switch_that_nobody_declares_or_reads_is_found(folder: Path) -> None:
    (folder / "app.py").write_text("import torch\n")
    text = whats(inspect_service(folder))
    assert "start.sh:1 passes --enable-cleanup, which no Python file of the folder declares" in text
    (folder / "app.py").write_text('p.add_argument("--enable-cleanup")\n')
    assert "whose value no Python file reads" in whats(inspect_service(folder))


def test_a_host_fixed_in_the_code_is_set_against_the_script(folder: Path) -> None:
    (folder / "app.py").write_text('app.run(host="127.0.0.1", port=5000)\n')
    text = whats(inspect_service(folder))
    assert "start.sh:1 asks for host 0.0.0.0, but the code listens on 127.0.0.1 whatever it is told" in text


def test_secrets_on_a_command_line_are_not_repeated(folder: Path) -> None:
    (folder / "start.sh").write_text("python app.py --port 5000 --token=abc123 --api-key xyz789\n")
    text = whats(inspect_service(folder))
    assert "--token=*** --api-key ***" in text
    assert "abc123" not in text
    assert "xyz789" not in text


@pytest.mark.parametrize(
    ("script", "host", "port"),
    [
        ("qwen-tts-demo Qwen/Qwen3-TTS-12Hz-1.7B-Base", "0.0.0.0", 8000),
        ("uvicorn app:app", "127.0.0.1", 8000),
        ("gunicorn -b 0.0.0.0:9000 app:app", "0.0.0.0", 9000),
        ("python main.py --listen --port 8188", "0.0.0.0", 8188),
        ("python app.py", "127.0.0.1", 5000),
    ],
)
def test_defaults_of_servers_and_of_the_code_fill_the_gaps(folder: Path, script: str, host: str, port: int) -> None:
    (folder / "start.sh").write_text(script + "\n")
    facts = inspect_service(folder)
    assert (facts["service.host"], facts["service.port"]) == (host, port)


def test_a_value_that_is_set_elsewhere_is_not_known(folder: Path) -> None:
    (folder / "start.sh").write_text("python app.py --port $PORT --host $HOST\n")
    facts = inspect_service(folder)
    assert isinstance(facts["service.port"], NA)
    assert "'$PORT'" in facts["service.port"].reason
    assert isinstance(facts["service.host"], NA)
    assert isinstance(facts["service.listening"], NA)


def test_the_script_that_starts_goes_before_the_others(folder: Path) -> None:
    (folder / "a_test.sh").write_text("python app.py --port 1\n")
    (folder / "tools").mkdir()
    (folder / "tools" / "start.sh").write_text("python app.py --port 2\n")
    facts = inspect_service(folder)
    assert (facts["service.start_script"], facts["service.port"]) == ("start.sh", 5000)


def test_virtual_environments_are_not_the_service(folder: Path) -> None:
    for name in (".venv", "my-env", "node_modules"):
        (folder / name).mkdir()
        (folder / name / "bad.py").write_text("m.half()\n")
    (folder / "my-env" / "pyvenv.cfg").write_text("")
    (folder / "loop").symlink_to(folder)
    assert inspect_service(folder)["service.half_call"] is False


def test_an_empty_or_absent_folder_gives_reasons(tmp_path: Path) -> None:
    for facts in (inspect_service(tmp_path), inspect_service(tmp_path / "absent"), inspect_service("a\0b")):
        assert isinstance(facts["service.host"], NA)
        assert isinstance(facts["service.cleanup_flag"], NA)
        assert isinstance(facts["service.cleanup_in_code"], NA)
        assert isinstance(facts["service.audio_chunk_size"], NA)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &x 1\nb: *x\n", "uses anchors or aliases (line 1)"),
        ("a: [1\n", "is not valid YAML at line 2"),
        ("{" * 3_000, "is nested deeper than 20 levels"),
        ("[" * 30 + "]" * 30, "is nested deeper than 20 levels"),
        ("[" + "1," * 11_000 + "]", "has more than 10000 values"),
        ("!!python/object/apply:os.system [id]", "is not valid YAML at line 1"),
        ("when: 2024-99-99", "holds a value that cannot be read"),
        ("just text", "holds text, not settings"),
        ("x: " + "a" * 300_000, "cannot be read, or is over 256 kB"),
    ],
)  # fmt: skip
def test_a_hostile_config_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    config = read_service_config(tmp_path)
    value = config.values["audio_chunk_size"]
    assert isinstance(value, NA)
    assert sentence in value.reason
    assert sentence in config.findings[0].what


@pytest.mark.parametrize("value", ["'128'", "true", "-1", "0", "1.5", "[1]", "99999999999999"])
def test_a_setting_of_the_wrong_kind_is_not_used(tmp_path: Path, value: str) -> None:
    (tmp_path / "config.yaml").write_text(f"a: 1\naudio_chunk_size: {value}\n")
    config = read_service_config(tmp_path)
    assert isinstance(config.values["audio_chunk_size"], NA)
    assert config.findings[0].line == 2


def test_nested_settings_are_found_and_double_ones_told(tmp_path: Path) -> None:
    text = "tts:\n  audio_chunk_size: 256\n  audio_chunk_size: 64\nserver: {port: 80, host: x}\n"
    (tmp_path / "config.yml").write_text(text)
    config = read_service_config(tmp_path)
    assert config.values["audio_chunk_size"] == 64
    assert (config.values["port"], config.values["host"]) == (80, "x")
    assert config.findings[0].what == "the key audio_chunk_size stands twice; loaders take the last"


LISTENER = (
    "import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
    "print(s.getsockname()[1], flush=True)\nimport time\ntime.sleep(60)\n"
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """A service folder whose server listens: folder, port, process id."""
    home = tmp_path / "service"
    home.mkdir()
    (home / "server.py").write_text(LISTENER)
    with subprocess.Popen([sys.executable, "server.py"], cwd=home, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield home, int(child.stdout.readline()), child.pid
        child.kill()


def test_the_listener_of_the_folder_is_recognised(running: tuple[Path, int, int], tmp_path: Path) -> None:
    home, port, pid = running
    facts = inspect_service(home, port=port)
    assert facts["service.listening"] is True
    assert facts["service.bound_address"] == "127.0.0.1"
    assert facts["service.port_owner"] == "self"
    processes = facts["service.processes"]
    assert isinstance(processes, list)
    assert [row["pid"] for row in processes] == [pid]
    assert str(processes[0]["command"]).endswith("server.py")
    other = tmp_path / "other"
    other.mkdir()
    assert inspect_port(port, other).owner == "other"
    assert service_processes(other) == []


def test_a_free_port_has_no_owner(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    report = inspect_port(port, tmp_path)
    assert (report.listening, report.owner) == (False, "none")


def test_a_listener_on_every_address_is_told(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:
        report = inspect_port(held.getsockname()[1], tmp_path)
    assert report.listening is True
    assert report.bound_address == "0.0.0.0"


def test_without_the_right_to_look_the_answer_still_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with socket.create_server(("127.0.0.1", 0)) as held:
        report = inspect_port(held.getsockname()[1], tmp_path)
    assert report.listening is True
    assert report.owner == NA("the system shows sockets to an administrator only")
    assert report.bound_address == report.owner


def test_our_own_process_is_never_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    processes = service_processes(tmp_path)
    assert isinstance(processes, list)
    assert os.getpid() not in [row["pid"] for row in processes]


def test_a_long_command_is_cut() -> None:
    assert len(shown_command(["x" * 1000])) == 300
    assert shown_command(["a", "--password", "b", "--port", "1"]) == "a --password *** --port 1"


def test_the_child_prints_one_json_object(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["service_child", str(folder), "--port", "1"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("toolkit.probe.service_child", run_name="__main__")
    facts = json.loads(capsys.readouterr().out)
    assert facts["service.port"] == 5000
    assert facts["service.bound_address"] == {"na": "nothing listens"}

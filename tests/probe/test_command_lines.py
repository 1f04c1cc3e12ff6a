"""Command lines come out of start scripts of every kind as the shell would see them, as far as options go."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.probe.command_lines import CommandLine, dialect_of, read_command_lines
from toolkit.probe.words import Dialect, split_commands


def lines_of(folder: Path, name: str, text: str | bytes) -> list[CommandLine]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_command_lines(path, name)


def server(lines: list[CommandLine]) -> CommandLine:
    return next(line for line in lines if line.program)


SCRIPTS = [
    ("start.sh", "python app.py --host 0.0.0.0 --port 5000"),
    ("start.sh", "#!/bin/sh\nexec python3.11 -u app.py --host=0.0.0.0 --port='5000' # --port 1"),
    ("start.sh", 'nohup python app.py \\\n  --host "0.0.0.0" \\\n  --port 5000 > log 2>&1 &'),
    ("start.sh", "export PORT=5000\nHOST=0.0.0.0\ncd x && python app.py --host $HOST --port ${PORT}"),
    ("start.sh", "python app.py --host ${HOST:-0.0.0.0} --port ${PORT:-${OTHER:-5000}}"),
    ("start.sh", ': "${PORT:=5000}"\nif true; then python app.py --host 0.0.0.0 --port "$PORT"; fi'),
    ("start.bat", "@echo off\r\nrem python b.py\r\nset PORT=5000\r\npython app.py --host 0.0.0.0 --port %PORT%"),
    ("start.cmd", 'set "HOST=0.0.0.0"\r\n.venv\\Scripts\\python.exe app.py ^\r\n --host %host% --port 5000'),
    ("start.ps1", "$Port = 5000\n$env:HOST = '0.0.0.0'\n& python app.py `\n  --host $env:HOST --port $port"),
    ("Procfile", "web: python app.py --host 0.0.0.0 --port ${PORT:-5000}"),
    ("tts.service", 'Environment="PORT=5000" A=b\nExecStart=/usr/bin/python app.py --host 0.0.0.0 --port $PORT'),
    ("Dockerfile", 'FROM x\nENV PORT 1\nCMD ["python", "app.py", "--host", "0.0.0.0", "--port", "5000"]'),
    ("Dockerfile", "ENV PORT=5000\nENTRYPOINT python app.py --host 0.0.0.0 --port $PORT"),
    ("docker-compose.yml", "services:\n  tts:\n    command: python app.py --host 0.0.0.0 --port ${PORT:-5000}\n"),
    (
        "compose.prod.yaml",
        "services:\n  tts:\n    environment: [PORT=5000]\n    entrypoint: [python]\n"
        "    command: [app.py, --host, 0.0.0.0, --port, '$PORT']\n",
    ),
]


@pytest.mark.parametrize(("name", "text"), SCRIPTS)
def test_host_and_port_are_read_from_every_kind_of_script(tmp_path: Path, name: str, text: str) -> None:
    command = server(lines_of(tmp_path, name, text))
    assert command.option("--host") == "0.0.0.0"
    assert command.option("--port") == "5000"
    assert command.script == "app.py"


def test_a_utf16_script_of_windows_is_read(tmp_path: Path) -> None:
    command = server(lines_of(tmp_path, "start.ps1", "python app.py --port 5000\r\n".encode("utf-16")))
    assert command.option("--port") == "5000"


def test_lines_are_numbered_from_the_first_of_a_continued_line(tmp_path: Path) -> None:
    assert server(lines_of(tmp_path, "start.sh", "\n\npython app.py \\\n --port 1\n")).line == 3


def test_an_unknown_variable_stays_as_it_stands(tmp_path: Path) -> None:
    command = server(lines_of(tmp_path, "start.sh", "python app.py --port $PORT --host '$HOST'"))
    assert (command.option("--port"), command.option("--host")) == ("$PORT", "$HOST")


def test_published_ports_are_kept_apart(tmp_path: Path) -> None:
    text = 'services:\n  a:\n    command: uvicorn a:app\n    ports:\n      - "127.0.0.1:8080:5000"\n      - 9000:9000\n'
    lines = lines_of(tmp_path, "docker-compose.yml", text)
    assert [line.words[0] for line in lines if line.is_published_port] == ["127.0.0.1:8080:5000", "9000:9000"]
    assert lines[1].line == 5


@pytest.mark.parametrize(
    ("words", "program"),
    [
        ("python app.py", "python"),
        ("/opt/venv/bin/python3 -m uvicorn app:app", "uvicorn"),
        ("uvicorn app:app --reload", "uvicorn"),
        ("qwen-tts-demo Qwen/X --ip 0.0.0.0", "qwen-tts-demo"),
        ("python -m pip install -r requirements.txt", None),
        ("python -c print(1)", None),
        ("python --version", None),
        ("echo python", None),
        ("pip install vllm.py", None),
    ],
)
def test_only_commands_that_start_a_server_have_a_program(words: str, program: str | None) -> None:
    assert CommandLine("x", 1, tuple(words.split())).program == program


def test_bind_is_split_into_host_and_port() -> None:
    assert CommandLine("x", 1, ("gunicorn", "--bind", "[::1]:80")).bound() == ("::1", "80")
    assert CommandLine("x", 1, ("gunicorn", "-b", ":80")).bound() == (None, "80")
    assert CommandLine("x", 1, ("gunicorn", "-b", "unix-socket")).bound() == (None, None)


def test_the_last_of_two_equal_options_counts() -> None:
    command = CommandLine("x", 1, ("python", "a.py", "--port", "1", "--port=2", "--flag", "--other"))
    assert command.option("--port") == "2"
    assert command.option("--flag") == ""
    assert command.option("--absent") is None


def test_what_is_no_start_script_has_no_dialect() -> None:
    assert [dialect_of(Path(name)) for name in ("app.py", "config.yaml", "notes.txt", "x.service.bak")] == [None] * 4


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "[" * 5000, "services: {a: &b {command: x}}", "services: 3", ""])
def test_a_hostile_compose_file_gives_no_commands(tmp_path: Path, text: str) -> None:
    assert lines_of(tmp_path, "docker-compose.yml", text) == []


def test_an_oversized_script_is_not_read(tmp_path: Path) -> None:
    assert lines_of(tmp_path, "start.sh", "python app.py --port 1\n" * 20_000) == []


DIALECTS: list[Dialect] = ["sh", "cmd", "powershell"]


@settings(deadline=None)
@given(st.text(alphabet="abP=$%{}:-\"'\\ ;|&#!`()\n", max_size=60), st.sampled_from(DIALECTS))
def test_any_line_is_split_without_an_error(line: str, dialect: Dialect) -> None:
    for words in split_commands(line, dialect, {"a": "b", "P": "$P"}):
        assert words


@settings(deadline=None)
@given(st.lists(st.text("abc ", min_size=1, max_size=5), min_size=1, max_size=5))
def test_quoted_words_come_back_whole(words: list[str]) -> None:
    assert split_commands(" ".join(f"'{word}'" for word in words), "sh", {}) == [tuple(words)]

"""Whatever a person gives as their Python is found, or the message says what was found instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.probe.environment import child_environment
from toolkit.probe.interpreter import Interpreter, resolve_interpreter


def environment(folder: Path, mark: str = "pyvenv.cfg", python: str = "bin/python") -> Path:
    executable = folder / python
    executable.parent.mkdir(parents=True)
    executable.symlink_to(sys.executable)
    if mark.endswith("/"):
        (folder / mark).mkdir()
    elif mark:
        (folder / mark).write_text("home = /usr/bin\n")
    return executable


def test_nothing_given_means_ours() -> None:
    assert resolve_interpreter(None).kind == "this"
    assert resolve_interpreter(None).executable == Path(sys.executable)
    assert resolve_interpreter(sys.executable).kind == "this"


@pytest.mark.parametrize(
    ("mark", "python", "kind"),
    [
        ("pyvenv.cfg", "bin/python", "venv"),
        ("pyvenv.cfg", "Scripts/python.exe", "venv"),
        ("conda-meta/", "bin/python3", "conda"),
        ("conda-meta/", "python.exe", "conda"),
        ("python310._pth", "python.exe", "portable"),
        ("", "bin/python", "executable"),
    ],
)
def test_a_folder_and_the_executable_in_it_mean_the_same(tmp_path: Path, mark: str, python: str, kind: str) -> None:
    executable = environment(tmp_path / "env", mark, python)
    found = resolve_interpreter(str(tmp_path / "env"))
    assert found == resolve_interpreter(str(executable))
    assert (found.kind, found.executable) == (kind, executable)
    assert found.folder == (None if kind == "executable" else tmp_path / "env")


def test_the_link_of_a_venv_is_not_followed(tmp_path: Path) -> None:
    executable = environment(tmp_path / "env")
    assert resolve_interpreter(str(executable)).executable == executable
    assert executable.resolve() != executable


def test_a_project_folder_gives_its_one_environment(tmp_path: Path) -> None:
    executable = environment(tmp_path / "service" / ".venv")
    assert resolve_interpreter(str(tmp_path / "service")).executable == executable
    environment(tmp_path / "service" / "python_embeded", python="python.exe")
    with pytest.raises(UsageError, match=r"several environments.*\.venv/bin/python, .*python_embeded"):
        resolve_interpreter(str(tmp_path / "service"))


def test_a_command_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = environment(tmp_path / "env", "", "bin/python3.99")
    monkeypatch.setenv("PATH", str(executable.parent))
    assert resolve_interpreter("python3.99").executable == executable


def test_home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = environment(tmp_path / "env")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SERVICE_ENV", str(tmp_path / "env"))
    assert resolve_interpreter("~/env").executable == executable
    assert resolve_interpreter("$SERVICE_ENV").executable == executable


def test_refusals_say_what_was_found_and_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("text")
    environment(tmp_path / "broken").unlink()
    for given, told in (
        ("", "is empty"),
        (str(tmp_path / "gone" / "python"), f"nearest folder that exists is {tmp_path}"),
        (str(tmp_path / "empty"), "no Python in this folder"),
        (str(tmp_path / "note.txt"), "may not be executed"),
        (str(tmp_path / "broken"), "whose python is gone"),
    ):
        with pytest.raises(UsageError) as raised:
            resolve_interpreter(given)
        assert told in str(raised.value)
        assert raised.value.exit_code == 2


def test_an_interpreter_checks_itself() -> None:
    with pytest.raises(UsageError, match="absolute"):
        Interpreter(Path("python"), "executable")
    with pytest.raises(UsageError, match="kind 'snake'"):
        Interpreter(Path(sys.executable), "snake")


def test_children_get_the_environment_of_the_service_without_the_network() -> None:
    base = {"PYTHONPATH": "/opt/app", "LD_LIBRARY_PATH": "/opt/lib", "__PYVENV_LAUNCHER__": "x", "HF_HUB_OFFLINE": "0"}
    given = child_environment(resolve_interpreter(None), base=base)
    assert (given["PYTHONPATH"], given["LD_LIBRARY_PATH"]) == ("/opt/app", "/opt/lib")
    assert (given["HF_HUB_OFFLINE"], given["PYTHONDONTWRITEBYTECODE"]) == ("1", "1")
    assert "__PYVENV_LAUNCHER__" not in given
    assert "CUDA_VISIBLE_DEVICES" not in given


def test_a_chosen_card_is_the_only_one_children_see() -> None:
    given = child_environment(resolve_interpreter(None), base={}, gpu_index=2)
    assert (given["CUDA_VISIBLE_DEVICES"], given["CUDA_DEVICE_ORDER"]) == ("2", "PCI_BUS_ID")

"""The notebooks are found and copied, and the servers listen on loopback with a token that no command line shows."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from running import Run

from toolkit.cli import lab
from toolkit.errors import BadOutput


def test_a_source_tree_opens_its_own_notebooks() -> None:
    folder = lab.notebooks_folder(None)
    assert folder == Path(lab.__file__).resolve().parents[2] / "notebooks"


def test_a_package_copies_its_notebooks_and_keeps_what_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "toolkit"
    data = tmp_path / "share" / "qwen-audio-toolkit" / "notebooks"
    data.mkdir(parents=True)
    for name in ("one.ipynb", "two.ipynb"):
        (data / name).write_text(name)
    monkeypatch.setattr(lab, "_TOOLKIT", package)
    monkeypatch.setattr(lab.sys, "prefix", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = lab.notebooks_folder(None)
    assert folder == tmp_path / "qwen-audio-notebooks"
    (folder / "one.ipynb").write_text("changed")
    (folder / "two.ipynb").unlink()
    assert lab.notebooks_folder(folder) == folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "one.ipynb": "changed",
        "two.ipynb": "two.ipynb",
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(BadOutput, match="the notebooks cannot be copied to .*file"):
        lab.notebooks_folder(tmp_path / "file")
    shutil.rmtree(data)


def test_both_servers_are_on_loopback_and_hide_their_token(tmp_path: Path) -> None:
    for server in (
        lab.lab_server(tmp_path, 8888, browser=False),
        lab.app_server(tmp_path, 8888, browser=False),
    ):
        token = server.environment["JUPYTER_TOKEN"]
        assert len(token) == 48
        assert server.url.endswith(f"?token={token}")
        assert token not in " ".join(server.command)
        assert any(option.endswith(".ip=127.0.0.1") for option in server.command)
    assert (
        lab.lab_server(tmp_path, 1, browser=True).environment != lab.lab_server(tmp_path, 1, browser=True).environment
    )


def test_wrong_input_is_one_line(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("lab", "--folder", tmp_path, "--port", port).err == (
            f"qwen-audio: port {port} is in use; give another --port\n"
        )
    ran = run("app", "nothing")
    assert ran.code == 2
    assert ran.err.startswith("qwen-audio: there is no notebook 'nothing'; there are ")

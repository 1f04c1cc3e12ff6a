"""``qwen-audio lab`` and ``qwen-audio app``: the notebooks in JupyterLab, or as pages without code."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.output import note
from toolkit.errors import BadOutput, ToolkitFault, UsageError

__all__ = ["Server", "app", "app_server", "lab", "lab_server", "notebooks_folder"]

_TOOLKIT = Path(__file__).resolve().parent.parent
_LAB_SETTINGS = Path(__file__).resolve().parent / "lab_settings"
"""Settings of JupyterLab in place of its own: nothing is fetched, and nobody is asked whether it may be."""
_PORTS = range(8888, 8988)
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Copy the notebooks there, leave those that are there already as they are, and open them there. Default: "
        "the source folder, or qwen-audio-notebooks here when the toolkit is installed as a package.",
    ),
]
PortOption = Annotated[
    int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="Default: the first free one from 8888.")
]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")]


@dataclass(frozen=True)
class Server:
    """A server to start: what runs, in which environment, and the address that opens it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    url: str


def lab(folder: FolderOption = None, port: PortOption = None, browser: BrowserOption = True) -> None:
    """Open JupyterLab with the notebooks, on loopback and with a token, until Ctrl-C."""
    place = notebooks_folder(folder)
    raise typer.Exit(_serve(lab_server(place, _port(port), browser=browser)))


def app(
    notebook: Annotated[
        str | None, typer.Argument(metavar="[NOTEBOOK]", help="A notebook's path or name. Default: a list of all.")
    ] = None,
    folder: FolderOption = None,
    port: PortOption = None,
    browser: BrowserOption = True,
) -> None:
    """Show the notebooks as pages without code (Voila), on loopback and with a token, until Ctrl-C."""
    if importlib.util.find_spec("voila") is None:
        raise UsageError('Voila is not installed; install it with pip install "qwen-audio-toolkit[app]"')
    place = notebooks_folder(folder) if notebook is None or not Path(notebook).is_file() else Path(notebook)
    if notebook is not None and place.is_dir():
        place = _notebook_of(place, notebook)
    raise typer.Exit(_serve(app_server(place, _port(port), browser=browser)))


def notebooks_folder(wanted: Path | None) -> Path:
    """The folder to open, filled with the notebooks when it is not their source. Raises BadOutput."""
    source = next((place for place in _places() if any(place.glob("*.ipynb"))), None)
    if source is None:
        raise ToolkitFault("the notebooks are missing from this installation; install the toolkit again")
    if wanted is None and source == _places()[0] and os.access(source, os.W_OK):
        return source
    target = (wanted or Path("qwen-audio-notebooks")).expanduser().resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.glob("*.ipynb")):
            if not (target / path.name).exists():
                part = target / f".{path.name}.part"
                shutil.copyfile(path, part)
                part.replace(target / path.name)
    except OSError as error:
        raise BadOutput(f"the notebooks cannot be copied to {target}: {error.strerror or error}") from None
    return target


def lab_server(folder: Path, port: int, *, browser: bool) -> Server:
    """JupyterLab on loopback; it neither looks for updates nor for news."""
    token = secrets.token_hex(24)
    options = [
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--ServerApp.allow_remote_access=False", f"--ServerApp.root_dir={folder}", "--ServerApp.log_level=WARN",
        # An option cannot say None to news_url, and without a setting JupyterLab asks whether it may fetch news.
        f"--LabApp.app_settings_dir={_LAB_SETTINGS}", "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly", f"--ServerApp.open_browser={browser}",
        # In a container one is root; the server is reached from this machine and with the token only.
        "--ServerApp.allow_root=True",
    ]  # fmt: skip
    command = (sys.executable, "-m", "jupyterlab", *options)
    return Server(command, {"JUPYTER_TOKEN": token}, f"http://127.0.0.1:{port}/lab?token={token}")


def app_server(place: Path, port: int, *, browser: bool) -> Server:
    """Voila on loopback for a notebook or a folder of them; errors show without tracebacks.

    Its pages would take icons from a public server; the policy keeps them to what this machine has.
    """
    token = secrets.token_hex(24)
    options = [
        str(place), "--Voila.ip=127.0.0.1", f"--port={port}", "--Voila.port_retries=0", "--Voila.auto_token=True",
        "--Voila.log_level=WARN",
        "--VoilaConfiguration.show_tracebacks=False",
        f"--Voila.tornado_settings={{'headers': {{'Content-Security-Policy': {_policy(port)!r}}}}}",
        f"--Voila.open_browser={browser}",
    ]  # fmt: skip
    command = (sys.executable, "-m", "voila", *options)
    return Server(command, {"JUPYTER_TOKEN": token}, f"http://127.0.0.1:{port}/?token={token}")


def _policy(port: int) -> str:
    own = "'self' 'unsafe-inline' 'unsafe-eval' blob: data:"
    return f"default-src {own}; connect-src {own} ws://127.0.0.1:{port}; frame-ancestors 'self'"


def _serve(server: Server) -> int:
    note(f"{server.url}  (Ctrl-C ends it)")
    # The token goes through the environment, since all users of a machine see each other's command lines.
    environment = {**os.environ, **server.environment}
    if sys.platform == "win32":
        return subprocess.run(server.command, env=environment, check=False).returncode
    sys.stderr.flush()
    # In our place, so that no orphan can stay.
    return os.execve(server.command[0], server.command, environment)  # noqa: S606


def _places() -> tuple[Path, Path]:
    """Beside the toolkit in a source tree; where a package's data goes."""
    return _TOOLKIT.parent / "notebooks", Path(sys.prefix) / "share" / "qwen-audio-toolkit" / "notebooks"


def _notebook_of(folder: Path, name: str) -> Path:
    path = folder / (name if name.endswith(".ipynb") else f"{name}.ipynb")
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.ipynb")))
        raise UsageError(f"there is no notebook {name!r}; there are {known}")
    return path


def _port(wanted: int | None) -> int:
    for port in (wanted,) if wanted is not None else _PORTS:
        with socket.socket() as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UsageError(
        f"port {wanted if wanted is not None else '8888 and those after it'} is in use; give another --port"
    )

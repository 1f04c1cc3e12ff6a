"""Make an environment of its own with the official package, to compare with: ``python scripts/official_env.py DIR``.

The last line printed is the path of its interpreter. A finished environment is left as it is; one that was broken off
is made anew. Whatever package source pip is set up with serves it; a CPU build of PyTorch is taken where one is on
offer. The project itself never runs in there, and nothing of it is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["OFFICIAL", "TORCH", "interpreter_of", "main", "make_environment"]

OFFICIAL = "qwen-tts==0.1.1"
TORCH = "torch==2.13.0"
# The package itself pins transformers and accelerate. The others are not named with a version there.
_MARK = ".official-environment"
_RECIPE = f"{OFFICIAL}\n{TORCH}\n"
_LEAST, _MOST = (3, 10), (3, 13)


def interpreter_of(folder: Path) -> Path:
    """Path of the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(folder: Path) -> Path:
    """Make the environment unless it is there; returns its interpreter.

    Raises:
        FileExistsError: the folder holds something else.
        subprocess.CalledProcessError: a package could not be had, or the official package does not import.
    """
    python, mark = interpreter_of(folder), folder / _MARK
    if mark.is_file() and mark.read_text(encoding="utf-8") == _RECIPE and _imports(python):
        return python
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise FileExistsError(f"{folder} is not empty and not an environment of this script")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("unfinished\n", encoding="utf-8")
    venv.create(folder, with_pip=True)
    # PyTorch first: pip then keeps the build that is there instead of choosing one by what torchaudio wants.
    _pip(python, "install", TORCH)
    _pip(python, "install", OFFICIAL, TORCH)
    _disarm_torchaudio(python)
    if not _imports(python):
        subprocess.run([python, "-c", "import qwen_tts"], check=True)
    mark.write_text(_RECIPE, encoding="utf-8")
    return python


def _pip(python: Path, *words: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)


def _imports(python: Path) -> bool:
    done = subprocess.run([python, "-c", "import qwen_tts"], capture_output=True, check=False)
    return done.returncode == 0


def _disarm_torchaudio(python: Path) -> None:
    """Take away torchaudio's compiled parts if they do not fit the build of PyTorch.

    The official package imports torchaudio for its 25 Hz codec, which nothing here uses. Without the compiled parts the
    import passes; with parts of another build it fails.
    """
    if subprocess.run([python, "-c", "import torchaudio"], capture_output=True, check=False).returncode == 0:
        return
    code = "import importlib.util as u; print(u.find_spec('torchaudio').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    for library in (Path(found.stdout.strip()) / "lib").glob("*.so"):
        library.unlink()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the environment goes; about 2 GB with a CPU build")
    folder: Path = parser.parse_args().folder
    if not _LEAST <= sys.version_info[:2] <= _MOST:
        print("run this with Python 3.10 to 3.13", file=sys.stderr)
        return 2
    try:
        python = make_environment(folder.absolute())
    except (FileExistsError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(python)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Finds Chromium for the browser tests, and installs Debian's if need be: ``python tests/browser/chromium.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-y", "-q"]


def chromium() -> Path:
    """The browser's path; installed first when it is missing. Raises RuntimeError that says what to do."""
    found = _found()
    if found is None:
        _install()
        found = _found()
    if found is None:
        raise RuntimeError(
            "the browser tests need Chromium, and it could not be installed from here; install it (on Debian: "
            "apt-get install -y chromium), or name it in QWEN_AUDIO_CHROMIUM"
        )
    return found


def _found() -> Path | None:
    for name in (os.environ.get("QWEN_AUDIO_CHROMIUM", ""), *_NAMES):
        path = shutil.which(name) if name else None
        if path is not None:
            return Path(path)
    return None


def _install() -> None:
    if shutil.which("apt-get") is None:
        return
    before = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if before and shutil.which("sudo") is None:
        return
    for arguments in (["update"], ["install", "--no-install-recommends", "chromium", "fonts-noto-cjk"]):
        subprocess.run([*before, *_APT, *arguments], check=False, stdout=sys.stderr, timeout=600)


if __name__ == "__main__":
    try:
        print(chromium())
    except RuntimeError as error:
        sys.exit(str(error))

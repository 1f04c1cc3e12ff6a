"""Write the lock files anew: every package with its version and hashes for all platforms, and no index address.

Run it with uv installed: ``python scripts/lock.py``. Versions in the lock stay where they still fit; ``--upgrade``
moves them. PyTorch has a lock file of its own and is pinned by hand (``TORCH``): its CUDA libraries are left out,
since a CPU build needs none and a CUDA build names its own. Its hashes in the lock stay while the version does;
``--wheels DIR`` adds those of local wheels of that version (a CPU build kept in a folder), so that the lock accepts
them too.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
_CUDA_PARTS = re.compile(r"^(nvidia-(?!ml-py)|cuda-)")


def main() -> int:
    """Resolve, filter, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, help="folder with local wheels of PyTorch")
    parser.add_argument("--upgrade", action="store_true", help="move every package to its newest version that fits")
    options = parser.parse_args()
    locks = ("requirements.lock", "requirements-torch.lock")
    old = "".join((ROOT / name).read_text(encoding="utf-8") for name in locks)
    command = [
        "uv",
        "pip",
        "compile",
        str(ROOT / "pyproject.toml"),
        "--extra",
        "dev",
        "--universal",
        "--python-version",
        "3.10",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--quiet",
        "--constraint",
        "-",
    ]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "lock.txt"
        if not options.upgrade:
            written.write_text(old, encoding="utf-8")  # the resolver prefers the versions of the file that it writes
        subprocess.run([*command, "--output-file", str(written)], input=f"torch=={TORCH}\n", text=True, check=True)
        resolved = written.read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", resolved)
    kept = [entry for entry in entries if entry.strip() and not _CUDA_PARTS.match(entry)]
    torch = [_with_local_hashes(entry, options.wheels, old) for entry in kept if entry.startswith("torch==")]
    others = [entry for entry in kept if not entry.startswith("torch==")]
    if re.search(r"https?://|--(?:extra-)?index-url|--find-links", "".join(kept)):
        sys.exit("the resolver wrote an address into the lock; nothing was written")
    for name, entries in (("requirements.lock", others), ("requirements-torch.lock", torch)):
        (ROOT / name).write_text("# Written by scripts/lock.py; do not edit.\n" + "".join(entries), encoding="utf-8")
        print(f"{name}: {len(entries)} packages")
    return 0


def _with_local_hashes(entry: str, wheels: Path | None, old: str) -> str:
    known = set(re.findall(r"sha256:([0-9a-f]{64})", entry))
    found = sorted(wheels.glob(f"torch-{TORCH}*.whl")) if wheels else []
    more = {hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    before = re.search(rf"(?m)^torch=={re.escape(TORCH)}(?:[ ;].*)?\n(?:    .*\n)*", old)
    more |= set(re.findall(r"sha256:([0-9a-f]{64})", before[0])) if before else set()
    more -= known
    return entry.rstrip() + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(more)) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())

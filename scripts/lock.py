"""Write the lock files anew: every package with its version and hashes for all platforms, and no index address.

Run it with uv installed: ``python scripts/lock.py``. PyTorch has a lock file of its own and is pinned by hand
(``TORCH``): its CUDA libraries are left out, since a CPU build needs none and a CUDA build names its own. ``--wheels
DIR`` adds the hashes of local wheels of that version (a CPU build kept in a folder), so that the lock accepts them too.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
_CUDA_PARTS = re.compile(r"^(nvidia-(?!ml-py)|cuda-)")


def main() -> int:
    """Resolve, filter, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, help="folder with local wheels of PyTorch")
    options = parser.parse_args()
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
    resolved = subprocess.run(command, input=f"torch=={TORCH}\n", capture_output=True, text=True, check=True).stdout
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", resolved)
    kept = [entry for entry in entries if entry.strip() and not _CUDA_PARTS.match(entry)]
    torch = [_with_local_hashes(entry, options.wheels) for entry in kept if entry.startswith("torch==")]
    others = [entry for entry in kept if not entry.startswith("torch==")]
    if re.search(r"https?://|--(?:extra-)?index-url|--find-links", "".join(kept)):
        sys.exit("the resolver wrote an address into the lock; nothing was written")
    for name, entries in (("requirements.lock", others), ("requirements-torch.lock", torch)):
        (ROOT / name).write_text("# Written by scripts/lock.py; do not edit.\n" + "".join(entries), encoding="utf-8")
        print(f"{name}: {len(entries)} packages")
    return 0


def _with_local_hashes(entry: str, wheels: Path | None) -> str:
    known = set(re.findall(r"sha256:([0-9a-f]{64})", entry))
    found = sorted(wheels.glob(f"torch-{TORCH}*.whl")) if wheels else []
    more = {hashlib.sha256(path.read_bytes()).hexdigest() for path in found} - known
    return entry.rstrip() + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(more)) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())

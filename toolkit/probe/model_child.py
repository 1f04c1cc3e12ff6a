"""Child process of the model probe: ``python -m toolkit.probe.model_child PATH`` prints its facts as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.probe.child_output import print_facts
from toolkit.probe.model_folder import inspect_model

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Inspect the model named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m toolkit.probe.model_child", description=__doc__)
    parser.add_argument("path", help="model folder, repository id or hub cache folder")
    parser.add_argument("--scan-values", action="store_true", help="read all weights for NaN and infinity")
    parser.add_argument("--check-hashes", action="store_true", help="compare cached files with their hashes")
    given = parser.parse_args(argv)
    print_facts(inspect_model(given.path, scan_values=given.scan_values, check_hashes=given.check_hashes))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

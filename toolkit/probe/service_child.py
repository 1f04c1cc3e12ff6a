"""Child process of the service probe: ``python -m toolkit.probe.service_child DIR`` prints its facts as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.probe.child_output import print_facts
from toolkit.probe.service import inspect_service

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Inspect the service folder named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m toolkit.probe.service_child", description=__doc__)
    parser.add_argument("folder", help="folder that holds the start script and config.yaml")
    parser.add_argument("--port", type=int, help="port to look at instead of the one that the folder names")
    given = parser.parse_args(argv)
    print_facts(inspect_service(given.folder, port=given.port))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Entry of every probe script: guards the process, runs one script and prints its facts on marked lines.

Usage: ``python child.py SCRIPT ARGUMENTS``, the latter a JSON object. Standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import json
import os
import sys
import time
import traceback

__all__ = ["MARK", "Child", "guard", "load_script", "main", "told_lines"]

MARK = "@@probe-facts@@ "
# Of the deadline, when the stack is written down: late enough for slow disks, early enough to be read before the kill.
_STACK_AT = 0.85
_ERROR_LINES = 12


class Child:
    """What a script works with: it reports facts and tries imports.

    Facts go to a copy of standard output; the descriptor itself is joined to standard error, so that whatever a library
    prints ends among the last lines and never among the facts. Every call prints at once: a crash keeps what was known.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def stage(self, name: str) -> None:
        """Name what is tried next; after a crash or a hang this is what it happened in."""
        self.add({"stage": name})

    def add(self, facts: dict[str, object]) -> None:
        """Print facts; later ones of the same name replace earlier ones."""
        line = "\n" + MARK + json.dumps(facts, allow_nan=False, default=str) + "\n"
        data = line.encode("ascii")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def find(self, name: str) -> str | None:
        """Where ``import name`` would take a top-level module from, without importing it; ``None`` if from nowhere."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        if spec.origin and spec.origin != "namespace":
            return spec.origin
        places = list(spec.submodule_search_locations or [])
        return places[0] if places else None

    def try_import(self, name: str) -> dict[str, object]:
        """Import a module: ``state`` (ok, missing, error), then its ``file`` and ``version``, or ``error`` lines."""
        if self.find(name) is None:
            return {"state": "missing"}
        try:
            module = importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever an import raises, SystemExit too, is what we came for
            return {"state": "error", "error": told_lines(error)}
        version = getattr(module, "__version__", None)
        return {"state": "ok", "file": getattr(module, "__file__", None), "version": str(version) if version else None}


def told_lines(error: BaseException) -> list[str]:
    """Last lines of a traceback, without the import machinery's own frames."""
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()
    return [line[:400] for line in lines if line.strip() and "<frozen importlib" not in line][-_ERROR_LINES:]


def guard(arguments: dict[str, object]) -> None:
    """Die with the parent, write the stack down on a crash or shortly before the deadline, and shadow nothing."""
    parent = arguments.get("parent")
    if isinstance(parent, int):
        _die_with(parent)
    faulthandler.enable(all_threads=False)
    deadline_s = arguments.get("deadline_s")
    if isinstance(deadline_s, (int, float)):
        faulthandler.dump_traceback_later(deadline_s * _STACK_AT, exit=False)
    # Python puts the folder of the script first on sys.path; nothing of ours may hide the service's packages.
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    first = arguments.get("first_on_path")
    if isinstance(first, str):
        sys.path.insert(0, first)


def _die_with(parent: int) -> None:
    if os.name != "posix":
        return  # there the job object of the parent does it
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL (linux/prctl.h)
        except (ImportError, OSError, AttributeError):
            pass  # an interpreter without ctypes is measured all the same; its parent still has the deadline
    else:
        import threading

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before the request above
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def load_script(name: str) -> dict[str, object]:
    """Names that the script ``name`` beside this file defines, loaded without its folder on ``sys.path``."""
    import runpy

    here = os.path.dirname(os.path.abspath(__file__))
    return runpy.run_path(os.path.join(here, name + ".py"), run_name="probe_" + name)


def main(argv: list[str]) -> None:
    """Run a script's ``collect(child, arguments)``; what it raises itself is printed and makes the exit code 1."""
    arguments = json.loads(argv[2])
    guard(arguments)
    child = Child()
    child.stage("start")
    collect = load_script(argv[1])["collect"]
    collect(child, arguments)  # type: ignore[operator]
    child.stage("done")
    sys.stdout.flush()
    sys.stderr.flush()
    # Some libraries crash or hang while the interpreter shuts down; what was asked is known by now.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)

"""Which distributions the interpreter sees, what they require, and whether a few that often break can be imported.

Standard library only, Python 3.8 or newer. Versions are compared by the parent; here they are only read.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from toolkit.probe.scripts.child import Child

__all__ = ["collect", "distributions"]

_HEADERS = ("name", "version", "requires-dist")


def distributions() -> dict[str, dict[str, object]]:
    """Distributions by normalised name, the first on the path winning, as an import would have it.

    Each has ``name``, ``version``, ``requires`` (raw Requires-Dist), ``folder`` and ``copies`` (versions, in order).
    """
    found: dict[str, dict[str, object]] = {}
    for distribution in importlib.metadata.distributions():
        entry = _read(distribution)
        if entry is None:
            continue
        key = re.sub(r"[-_.]+", "-", str(entry["name"])).lower()
        if key not in found:
            entry["copies"] = [entry["version"]]
            found[key] = entry
            continue
        first = found[key]
        # The same folder twice on sys.path is not a second copy.
        if (entry["folder"], entry["version"]) != (first["folder"], first["version"]):
            first["copies"] = first["copies"] + [entry["version"]]  # type: ignore[operator]
    return found


def _read(distribution: importlib.metadata.Distribution) -> dict[str, object] | None:
    # The headers are read by hand: the standard parser takes a millisecond for each of several hundred files.
    try:
        text = distribution.read_text("METADATA") or ""
    except (OSError, UnicodeDecodeError):
        return None
    values: dict[str, list[str]] = {name: [] for name in _HEADERS}
    for line in text.splitlines():
        if not line.strip():
            break
        name, separator, value = line.partition(":")
        if separator and name.lower() in values:
            values[name.lower()].append(value.strip())
    if values["name"] and values["version"]:
        name, version, requires = values["name"][0], values["version"][0], values["requires-dist"]
    else:  # an egg, or a folder of a half-removed package
        try:
            name, version = distribution.metadata["Name"], distribution.version
            requires = list(distribution.requires or [])
        except (KeyError, OSError, UnicodeDecodeError, TypeError, AttributeError):
            return None
        if not name or not version:
            return None
    place = getattr(distribution, "_path", None)
    return {
        "name": name,
        "version": version,
        "requires": requires,
        "folder": os.path.dirname(str(place)) if place is not None else "",
    }


def collect(child: Child, arguments: dict[str, list[str]]) -> None:
    """Report the distributions, where the modules of ``find`` lie, then the states of the modules of ``import``."""
    child.stage("distributions")
    child.add({"distributions": distributions()})
    child.stage("find")
    child.add({"found": {name: child.find(name) for name in arguments["find"]}})
    states: dict[str, dict[str, object]] = {}
    for name in arguments["import"]:
        child.stage("import " + name)
        states[name] = child.try_import(name)
        if name == "soundfile" and states[name]["state"] == "ok":
            states[name]["libsndfile"] = getattr(sys.modules[name], "__libsndfile_version__", None)
        child.add({"states": states})

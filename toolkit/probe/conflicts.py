"""Finds requirements that the installed versions do not meet, as `pip check` does, for any interpreter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

__all__ = ["Distribution", "find_conflicts"]


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: its own spelling of its name, version text and raw Requires-Dist lines."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


def find_conflicts(
    installed: Mapping[str, Distribution], markers: Mapping[str, str], *, around: Collection[str]
) -> tuple[list[str], list[str]]:
    """Sentences on unmet requirements, and the requirement lines that could not be read.

    ``installed`` is keyed by normalised name; ``markers`` is the environment of the interpreter it belongs to.
    A requirement counts when its owner is in ``around``, or when it is about a package in ``around`` that is installed
    in another version. Extras are not looked at: what was chosen of them is not recorded.
    """
    conflicts: list[str] = []
    unreadable: list[str] = []
    environment = {**markers, "extra": ""}
    for key in sorted(installed):
        owner = installed[key]
        for line in owner.requires:
            try:
                requirement = Requirement(line)
                applies = requirement.marker is None or requirement.marker.evaluate(environment)
            except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName, InvalidVersion) as error:
                unreadable.append(f"{owner.name}: {line[:120]} ({type(error).__name__})")
                continue
            if applies:
                told = _judge(owner, requirement, installed, own=key in around, around=around)
                if told and told not in conflicts:
                    conflicts.append(told)
    return conflicts, unreadable


def _judge(
    owner: Distribution,
    requirement: Requirement,
    installed: Mapping[str, Distribution],
    *,
    own: bool,
    around: Collection[str],
) -> str | None:
    wanted = canonicalize_name(requirement.name)
    if not own and wanted not in around:
        return None
    found = installed.get(wanted)
    if found is None:
        return f"{owner.name} {owner.version} requires {_text(requirement)}, which is not installed" if own else None
    try:
        version = Version(found.version)
    except InvalidVersion:
        return None
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{owner.name} {owner.version} requires {_text(requirement)}, but {found.version} is installed"


def _text(requirement: Requirement) -> str:
    parts: Sequence[str] = sorted(str(specifier) for specifier in requirement.specifier)
    return requirement.name + ",".join(parts)

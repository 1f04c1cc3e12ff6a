"""Loads somebody else's YAML as plain data: bounded, without aliases, tags of objects or surprises, never raising."""

from __future__ import annotations

from pathlib import Path

from toolkit.probe.finding import read_bounded

__all__ = ["duplicate_keys", "load_plain_yaml"]

_MAX_DEPTH = 20
_MAX_NODES = 10_000


def load_plain_yaml(path: Path) -> object | str:
    """The file's data (a dict, list, number ...), or a sentence (str) that says why it was not read.

    A file whose whole content is one text gives a sentence too: no settings file looks like that.
    """
    import yaml

    text = read_bounded(path)
    if text is None:
        return "cannot be read, or is over 256 kB"
    try:
        refusal = _refusal(text)
        data = None if refusal else yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        return f"is not valid YAML{where}: {getattr(error, 'problem', None) or 'it cannot be read'}"
    except RecursionError:
        return f"is nested deeper than {_MAX_DEPTH} levels"
    except (ValueError, OverflowError) as error:  # a date or number that Python does not know
        return f"holds a value that cannot be read: {error}"
    if refusal:
        return refusal
    return "holds text, not settings" if isinstance(data, str) else data


def _refusal(text: str) -> str | None:
    import yaml

    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark else 1
            return f"uses anchors or aliases (line {line}), which are not followed"
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            return f"is nested deeper than {_MAX_DEPTH} levels"
        if nodes > _MAX_NODES:
            return f"has more than {_MAX_NODES} values"
    return None


def duplicate_keys(path: Path) -> list[tuple[str, int]]:
    """Keys that stand twice in one table, with the later one's line; for files that :func:`load_plain_yaml` reads."""
    import yaml

    found: list[tuple[str, int]] = []
    waiting = [yaml.compose(read_bounded(path) or "", Loader=yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    found.append((key.value, key.start_mark.line + 1))
                seen.add(str(key.value))
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return sorted(found, key=lambda pair: pair[1])

"""Small rules for tests: written into a folder as people write them, and read back as the catalogue reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from troubleshoot.catalogue import Catalogue, load_rule
from troubleshoot.engine import Diagnosis, diagnose
from troubleshoot.evidence import Case, Matcher
from troubleshoot.facts import told_facts
from troubleshoot.scanner import scan_text

__all__ = ["Rulebook", "fact_item", "log_item", "rule_data", "words_item", "write_rule", "write_samples"]


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # rules are read without anchors
        return True


def _dump(data: Mapping[str, object]) -> str:
    return yaml.dump(dict(data), Dumper=_Plain, allow_unicode=True, sort_keys=False)


def log_item(pattern: str, weight: float, group: str = "message") -> dict[str, object]:
    """A log item; its reason is its pattern."""
    return {"log": pattern, "weight": weight, "group": group, "why": f"the log says {pattern}"}


def words_item(pattern: str, weight: float, group: str = "told") -> dict[str, object]:
    """A words item; its reason is its pattern."""
    return {"words": pattern, "weight": weight, "group": group, "why": f"they say {pattern}"}


def fact_item(weight: float, group: str = "facts", **conditions: str) -> dict[str, object]:
    """A fact item; ``gpu_cc="< 8.0"`` stands for ``gpu.cc``."""
    named = {name.replace("_", ".", 1): text for name, text in conditions.items()}
    return {"fact": named, "weight": weight, "group": group, "why": f"facts {', '.join(named)}"}


def rule_data(rule_id: str, *evidence: Mapping[str, object], **changes: object) -> dict[str, object]:
    """A valid rule as a mapping. Its texts use words of its own id only, so that no saying fits by accident."""
    # Without an item of evidence a rule is not valid, so an unused one gets a text that no test prints.
    items = [dict(item) for item in evidence] or [log_item(f"never printed by {rule_id}", 1)]
    mark = "".join(char for char in rule_id if char.isalpha())
    return {
        "schema": 1,
        "id": rule_id,
        "family": "made-up",
        "title": f"{mark}title",
        "title_zh": "标题",
        "symptom": {"en": f"{mark}symptom", "zh": "现象"},
        "says": {"en": [f"{mark}saying"], "zh": []},
        "cause": f"{mark}cause",
        "prior": 0.02,
        "evidence": items,
        "fixes": [{"title": "Put it right", "label": "safe", "steps": ["Do this."]}],
        "verify": {"text": "It works."},
        **changes,
    }


def write_rule(folder: Path, data: Mapping[str, object]) -> Path:
    """Write one rule where its family and id want it, and give the path."""
    path = folder / str(data["family"]) / f"{data['id']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_dump(data), encoding="utf-8")
    return path


def write_samples(
    rule_path: Path, hit: Sequence[Mapping[str, object]], miss: Sequence[Mapping[str, object]], **changes: object
) -> Path:
    """Write the samples beside a rule."""
    data = {"schema": 1, "rule": rule_path.stem, "hit": list(hit), "miss": list(miss), **changes}
    path = rule_path.with_name(f"{rule_path.stem}.samples.yaml")
    path.write_text(_dump(data), encoding="utf-8")
    return path


class Rulebook:
    """A catalogue of a few rules in a folder, ready to diagnose cases."""

    def __init__(self, folder: Path, *rules: Mapping[str, object]) -> None:
        paths = {str(data["id"]): write_rule(folder, data) for data in rules}
        loaded = sorted((load_rule(path) for path in paths.values()), key=lambda rule: (rule.family, rule.id))
        self.catalogue = Catalogue(tuple(loaded), paths)
        self.matcher = Matcher(self.catalogue)

    def case(
        self,
        log: str = "",
        words: str = "",
        facts: Mapping[str, object] | None = None,
        audio: Mapping[str, object] | None = None,
        answers: Mapping[str, str] | None = None,
    ) -> Case:
        """A case from plain texts and told facts."""
        logs = {"run.log": scan_text(log, self.matcher.patterns)} if log else {}
        return Case(logs, told_facts(facts or {}), words, dict(audio or {}), dict(answers or {}))

    def diagnose(self, log: str = "", words: str = "", **case: Mapping[str, object] | None) -> Diagnosis:
        """Diagnose the case that :meth:`case` makes of the same arguments."""
        return diagnose(self.matcher, self.case(log, words, **case))  # type: ignore[arg-type]

    def log_odds(self, log: str = "", words: str = "", **case: Mapping[str, object] | None) -> dict[str, float]:
        """Log-odds of each finding by its rule."""
        return {found.rule.id: found.log_odds for found in self.diagnose(log, words, **case).findings}

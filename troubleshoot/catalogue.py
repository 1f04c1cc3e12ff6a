"""The catalogue: all the rules of the project, of a user's folder and of installed packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from troubleshoot.errors import RuleError
from troubleshoot.rule import Question, Rule, SampleFile
from troubleshoot.strict_yaml import Document, read_yaml

__all__ = ["BUILTIN_FOLDER", "ENTRY_POINT_GROUP", "Catalogue", "load_catalogue", "load_rule", "load_samples"]

BUILTIN_FOLDER = Path(__file__).parent / "rules"
ENTRY_POINT_GROUP = "qwen_audio.rules"
_SAMPLES = ".samples.yaml"
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Catalogue:
    """Rules by id, in a stable order."""

    rules: tuple[Rule, ...]
    paths: dict[str, Path]

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        """Rules by their id."""
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Questions of all rules by their id."""
        return {question.id: question for rule in self.rules for question in rule.questions}

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def samples(self) -> Iterator[tuple[Rule, SampleFile]]:
        """Each rule with its sample file, where there is one."""
        for rule in self.rules:
            path = self.paths[rule.id].with_name(rule.id + _SAMPLES)
            if path.exists():
                yield rule, load_samples(path, rule.id)


def load_catalogue(folders: Iterable[Path] = (), *, plugins: bool = True, check_links: bool = True) -> Catalogue:
    """Load the built-in rules, those of installed packages (entry point ``qwen_audio.rules``), and of ``folders``.

    An entry point names a package or a function without arguments that gives a folder. Raises RuleError for the first
    fault: a rule that is silently left out would be a wrong diagnosis.
    """
    paths: dict[str, Path] = {}
    rules: list[Rule] = []
    for folder in [BUILTIN_FOLDER, *(_plugin_folders() if plugins else ()), *folders]:
        for path in _rule_files(folder):
            rule = load_rule(path)
            if rule.id in paths:
                raise RuleError(path, None, f"the rule {rule.id} is already defined in {paths[rule.id]}")
            paths[rule.id] = path
            rules.append(rule)
    catalogue = Catalogue(tuple(sorted(rules, key=lambda rule: (rule.family, rule.id))), paths)
    if check_links:
        _check_links(catalogue)
    return catalogue


def load_rule(path: Path) -> Rule:
    """Read one rule file; its name and folder must agree with its id and family."""
    rule = _validated(Rule, read_yaml(path))
    if path.stem != rule.id:
        raise RuleError(path, None, f"the file {path.name} holds the rule {rule.id}; name it {rule.id}.yaml")
    if path.parent.name != rule.family:
        raise RuleError(path, None, f"the family is {rule.family} but the folder is {path.parent.name}")
    return rule


def load_samples(path: Path, rule_id: str) -> SampleFile:
    """Read the samples beside a rule."""
    samples = _validated(SampleFile, read_yaml(path))
    if samples.rule != rule_id:
        raise RuleError(path, None, f"the samples are for {samples.rule}, the rule beside them is {rule_id}")
    return samples


def _rule_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RuleError(folder, None, "is not a folder of rules")
    return sorted(path for path in folder.glob("*/*.yaml") if not path.name.endswith(_SAMPLES))


def _plugin_folders() -> Iterator[Path]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = point.load()
            yield Path(loaded() if callable(loaded) else next(iter(loaded.__path__)))
        except (ImportError, AttributeError, TypeError) as error:
            reason = f"the entry point {point.name} of {ENTRY_POINT_GROUP} gives no folder of rules: {error}"
            raise RuleError(point.value, None, reason) from error


def _validated(model: type[_Model], document: Document) -> _Model:
    if not isinstance(document.data, dict):
        raise RuleError(document.path, 1, "does not hold a mapping of keys to values")
    schema = document.data.get("schema")
    if isinstance(schema, int) and schema > 1:
        line = document.line_of(("schema",))
        raise RuleError(document.path, line, f"has schema {schema}; this version reads up to 1, upgrade it")
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = tuple(first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        name = ".".join(map(str, place)) or "file"
        raise RuleError(document.path, document.line_of(place), f"{name}: {reason}") from None


def _check_links(catalogue: Catalogue) -> None:
    seen: dict[str, str] = {}
    for rule in catalogue:
        for question in rule.questions:
            if question.id in seen:
                reason = f"the question {question.id} is already asked by {seen[question.id]}; choose another id"
                raise RuleError(catalogue.paths[rule.id], None, reason)
            seen[question.id] = rule.id
        named = [*rule.masks, *(other.rule for other in rule.lookalikes)]
        named += [target for question in rule.questions for answer in question.answers for target in answer.weights]
        for target in named:
            if target not in catalogue.by_id:
                raise RuleError(catalogue.paths[rule.id], None, f"names the rule {target}, which does not exist")

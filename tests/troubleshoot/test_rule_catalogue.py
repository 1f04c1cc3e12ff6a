"""A catalogue is what lies in its folders; anything that does not fit together stops the loading with its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from rulebook import log_item, rule_data, write_rule, write_samples

from troubleshoot import catalogue as module
from troubleshoot.catalogue import Catalogue, load_catalogue, load_rule, load_samples
from troubleshoot.errors import RuleError

QUESTION = {
    "id": "a-question",
    "ask": "What?",
    "ask_zh": "什么？",
    "cost_s": 5,
    "answers": [
        {"value": "yes-it-is", "text": "a", "weights": {"one": 1}},
        {"value": "no-it-is-not", "text": "b", "weights": {"one": -1}},
    ],
}


@pytest.fixture
def builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the built-in rules."""
    folder = tmp_path / "builtin"
    folder.mkdir()
    monkeypatch.setattr(module, "BUILTIN_FOLDER", folder)
    return folder


def ids(catalogue: Catalogue) -> list[str]:
    return [rule.id for rule in catalogue]


def test_rules_come_in_order_of_family_and_id(builtin: Path) -> None:
    for rule_id, family in (("zz", "alpha"), ("bb", "beta"), ("aa", "beta")):
        write_rule(builtin, rule_data(rule_id, family=family))
    catalogue = load_catalogue(plugins=False)
    assert ids(catalogue) == ["zz", "aa", "bb"]
    assert len(catalogue) == 3
    assert catalogue.by_id["bb"].family == "beta"
    assert catalogue.paths["bb"] == builtin / "beta" / "bb.yaml"


def test_folders_of_users_add_to_the_built_in_rules(builtin: Path, tmp_path: Path) -> None:
    write_rule(builtin, rule_data("one"))
    write_rule(tmp_path / "mine", rule_data("two"))
    assert ids(load_catalogue([tmp_path / "mine"], plugins=False)) == ["one", "two"]


def test_a_rule_is_defined_once(builtin: Path, tmp_path: Path) -> None:
    write_rule(builtin, rule_data("one"))
    write_rule(tmp_path / "mine", rule_data("one", family="other"))
    with pytest.raises(RuleError, match=r"the rule one is already defined in .*builtin"):
        load_catalogue([tmp_path / "mine"], plugins=False)


def test_a_folder_that_is_none_is_named(builtin: Path, tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="is not a folder of rules"):
        load_catalogue([tmp_path / "absent"], plugins=False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("one.yaml", "other.yaml", "holds the rule one; name it one.yaml"),
        ("made-up", "elsewhere", "the family is made-up but the folder is elsewhere"),
    ],
)
def test_name_and_folder_agree_with_id_and_family(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = write_rule(tmp_path, rule_data("one"))
    moved = Path(str(path).replace(old, new))
    moved.parent.mkdir(exist_ok=True)
    path.rename(moved)
    with pytest.raises(RuleError, match=words):
        load_rule(moved)


def test_a_fault_of_the_schema_is_given_with_its_line_and_key(tmp_path: Path) -> None:
    path = write_rule(tmp_path, rule_data("one", log_item("a", 1), log_item("b", 1)))
    lines = path.read_text().splitlines()
    row = lines.index("- log: b") + 1
    lines[row] = "  weight: heavy"
    path.write_text("\n".join(lines))
    with pytest.raises(RuleError) as caught:
        load_rule(path)
    assert caught.value.line == row + 1
    assert caught.value.reason == "evidence.1.weight: Input should be a valid number"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "does not hold a mapping"),
        ("just text\n", "does not hold a mapping"),
        ("schema: 2\nid: one\n", "has schema 2; this version reads up to 1"),
        ("schema: 1\nid: one\nextra: 1\n", "Extra inputs are not permitted|Field required"),
    ],
)
def test_a_file_that_holds_no_rule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "made-up" / "one.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RuleError, match=words):
        load_rule(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"masks": ["nowhere"]},
        {"lookalikes": [{"rule": "nowhere", "tell": "x"}]},
        {
            "questions": [
                {
                    **QUESTION,
                    "answers": [*QUESTION["answers"], {"value": "third", "text": "c", "weights": {"nowhere": 1}}],
                }
            ]
        },  # type: ignore[misc]
    ],
)
def test_links_lead_to_rules_that_exist(builtin: Path, changes: dict[str, object]) -> None:
    write_rule(builtin, rule_data("one", **changes))
    with pytest.raises(RuleError, match="names the rule nowhere, which does not exist"):
        load_catalogue(plugins=False)
    assert ids(load_catalogue(plugins=False, check_links=False)) == ["one"]


def test_a_question_is_asked_by_one_rule_only(builtin: Path) -> None:
    write_rule(builtin, rule_data("one", questions=[QUESTION]))
    write_rule(builtin, rule_data("two", questions=[QUESTION]))
    with pytest.raises(RuleError, match="the question a-question is already asked by one"):
        load_catalogue(plugins=False)


def test_questions_are_found_by_their_id(builtin: Path) -> None:
    write_rule(builtin, rule_data("one", questions=[QUESTION]))
    assert load_catalogue(plugins=False).questions["a-question"].ask == "What?"


def test_samples_lie_beside_their_rule(builtin: Path) -> None:
    path = write_rule(builtin, rule_data("one"))
    write_rule(builtin, rule_data("two"))
    sample = [{"name": "a", "log": "x"}]
    samples_path = write_samples(path, sample, sample)
    ((rule, samples),) = load_catalogue(plugins=False).samples()
    assert (rule.id, samples.hit[0].name) == ("one", "a")
    with pytest.raises(RuleError, match="the samples are for one, the rule beside them is two"):
        load_samples(samples_path, "two")


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("extra", value, module.ENTRY_POINT_GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == module.ENTRY_POINT_GROUP else [])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make an importable package of the given source."""

    def make(source: str) -> Path:
        folder = tmp_path / "site" / "extra_rules"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.delitem(sys.modules, "extra_rules", raising=False)
        return folder

    return make


@pytest.mark.usefixtures("builtin")
def test_installed_packages_bring_their_rules(package: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package("def folder():\n    return __path__[0]\n")
    write_rule(folder, rule_data("one"))
    for value in ("extra_rules", "extra_rules:folder"):
        offer(monkeypatch, value)
        assert ids(load_catalogue()) == ["one"]
    assert ids(load_catalogue(plugins=False)) == []


@pytest.mark.usefixtures("builtin")
@pytest.mark.parametrize("value", ["absent_package", "extra_rules:absent", "extra_rules:VALUE"])
def test_a_package_whose_rules_cannot_be_had_is_named(
    package: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    package("VALUE = 3\n")
    offer(monkeypatch, value)
    with pytest.raises(RuleError, match="entry point extra"):
        load_catalogue()

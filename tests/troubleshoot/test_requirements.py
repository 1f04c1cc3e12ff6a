"""The doctor's rows are judged from facts alone: broken by a rule, by their own demand, a consequence, or not seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from rulebook import Rulebook, rule_data

from troubleshoot import requirements as module
from troubleshoot.catalogue import Catalogue
from troubleshoot.conditions import Condition, parse_condition
from troubleshoot.errors import RuleError
from troubleshoot.facts import NA
from troubleshoot.requirements import Row, RowResult, check_requirements, load_rows
from troubleshoot.rule import Rule

Make = Callable[..., Rulebook]
ROWS = [
    {
        "id": "boiler", "title": "Boiler", "threshold": "hot", "why": "Water has to be warm.", "needs": ["boiler.heat"],
        "found": ["{boiler.heat} degrees at {boiler.place}", "{boiler.heat} degrees"],
        "must": {"boiler.lit": "true"}, "otherwise": ["the flame is out ({boiler.place})", "the flame is out"],
        "remedy": "Light it.", "states": ["boiler.state"],
    },
    {
        "id": "tap", "title": "Tap", "threshold": "open", "why": "Water has to come.", "needs": ["tap.flow"],
        "found": ["{tap.flow} l/min"], "applies": {"house.water": "== mains", "tap.count": "> 0"},
        "not_applicable": {"house.water": "no mains", "tap.count": "no tap"}, "follows": ["boiler"],
    },
    {
        "id": "tub", "title": "Tub", "threshold": "whole", "why": "Water has to stay.", "needs": ["tub.state"],
        "found": ["{tub.state}"], "follows": ["boiler", "tap"],
    },
]  # fmt: skip
WELL = {
    "boiler.heat": 60.4,
    "boiler.lit": True,
    "house.water": "mains",
    "tap.count": 1,
    "tap.flow": 12.25,
    "tub.state": "whole",
}


def requirement(row: str, level: str, found: str, *when: dict[str, str]) -> dict[str, object]:
    return {"row": row, "level": level, "when": list(when), "found": found}


COLD = rule_data(
    "cold", requirement=requirement("boiler", "fail", "only {boiler.heat}", {"boiler.heat": "< 40"}), prior=0.01
)
TEPID = rule_data(
    "tepid", requirement=requirement("boiler", "warn", "{boiler.heat} is little", {"boiler.heat": "< 50"}), prior=0.3
)
ICE = rule_data(
    "ice", requirement=requirement("boiler", "fail", "ice", {"boiler.heat": "< 0"}, {"boiler.ice": "true"}), prior=0.02
)
DRY = rule_data("dry", requirement=requirement("tap", "fail", "{tap.flow} from {tap.maker}", {"tap.flow": "< 1"}))


@pytest.fixture
def judge(rulebook: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, RowResult]]:
    """Judge the rows above, with the rules above, for facts that differ from those of a house where all is well."""
    rows = tuple(Row.model_validate(row) for row in ROWS)
    monkeypatch.setattr(module, "load_rows", lambda: rows)
    catalogue = rulebook(COLD, TEPID, ICE, DRY, rule_data("without-a-row")).catalogue

    def judged(facts: Mapping[str, object] | None = None, **states: str) -> dict[str, RowResult]:
        return {each.row.id: each for each in check_requirements(catalogue, {**WELL, **(facts or {})}, states)}

    return judged


def shown(result: RowResult) -> tuple[str, str, str | None]:
    return result.verdict, result.found, result.rule.id if result.rule else None


Judge = Callable[..., dict[str, RowResult]]


def test_a_house_where_all_is_well_is_ok_in_every_row(judge: Judge) -> None:
    assert [shown(result) for result in judge().values()] == [
        ("ok", "60.4 degrees", None), ("ok", "12.2 l/min", None), ("ok", "whole", None),
    ]  # fmt: skip


def test_the_first_text_whose_facts_are_known_is_shown(judge: Judge) -> None:
    assert judge({"boiler.place": "the cellar"})["boiler"].found == "60.4 degrees at the cellar"
    assert judge({"boiler.place": NA("not looked")})["boiler"].found == "60.4 degrees"
    assert judge({"boiler.heat": 160.7})["boiler"].found == "161 degrees"
    assert judge({"tub.state": True})["tub"].found == "yes"
    assert judge({"tub.state": "one\ntwo"})["tub"].found == "one"
    assert judge({"tub.state": "x" * 900})["tub"].found == "x" * 299 + "…"


def test_a_rule_breaks_its_row_and_the_worst_rule_shows(judge: Judge) -> None:
    assert shown(judge({"boiler.heat": 45})["boiler"]) == ("warn", "45 is little", "tepid")
    assert shown(judge({"boiler.heat": 30})["boiler"]) == ("fail", "only 30", "cold")
    assert shown(judge({"boiler.heat": -1})["boiler"]) == ("fail", "ice", "ice")
    assert shown(judge({"boiler.ice": True})["boiler"]) == ("fail", "ice", "ice")


def test_a_rules_text_with_an_unknown_fact_gives_way_to_the_rows_own(judge: Judge) -> None:
    assert shown(judge({"tap.flow": 0.5})["tap"]) == ("fail", "0.5 l/min", "dry")


def test_a_rows_own_demand_fails_without_a_rule_and_says_what_to_do(judge: Judge) -> None:
    result = judge({"boiler.lit": False})["boiler"]
    assert shown(result) == ("fail", "the flame is out", None)
    assert result.remedy == "Light it."
    assert judge()["boiler"].remedy == ""


def test_a_row_that_makes_no_sense_says_why(judge: Judge) -> None:
    assert shown(judge({"house.water": "well"})["tap"]) == ("not-applicable", "no mains", None)
    assert shown(judge({"tap.count": 0, "tap.flow": 0})["tap"]) == ("not-applicable", "no tap", None)


def test_what_could_not_be_seen_is_not_checked_and_says_why(judge: Judge) -> None:
    assert shown(judge({"boiler.heat": None})["boiler"]) == ("not-checked", "boiler.heat is not known", None)
    assert shown(judge({"boiler.heat": NA("no thermometer\nat all")})["boiler"]) == (
        "not-checked",
        "no thermometer",
        None,
    )
    assert shown(judge({"house.water": None})["tap"]) == ("not-checked", "house.water is not known", None)


@pytest.mark.parametrize("state", ["crashed", "timed-out"])
def test_how_a_probe_ended_shows(judge: Judge, state: str) -> None:
    assert shown(judge({"tub.state": None}, tub=state)["tub"]) == (state, "tub.state is not known", None)
    assert shown(judge({"tub.state": None}, tub="ok")["tub"])[0] == "not-checked"
    assert shown(judge({"boiler.lit": False, "boiler.state": state})["boiler"])[0] == state
    assert shown(judge({"boiler.heat": 30, "boiler.state": state})["boiler"]) == (state, "only 30", "cold")


def test_a_row_below_a_failing_one_is_its_consequence(judge: Judge) -> None:
    results = judge({"boiler.heat": 30, "tap.flow": 0.5, "tub.state": None})
    assert results["tap"].follows is results["boiler"].row
    assert results["tub"].follows is results["boiler"].row  # the root, not the row between
    assert shown(results["tub"]) == ("not-checked", "to be seen once this is right: Boiler", None)
    assert judge({"tap.flow": 0.5})["tap"].follows is None


def test_a_result_in_json_has_the_rules_fixes(judge: Judge) -> None:
    form = json.loads(json.dumps(judge({"boiler.heat": 30})["boiler"].to_json()))
    assert (form["id"], form["verdict"], form["rule"], form["follows"]) == ("boiler", "fail", "cold", None)
    assert form["fixes"][0]["title"] == "Put it right"
    assert json.loads(json.dumps(judge()["tap"].to_json()))["fixes"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"applies": {"a.b": "8"}, "not_applicable": {"a.b": "x"}}, "is not a condition"),
        ({"applies": {"a.b": "== 8"}}, "applies and not_applicable name different facts"),
        ({"must": {}}, "must and otherwise go together"),
        ({"needs": []}, "at least 1 item"),
        ({"surprise": 1}, "Extra inputs"),
        ({"follows": ["later"]}, "boiler follows later, which is no row above it"),
        ({"title": 7}, "valid string"),
    ],
)
def test_a_row_that_is_not_right_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "rows": [{**ROWS[0], **change}]}))
    with pytest.raises(RuleError, match=words) as caught:
        load_rows(path)
    assert caught.value.line == 2


@pytest.mark.parametrize("text", ["rows: 3", "- a", "schema: 1"])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    with pytest.raises(RuleError, match="does not hold a list of rows"):
        load_rows(path)


# ---- the rows of the project --------------------------------------------------------------------------------------


def value_for(conditions: list[Condition]) -> object:
    """A value for which all conditions on one fact hold."""
    operands = [part.strip() for condition in conditions for part in condition.operand.split(",")]
    texts = [operand.lstrip("^").split("(")[0] + end for operand in operands for end in ("", "9")]
    tries: list[object] = [*operands, *texts, True, False, None, "0.1", "1.0", "99.0", "something else"]
    return next(value for value in tries if all(condition.holds(value) is True for condition in conditions))


def facts_that_break(rule: Rule, row: Row, when: Mapping[str, str]) -> dict[str, object]:
    wanted: dict[str, list[Condition]] = {}
    for conditions in (when, row.applies):
        for name, text in conditions.items():
            wanted.setdefault(name, []).append(parse_condition(text))
    return {name: value_for(conditions) for name, conditions in wanted.items()}


def test_every_row_is_broken_by_some_rule_and_every_rules_row_exists(builtin_catalogue: Catalogue) -> None:
    broken = {rule.requirement.row for rule in builtin_catalogue if rule.requirement}
    assert broken == {row.id for row in load_rows()}


def test_every_way_in_which_a_rule_breaks_its_row_can_happen(builtin_catalogue: Catalogue) -> None:
    rows = {row.id: row for row in load_rows()}
    for rule in builtin_catalogue:
        if rule.requirement is None:
            continue
        row = rows[rule.requirement.row]
        for when in rule.requirement.when:
            facts = facts_that_break(rule, row, when)
            alone = Catalogue((rule,), {})
            result = next(each for each in check_requirements(alone, facts) if each.row is row)
            assert result.rule is rule, (rule.id, facts, result.verdict)
            assert result.verdict in ("fail", "warn", "crashed", "timed-out"), (rule.id, facts)

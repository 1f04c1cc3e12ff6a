"""Rule files come from strangers: each abuse of YAML is refused by name, and nothing but RuleError ever comes out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from troubleshoot import strict_yaml
from troubleshoot.errors import RuleError
from troubleshoot.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, read_yaml, read_yaml_text


def data_of(text: str) -> object:
    return read_yaml_text(text, "rule.yaml").data


def fault_of(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        read_yaml_text(text, "rule.yaml")
    return caught.value


def test_plain_data_is_read_as_it_stands() -> None:
    text = """
    text: plain words
    quoted: "no"
    block: |
      two
      lines
    folded: >-
      one
      line
    whole: 12
    negative: -3
    signed: +4
    part: 0.25
    small: 1.5e-3
    zero: 0
    holds: true
    fails: FALSE
    nothing: null
    list: [1, two, "3"]
    中文: 键
    """
    assert data_of(text) == {
        "text": "plain words", "quoted": "no", "block": "two\nlines\n", "folded": "one line", "whole": 12,
        "negative": -3, "signed": 4, "part": 0.25, "small": 0.0015, "zero": 0,
        "holds": True, "fails": False, "nothing": None,
        "list": [1, "two", "3"], "中文": "键",
    }  # fmt: skip


def test_whole_numbers_stay_whole() -> None:
    assert isinstance(data_of("12"), int)
    assert isinstance(data_of("12.0"), float)
    assert data_of("true") is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system ['true']", "tag"),
        ("a: !!python/object/new:os.path.join {args: [a]}", "tag"),
        ("a: !!python/name:os.system", "tag"),
        ("!!python/object/apply:subprocess.getoutput ['true']", "tag"),
        ("a: !!python/tuple [1, 2]", "tag"),
        ("a: !!set {b, c}", "tag"),
        ("a: !!omap [b: 1]", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: !!str 12", "tag"),
        ("a: !!float 1", "tag"),
        ("a: !own 1", "tag"),
        ("a: !own {b: 1}", "tag"),
        ("!!str a: 1", "a tag"),
        ("? !own a\n: 1", "a tag"),
    ],
)
def test_code_tags_and_all_other_tags_are_refused(text: str, words: str) -> None:
    assert words in fault_of(text).reason


def test_the_alias_bomb_is_refused_before_it_is_expanded() -> None:
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    started = time.perf_counter()
    fault = fault_of("\n".join(rows))
    assert time.perf_counter() - started < 1
    assert fault.line == 1
    assert "anchor" in fault.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x 1\nb: *x", "anchor"),
        ("&x a: 1", "anchor"),
        ("&x {a: 1}", "anchor"),
        ("a: *x", "alias"),
        ("? *x\n: 1", "key that is not plain text"),
        ("base: {a: 1}\n<<: {b: 2}", "merge key"),
    ],
)
def test_anchors_aliases_and_merges_are_refused(text: str, words: str) -> None:
    assert words in fault_of(text).reason


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_three_thousand_nested_brackets_are_a_fault_and_no_recursion_error(
    monkeypatch: pytest.MonkeyPatch, opening: str, loader: str
) -> None:
    monkeypatch.setattr(strict_yaml, "_Loader", getattr(yaml, loader))
    assert "nested deeper than 20" in fault_of(opening * 3_000).reason


def test_twenty_levels_are_read_and_one_more_is_not() -> None:
    deep: object = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert data_of(str(deep)) is not None
    assert "nested deeper" in fault_of("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)).reason


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "{a: 1, a: 1}", '"a": 1\na: 2', "x:\n  a: 1\n  a: 2"])
def test_a_key_given_twice_is_a_fault(text: str) -> None:
    assert "twice" in fault_of(text).reason


def test_a_fault_names_the_file_and_the_line() -> None:
    fault = fault_of("a: 1\nb:\n  - c: 1\n  - c: 1\n    c: 2\n")
    assert (fault.path, fault.line) == ("rule.yaml", 5)
    assert str(fault) == "rule.yaml:5: has the key 'c' twice"


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO", "On", "y", "N"])
def test_bare_words_that_yaml_takes_for_booleans_are_refused(word: str) -> None:
    assert f"quote it: '{word}'" in fault_of(f"answer: {word}").reason
    assert data_of(f"answer: '{word}'") == {"answer": word}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("010", "base 8"),
        ("-007", "base 8"),
        ("0x1f", "writing of YAML's own"),
        ("0b101", "writing of YAML's own"),
        ("12:30", "writing of YAML's own"),
        ("1:30:00.5", "writing of YAML's own"),
        ("1_000", "writing of YAML's own"),
        ("1_000.5", "writing of YAML's own"),
        (".nan", "not finite"),
        (".NaN", "not finite"),
        ("-.inf", "not finite"),
        ("1.0e+400", "not finite"),
        ("9" * 400, "not finite"),
        ("9" * 5_000, "not finite"),
        ("2026-11-24", "timestamp"),
        ("=", "quote it"),
    ],
)
def test_bare_values_with_a_second_meaning_are_refused(value: str, words: str) -> None:
    assert words in fault_of(f"value: {value}").reason
    assert data_of(f"value: '{value}'") == {"value": value}


def test_what_yaml_leaves_as_text_stays_text() -> None:
    assert data_of("a: 1e400") == {"a": "1e400"}  # the schema then asks for a number
    assert data_of("a: 2.5.1") == {"a": "2.5.1"}
    assert data_of("a: -1e3") == {"a": "-1e3"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("a: [1, 2", "not YAML"),
        ("a: 'open", "not YAML"),
        ("a:\n\t- b", "not YAML"),
        ("[a]: 1", "key that is not plain text"),
        ("{{a: 1}: 2}", "key that is not plain text"),
        ("%YAML 3.0\n---\na: 1", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: \x07", "not YAML"),
        ("a: \ud800", "surrogate"),
    ],
)
def test_what_is_no_single_plain_document_is_refused(text: str, words: str) -> None:
    assert words in fault_of(text).reason


def test_more_nodes_than_any_rule_needs_are_refused() -> None:
    assert "more than 10000 nodes" in fault_of(f"[{'a,' * MAX_NODES}a]").reason


def test_a_file_over_the_limit_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("# " + "x" * MAX_BYTES)
    with pytest.raises(RuleError, match=f"at most {MAX_BYTES} are read"):
        read_yaml(path)
    with pytest.raises(RuleError, match="over"):
        read_yaml_text("# " + "字" * (MAX_BYTES // 2), "rule.yaml")


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "largest.yaml"
    path.write_text("a: 1\n# ".ljust(MAX_BYTES, "x"))
    assert read_yaml(path).data == {"a": 1}


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(RuleError, match="not a plain file"):
        read_yaml(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: größe\n".encode("latin-1"))
    with pytest.raises(RuleError, match="not UTF-8") as caught:
        read_yaml(latin)
    assert caught.value.line == 2


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(path).data == {"a": 1, "b": 2}


def test_lines_are_found_by_the_place_of_a_node() -> None:
    document = read_yaml_text("a: 1\nlist:\n  - x: 1\n  - x: 2\n", "rule.yaml")
    assert document.line_of(("a",)) == 1
    assert document.line_of(("list", 1, "x")) == 4
    assert document.line_of(("list", 1, "absent")) == 4
    assert document.line_of(("nowhere",)) == 1


def fault_or_none(read: Callable[[], object]) -> RuleError | None:
    try:
        read()
    except RuleError as error:
        return error
    return None


yaml_like = st.text(st.sampled_from(list("abyno01.:-_#'\"[]{}<>&*!|%?,= \n\t\\é\x00\ud800")), max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.one_of(yaml_like, st.text(max_size=40)))
def test_any_text_gives_data_or_a_rule_error(text: str) -> None:
    fault = fault_or_none(lambda: read_yaml_text(text, "any.yaml"))
    assert fault is None or (fault.path == "any.yaml" and fault.reason)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_in_a_file_give_data_or_a_rule_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    fault = fault_or_none(lambda: read_yaml(path))
    assert fault is None or fault.reason


short_floats = st.floats(-1e9, 1e9).filter(lambda number: "e" not in repr(number))
plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-10**9, 10**9), short_floats,
        st.text(st.characters(exclude_categories=("C",), exclude_characters="\u2028\u2029\x85"), max_size=12),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(categories=("L",)), min_size=1, max_size=6), inner, max_size=4),
    ),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(plain)
def test_what_a_careful_writer_quotes_comes_back_unchanged(data: object) -> None:
    # JSON quotes all text, so none of YAML's second meanings can arise.
    assert data_of(json.dumps(data, ensure_ascii=False)) == data

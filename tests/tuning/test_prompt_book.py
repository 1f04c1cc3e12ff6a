"""Prompt books: kept and read back, refused with a reason, scored, exported."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tone_voice import ToneVoice, plan_of

from toolkit.errors import BadOutput, UsageError
from toolkit.tuning import export_book, frame
from toolkit.tuning.book import Book, load_book, save_book, with_preference, with_score
from toolkit.tuning.trials import run_plan


@pytest.fixture(scope="module")
def book() -> Book:
    return run_plan(plan_of("20% faster", "用气声说: whisper", seeds=3), open_voice=ToneVoice)


def test_a_book_comes_back_as_it_was(book: Book, tmp_path: Path) -> None:
    path = save_book(with_preference(with_score(book, 1, 4, "clear: yes"), 1, 2), tmp_path / "b.yaml")
    again = load_book(path)
    assert again.trials == book.trials
    assert (again.scores[0].score, again.scores[0].note) == (4, "clear: yes")
    assert (again.preferences[0].better, again.preferences[0].worse) == (1, 2)
    assert save_book(again, tmp_path / "c.yaml").read_bytes() == path.read_bytes()
    assert "用气声说" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("schema_version: 1", "schema_version: 2", "was written by a newer version (schema 2)"),
        ("seeds: 3", "seeds: '3'", "plan.seeds"),
        ("seeds: 3", "seeds: 2", "plan.seeds"),
        ("  language: auto", "  language: auto\n  colour: red", "plan.colour"),
        ('"variant": 1', '"variant": 7', "there is no variant 7"),
        ('"run": 1', '"run": 0', "a trial stands twice"),
        ("plan:\n", "plan: [\n", "is not valid YAML"),
        ("plan:\n", "plam:\n", "has no plan"),
        ("finished: true", "finished: &a true\nother: *a", "uses YAML aliases"),
    ],
)
def test_a_book_that_is_none_is_refused_by_field(book: Book, tmp_path: Path, old: str, new: str, told: str) -> None:
    path = save_book(book, tmp_path / "b.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        load_book(path)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_book(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_book(tmp_path / "b.yaml")


def test_scores_are_checked(book: Book) -> None:
    with pytest.raises(UsageError, match="there is no variant 9"):
        with_score(book, 9, 3)
    with pytest.raises(UsageError, match="scores"):
        with_score(book, 1, 6)
    with pytest.raises(UsageError, match="better than itself"):
        with_preference(book, 1, 1)


def test_the_table_is_the_same_as_frame_csv_and_parquet(book: Book, tmp_path: Path) -> None:
    scored = with_preference(with_score(with_score(book, 1, 4), 1, 5), 1, 2)
    table = frame(scored)
    assert len(table) == 9
    assert table[table.variant == 1].score.tolist() == [4.5] * 3
    assert table[table.variant == 2].worse_than.tolist() == [1] * 3
    assert table[table.variant == 2].median_f0_hz.isna().all()
    read = pd.read_csv(export_book(scored, tmp_path / "t.csv"), keep_default_na=True)
    assert read.level_dbfs.tolist() == table.level_dbfs.tolist()
    again = pd.read_parquet(export_book(scored, tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    with pytest.raises(BadOutput, match="exists"):
        export_book(scored, tmp_path / "t.csv")
    with pytest.raises(BadOutput, match=r"\.csv or \.parquet; found \.xls"):
        export_book(scored, tmp_path / "t.xls")

"""Wrong input: one clear line on standard error, nothing on standard output, exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from running import FACTS, ROOT, Run

RULE = (ROOT / "tests/doctor/rules/numerics/silent-output.yaml").read_text(encoding="utf-8")
Words = Callable[[Path], list[object]]


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def doctor_json(folder: Path, **changed: object) -> Path:
    data = json.loads((FACTS / "no-gpu.json").read_text(encoding="utf-8"))
    return put(folder, "facts.json", json.dumps({**data, **changed}))


CASES: dict[str, tuple[Words, str]] = {
    "an option that does not exist": (
        lambda p: ["doctor", "--nope"],
        "No such option: --nope",
    ),
    "a command that does not exist": (lambda p: ["docter"], "No such command 'docter'"),
    "an argument that is missing": (lambda p: ["recheck"], "see qwen-audio recheck --help"),
    "half of a pair": (lambda p: ["doctor", "--compare"], "requires 2 arguments"),
    "a number that is none": (lambda p: ["watch", "-i", "soon"], "see qwen-audio watch --help"),
    "nothing to diagnose": (lambda p: ["diagnose"], "nothing to diagnose: give a log file, - for standard input"),
    "a log that is missing": (
        lambda p: ["diagnose", p / "no.log"],
        "cannot read the log {}/no.log: No such file or directory",
    ),
    "a folder as a log": (lambda p: ["diagnose", p], "cannot read the log {}: Is a directory"),
    "a bundle that is missing": (
        lambda p: ["diagnose", p / "no.zip"],
        "cannot read {}/no.zip: No such file or directory",
    ),
    "a zip that is none": (lambda p: ["diagnose", put(p, "x.zip", "no zip")], "{}/x.zip is not a readable zip"),
    "a fact without a value": (
        lambda p: ["diagnose", "--fact", "gpu"],
        "--fact 'gpu': write NAME=VALUE, such as --fact gpu='RTX 4070'",
    ),
    "a fact without a name": (lambda p: ["diagnose", "--fact", "=x"], "--fact '=x': write NAME=VALUE"),
    "a fact that is told twice": (
        lambda p: ["diagnose", "--fact", "gpu=a", "--fact", "gpu=b"],
        "--fact gives gpu twice: 'a' and 'b'",
    ),
    "a fact of an impossible name": (lambda p: ["diagnose", "--fact", "my gpu=x"], "fact name 'my gpu' is not usable"),
    "an answer to no question": (
        lambda p: ["diagnose", "--words", "x", "--answer", "no-such=yes"],
        "no question is called no-such; `qwen-audio rules show RULE` lists the questions of a rule",
    ),
    "an answer that is no choice": (
        lambda p: ["diagnose", "--words", "x", "--answer", "driver-seen-by-nvidia-smi=perhaps"],
        "has no answer 'perhaps'; choose one of: failed, table",
    ),
    "asking without a terminal": (lambda p: ["diagnose", "--words", "x", "--ask"], "--ask needs a terminal"),
    "a rule that does not exist": (
        lambda p: ["rules", "show", "cpu-only-torch"],
        "no rule is called cpu-only-torch; did you mean cpu-only-torch-wheel",
    ),
    "a rule like no other": (
        lambda p: ["rules", "show", "zzzzzz"],
        "no rule is called zzzzzz; see qwen-audio rules list",
    ),
    "a family that does not exist": (
        lambda p: ["rules", "list", "--family", "x"],
        "no family is called x; there are: audio",
    ),
    "a rule folder that is missing": (lambda p: ["rules", "check", p / "no"], "{}/no: is not a folder of rules"),
    "a rule file with a wrong key": (
        lambda p: ["rules", "list", "--rules", put(p, "numerics/silent-output.yaml", RULE + "foo: 1\n").parents[1]],
        f"{{}}/numerics/silent-output.yaml:{RULE.count(chr(10)) + 1}: foo: Extra inputs are not permitted",
    ),
    "a rule file that is no YAML": (
        lambda p: ["rules", "check", put(p, "f/r.yaml", "schema: 1\nid: [\n").parents[1]],
        "{}/f/r.yaml:",
    ),
    "a rule file from the future": (
        lambda p: ["doctor", "--rules", put(p, "f/r.yaml", "schema: 2\n").parents[1]],
        "{}/f/r.yaml:1: has schema 2; this version reads up to 1",
    ),
    "reports that are missing": (lambda p: ["rules", "eval", p / "no.jsonl"], "no.jsonl"),
    "facts that are missing": (lambda p: ["doctor", "--facts", p / "no.json"], "cannot read {}/no.json: No such file"),
    "facts that are no JSON": (lambda p: ["doctor", "--facts", put(p, "f.json", "{")], "{}/f.json is not JSON"),
    "JSON that holds no facts": (lambda p: ["doctor", "--facts", put(p, "f.json", "{}")], "{}/f.json holds no facts"),
    "facts from the future": (
        lambda p: ["doctor", "--facts", doctor_json(p, schema=2)],
        "{}/facts.json has schema 2, this version reads up to 1: upgrade the toolkit",
    ),
    "facts with an unknown key": (
        lambda p: ["doctor", "--facts", doctor_json(p, extra=1)],
        "has the unknown key 'extra'",
    ),
    "facts and a machine": (lambda p: ["doctor", "--facts", p, "--model", "x"], "--facts judges a file from elsewhere"),
    "a comparison and a machine": (
        lambda p: ["doctor", "--compare", p, p, "--python", "python3"],
        "--compare takes two doctor files and looks at nothing else",
    ),
    "a saved diagnosis that is none": (
        lambda p: ["recheck", put(p, "s.json", '{"schema": 1, "kind": "doctor"}')],
        "{}/s.json is not a saved diagnosis; make one with: qwen-audio diagnose",
    ),
    "an interpreter that is missing": (
        lambda p: ["doctor", "--python", p / "no"],
        "--python {}/no: there is no such file or folder",
    ),
    "a service that is missing": (lambda p: ["diagnose", "--service", p / "no"], "{}/no is not a folder"),
    "a recording that is none": (lambda p: ["diagnose", "--audio", put(p, "a.wav", "no sound")], "{}/a.wav"),
    "a page in no folder": (
        lambda p: ["rules", "list", "--html", p / "no" / "x.html"],
        "cannot write {}/no/x.html: No such file or directory",
    ),
    "a page that is a folder": (lambda p: ["rules", "list", "--html", p], "cannot write {}: it is a folder"),
    "a place to save in no folder": (
        lambda p: ["diagnose", "--words", "x", "--save", p / "no" / "s.json"],
        "cannot write {}/no/s.json",
    ),
    "a bundle that exists": (
        lambda p: ["bundle", "--no-doctor", "--words", "x", "-o", put(p, "b.zip", "precious")],
        "{}/b.zip exists; choose another name, or add --overwrite",
    ),
    "a bundle of a log that is missing": (
        lambda p: ["bundle", "--no-doctor", p / "no.log"],
        "cannot read the log {}/no.log",
    ),
    "an interval of nothing": (lambda p: ["watch", "-i", "0"], "interval 0.0 s: give 0.05 to 3600 seconds"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("as_json", [False, True])
def test_one_line_and_exit_code_2(run: Run, tmp_path: Path, case: str, as_json: bool) -> None:
    words, expected = CASES[case]
    ran = run(*words(tmp_path), *(["--json"] if as_json else []))
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.line.startswith("qwen-audio: ")
    assert expected.replace("{}", str(tmp_path)) in ran.line
    assert "Traceback" not in ran.err


def test_a_page_is_written_whole_or_not_at_all(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = put(tmp_path, "page.html", "before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = run("rules", "list", "--html", page)
    assert (ran.code, ran.line) == (2, f"qwen-audio: cannot write {page}: No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text() == "before"


def test_an_existing_bundle_can_be_replaced(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "b.zip", "old")
    assert run("bundle", "--no-doctor", "--words", "x", "-o", path, "--overwrite").code == 0
    assert path.read_bytes().startswith(b"PK")


def test_a_name_with_escape_codes_does_not_act(run: Run, tmp_path: Path) -> None:
    ran = run("diagnose", tmp_path / "\x1b[2Jno\u202e.log")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert "\\u001b[2Jno\\u202e.log" in ran.line

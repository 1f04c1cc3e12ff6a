"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import toolkit
from toolkit.cli.main import app

ROOT = Path(__file__).parent.parent
MOST_LINES = 600
FORBIDDEN_CALLS = {"torch.load", "yaml.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system", "os.popen"}
NOT_OURS = {
    ".git",
    ".venv",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "node_modules",
}
# Put together here so that this file does not hold what it looks for.
# The tutorial that the service comes from builds it in the folder `build` of root, so that one is subject, not place.
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w~.])/{name}/(?!build\b)[a-z]\w*" for name in ("work", "root")))


def files(*endings: str) -> Iterator[Path]:
    """Tracked and new files of the project; without git, all but what tools leave behind."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    paths = [ROOT / name for name in names] or [path for path in ROOT.rglob("*") if not NOT_OURS & set(path.parts)]
    for path in sorted(paths):
        if path.is_file() and (not endings or path.name.endswith(endings)):
            yield path


PYTHON = list(files(".py"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", PYTHON, ids=shown)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", PYTHON, ids=shown)
def test_no_forbidden_call(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert dotted(node.func) not in FORBIDDEN_CALLS, f"line {node.lineno}: {dotted(node.func)}"
            for keyword in node.keywords:
                is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                assert not (keyword.arg in ("shell", "trust_remote_code") and is_true), (
                    f"line {node.lineno}: {keyword.arg}"
                )
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            assert not _hides(node), f"line {node.lineno}: an exception is swallowed"


def _hides(handler: ast.ExceptHandler) -> bool:
    """``except Exception`` (or wider) whose body only passes or returns nothing."""
    name = dotted(handler.type) if handler.type is not None else ""
    body = handler.body[0]
    nothing = isinstance(body, ast.Return) and (body.value is None or ast.unparse(body.value) == "None")
    return name in ("Exception", "BaseException") and (isinstance(body, ast.Pass) or nothing)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-torch.lock"])
def test_lock_files_hold_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(extra-)?index|--find-links|--trusted-host|git\+|@ file:", text)
    packages = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE)
    assert packages
    assert text.count("--hash=sha256:") >= len(packages)


def test_every_dependency_is_locked() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    wanted = {
        re.split(r"[><=\[]", name)[0] for name in re.findall(r'^    "([a-z0-9-]+[><=\[][^"]*)"', block, re.MULTILINE)
    }
    locks = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-torch.lock")
    )
    locked = set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", locks, re.MULTILINE))
    assert "torch" in wanted
    assert wanted - locked == set()


def test_the_readmes_commands_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=`|\s+#|$)", readme, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups if group.name}
    for words in set(re.findall(r"qwen-audio ([a-z-]+)", readme)):
        assert words in known, words
    for name in re.findall(r"\]\(([a-zA-Z][\w./-]*)\)", readme):
        assert (ROOT / name).exists(), name


def test_what_make_runs_is_what_the_readme_says_for_others() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in ("scripts/demo.py", "-m pytest -n 2 -q", "--require-hashes -r requirements.lock"):
        assert line in readme
        assert line in makefile


def test_the_change_log_names_the_version() -> None:
    found = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found.group(1) == toolkit.__version__


def test_no_file_names_a_place_on_one_machine() -> None:
    told = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        told += [f"{shown(path)}: {found.group(0)}" for found in MACHINE_PATHS.finditer(text)]
    assert told == []


def test_every_yaml_file_of_ours_is_plain(tmp_path: Path) -> None:
    for path in files(".yaml", ".yml"):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text) is not None, shown(path)
        assert "\t" not in text, shown(path)


def test_files_are_utf_8_end_in_a_newline_and_hold_no_stray_spaces() -> None:
    for path in files(".py", ".md", ".toml", ".yaml"):
        text = path.read_bytes().decode("utf-8")
        assert text == "" or text.endswith("\n"), shown(path)
        assert "\r" not in text, shown(path)

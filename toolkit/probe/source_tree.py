"""Questions about a parsed Python file: who calls what, what a name was set to, what can be reached. Nothing is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Module", "called_name", "constant", "dotted_name", "parse_module", "shown_code", "walk_own"]

MAX_SOURCE_BYTES = 1_000_000
Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class Module:
    """A parsed file with the parent of every node."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self.parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in self.nodes if isinstance(node, ast.Call))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around ``node``, innermost first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function_of(self, node: ast.AST) -> Function | None:
        """The function whose body holds ``node``; None at the top level of the file."""
        around = self.ancestors(node)
        return next((item for item in around if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)), None)

    def value_of(self, name: str, before: ast.AST) -> ast.expr | None:
        """What ``name`` was last set to above ``before``: in its function, else at the top level."""
        line = getattr(before, "lineno", 0)
        for scope in (self.function_of(before), self.tree):
            if scope is None:
                continue
            found: ast.expr | None = None
            at = 0
            for node in walk_own(scope):
                value = _assigned(node, name)
                # `audio = audio.cpu()`: the name on the right was set further up.
                if value is not None and at < value.lineno <= line and not _holds(value, before):
                    found, at = value, value.lineno
            if found is not None:
                return found
        return None

    def is_unreachable(self, node: ast.AST) -> bool:
        """Whether a statement before it, in a block around it, never lets the program go on."""
        for parent in self.ancestors(node):
            for block in _blocks(parent):
                for statement in block:
                    if statement is node:
                        break
                    if node in block and _never_goes_on_safely(statement):
                        return True
            if isinstance(parent, _SCOPES):
                return False
            node = parent
        return False


def parse_module(path: Path, name: str) -> Module | str:
    """Parse a Python file of at most 1 MB, or say in a sentence why not. The file is not imported."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SOURCE_BYTES + 1)
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if len(raw) > MAX_SOURCE_BYTES:
        return "is over 1 MB and was not read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file's own invalid escapes are not our matter
            return Module(name, ast.parse(raw))
    except SyntaxError as error:
        return f"is not Python that can be parsed (line {error.lineno or 1}: {error.msg})"
    except (ValueError, RecursionError, MemoryError):
        return "is not Python that can be parsed"


def walk_own(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a scope without those of the functions and classes inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)


def called_name(call: ast.Call) -> str:
    """Last part of what is called: ``empty_cache`` of ``torch.cuda.empty_cache()``; "" when it has no name."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def dotted_name(node: ast.AST) -> str:
    """``torch.cuda`` for that expression; "" for anything but names joined by dots."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def shown_code(node: ast.AST, limit: int = 80) -> str:
    """The expression as text, cut to ``limit`` characters."""
    try:
        text = ast.unparse(node)
    except RecursionError:
        return "..."
    return text if len(text) <= limit else text[: limit - 3] + "..."


def constant(node: ast.AST | None) -> object:
    """Value of a literal text, number or truth value; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        return -value if isinstance(value, int | float) else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float) else None


def _holds(tree: ast.AST, node: ast.AST) -> bool:
    return any(inner is node for inner in ast.walk(tree))


def _assigned(node: ast.AST, name: str) -> ast.expr | None:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        targets = [node.target]
    else:
        return None
    is_it = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return node.value if is_it else None


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        block = getattr(node, field, None)
        # What `finally` holds runs whatever the blocks beside it did.
        if isinstance(block, list):
            yield block


def _never_goes_on_safely(statement: ast.stmt) -> bool:
    try:
        return _never_goes_on(statement)
    except RecursionError:  # hundreds of elif branches are hundreds of levels
        return False


def _never_goes_on(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break):
        return True
    if isinstance(statement, ast.If):
        return _ends(statement.body) and _ends(statement.orelse)
    if isinstance(statement, ast.With | ast.AsyncWith):
        return _ends(statement.body) and not _swallows(statement)
    if isinstance(statement, ast.Try):
        after_body = _ends(statement.body) or _ends(statement.orelse)
        return _ends(statement.finalbody) or (after_body and all(_ends(handler.body) for handler in statement.handlers))
    if isinstance(statement, ast.While):
        leaves = any(isinstance(node, ast.Break) for node in walk_own(statement))
        return constant(statement.test) is True and not leaves
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return dotted_name(statement.value.func) in ("sys.exit", "os._exit")
    return False


def _ends(block: list[ast.stmt]) -> bool:
    return any(_never_goes_on(statement) for statement in block)


def _swallows(statement: ast.With | ast.AsyncWith) -> bool:
    """``contextlib.suppress`` lets the program go on after a raise; a return inside still leaves."""
    calls = [item.context_expr for item in statement.items if isinstance(item.context_expr, ast.Call)]
    return any(called_name(call) == "suppress" for call in calls)

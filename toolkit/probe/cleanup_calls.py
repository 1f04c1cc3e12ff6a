"""Where a service calls ``torch.cuda.empty_cache()``: after the generation, before it, or where it is never reached."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from toolkit.probe.finding import Finding
from toolkit.probe.source_tree import Module, called_name, shown_code, walk_own

__all__ = ["PLACEMENTS", "find_cleanup", "is_generation"]

PLACEMENTS = ("after-generation", "before-generation", "unreachable", "absent")
"""What :func:`find_cleanup` answers, best first: of several calls the best placed one counts."""

_GENERATION = re.compile(
    r"generate\w*|synthes\w*|infer(ence)?|infer_\w+|tts(_\w+)?|text_to_speech|predict|speak|model|pipe|pipeline|talker"
)
_ADVICE = {
    "after-generation": "after the generation",
    "before-generation": "before the generation: what the run leaves is freed only by the next one",
    "unreachable": "where it is never reached: a return or raise stands before it",
}


def is_generation(call: ast.Call) -> bool:
    """Whether a call looks like one that makes speech: ``model.generate_custom_voice(...)``, ``self.model(...)``."""
    return _GENERATION.fullmatch(called_name(call)) is not None and bool(call.args or call.keywords)


def find_cleanup(modules: Sequence[Module]) -> tuple[str, list[Finding]]:
    """Placement of the cleanup (one of :data:`PLACEMENTS`) and one finding for each place.

    A function that only cleans up counts where it is called. A call inside ``except`` runs after a failure only and
    does not count, nor does one that an address of its own triggers.
    """
    helpers = _helpers(modules)
    found: list[tuple[str, Finding]] = []
    for module in modules:
        for call in module.calls():
            name = called_name(call)
            function = module.function_of(call)
            if name == "empty_cache" and function is not None and function.name in helpers:
                continue
            if name == "empty_cache" or (name in helpers and _is_own(call)):
                found.append(_placed(module, call))
        found += _handed_over(module, helpers)
    for module, function in _functions(modules):
        if function.name in helpers and not function.decorator_list and not _is_used(function.name, modules):
            what = f"{function.name}() empties the cache and is never called"
            found.append(("unreachable", Finding(module.name, function.lineno, what)))
    counted = [placement for placement, _ in found if placement in PLACEMENTS]
    return min(counted, key=PLACEMENTS.index, default="absent"), [finding for _, finding in found]


def _functions(modules: Sequence[Module]) -> Iterator[tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def _helpers(modules: Sequence[Module]) -> frozenset[str]:
    names = set()
    for _, function in _functions(modules):
        calls = [node for node in walk_own(function) if isinstance(node, ast.Call)]
        cleans = any(called_name(call) == "empty_cache" for call in calls)
        if cleans and not any(is_generation(call) for call in calls) and not _GENERATION.fullmatch(function.name):
            names.add(function.name)
    return frozenset(names)


def _is_own(call: ast.Call) -> bool:
    """Not ``anything.clear()``, which only shares its name with a function of the service."""
    if not isinstance(call.func, ast.Attribute):
        return True
    is_self = isinstance(call.func.value, ast.Name) and call.func.value.id == "self"
    return is_self or re.search(r"clean|cache|free|mem|gpu", call.func.attr.lower()) is not None


def _is_used(name: str, modules: Sequence[Module]) -> bool:
    for module in modules:
        for node in module.nodes:
            is_name = isinstance(node, ast.Name) and node.id == name
            if is_name or (isinstance(node, ast.Attribute) and node.attr == name):
                return True
    return False


def _handed_over(module: Module, helpers: frozenset[str]) -> Iterator[tuple[str, Finding]]:
    """A helper given to a framework (``add_task(cleanup)``, ``@app.after_request``) runs after the answer."""
    for call in module.calls():
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            name = argument.id if isinstance(argument, ast.Name) else getattr(argument, "attr", "")
            if name in helpers and isinstance(argument, ast.Name | ast.Attribute):
                yield "after-generation", Finding(module.name, call.lineno, f"{name}() is handed over, to be run later")
    for _, function in _functions([module]):
        if function.name not in helpers or not function.decorator_list:
            continue
        decorators = " ".join(shown_code(decorator) for decorator in function.decorator_list)
        if re.search(r"\b(route|get|post|put|delete|api_route)\(", decorators):
            what = f"{function.name}() empties the cache only when its own address is requested"
            yield "on-request", Finding(module.name, function.lineno, what)
        else:
            what = f"{function.name}() empties the cache when the framework calls it (@{decorators[:60]})"
            yield "after-generation", Finding(module.name, function.lineno, what)


def _placed(module: Module, call: ast.Call) -> tuple[str, Finding]:
    shown = f"{called_name(call)}() is called "
    if module.is_unreachable(_statement(module, call)):
        return "unreachable", Finding(module.name, call.lineno, shown + _ADVICE["unreachable"])
    function = module.function_of(call)
    if function is None:
        where = "when the program starts, before any generation"
        return "before-generation", Finding(module.name, call.lineno, shown + where)
    if any(isinstance(node, ast.ExceptHandler) for node in _around(module, call, function)):
        return "on-failure", Finding(module.name, call.lineno, shown + "only after an exception")
    placement = _order(module, call, function)
    what = shown + _ADVICE[placement] + _circumstances(module, call, function)
    return placement, Finding(module.name, call.lineno, what)


def _order(module: Module, call: ast.Call, function: ast.AST) -> str:
    generations = [node for node in walk_own(function) if isinstance(node, ast.Call) and is_generation(node)]
    generations = [node for node in generations if node is not call]
    if not generations:
        # A function that ends with it is itself what cleans up at the end; one that begins with it is not.
        own = [node.lineno for node in walk_own(function) if isinstance(node, ast.Call)]
        return "after-generation" if call.lineno == max(own) and len(own) > 1 else "before-generation"
    for node in _around(module, call, function):
        if isinstance(node, ast.Try) and any(_contains(part, call) for part in node.finalbody):
            return "after-generation"
    position = (call.lineno, call.col_offset)
    follows = any((node.lineno, node.col_offset) < position for node in generations)
    return "after-generation" if follows else "before-generation"


def _circumstances(module: Module, call: ast.Call, function: ast.AST) -> str:
    text = ""
    for node in _around(module, call, function):
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            holds = any(isinstance(inner, ast.Call) and is_generation(inner) for inner in walk_own(node))
            text += f", inside the loop of line {node.lineno}" if holds else ""
        elif isinstance(node, ast.If) and "clean" in shown_code(node.test).lower():
            text += f", if {shown_code(node.test)}"
    return text


def _around(module: Module, call: ast.Call, function: ast.AST) -> Iterator[ast.AST]:
    for node in module.ancestors(call):
        if node is function:
            return
        yield node


def _statement(module: Module, call: ast.Call) -> ast.AST:
    return next((node for node in module.ancestors(call) if isinstance(node, ast.stmt)), call)


def _contains(part: ast.AST, call: ast.Call) -> bool:
    return any(node is call for node in ast.walk(part))

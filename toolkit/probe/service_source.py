"""Reads a service's Python files without importing them: dtypes, casts before writing, cleanup, where it listens."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.probe.cleanup_calls import find_cleanup
from toolkit.probe.finding import Finding
from toolkit.probe.source_tree import Module, called_name, constant, dotted_name

__all__ = ["CLEANUP_OPTIONS", "SourceReport", "read_sources"]

CLEANUP_OPTIONS = ("--enable-cleanup", "--enable_cleanup")
_HOST_OPTIONS = ("--host", "--ip", "--server-name", "--server_name", "--bind")
_DTYPES = {
    "bfloat16": "bfloat16", "bf16": "bfloat16", "float16": "float16", "half": "float16", "fp16": "float16",
    "float32": "float32", "float": "float32", "fp32": "float32",
}  # fmt: skip
_LOADERS = re.compile(r"from_pretrained|load\w*|pipeline|Qwen\w*")
_FLOAT_CASTS = ("float", "double", "astype")
_MAX_STEPS = 6


@dataclass(frozen=True)
class SourceReport:
    """What the Python files say. ``hosts`` and ``ports`` are literals and defaults of options, in the files' order."""

    findings: tuple[Finding, ...] = ()
    cleanup_declared: bool = False
    cleanup_read: bool = False
    cleanup_placement: str = "absent"
    half_call: bool = False
    bf16_write_uncast: bool = False
    dtypes: frozenset[str] = frozenset()
    attentions: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    fixed_host: str | None = None


@dataclass
class _Notes:
    findings: list[Finding] = field(default_factory=list)
    dtypes: set[str] = field(default_factory=set)
    attentions: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    hosts: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    fixed_host: str | None = None
    half: bool = False
    uses_bf16: bool = False
    uncast: list[Finding] = field(default_factory=list)


def read_sources(modules: Sequence[Module]) -> SourceReport:
    """Report on parsed files; a pure function of them."""
    notes = _Notes()
    for module in modules:
        for call in module.calls():
            _read_dtype(module, call, notes)
            _read_address(module, call, notes)
            _read_write(module, call, notes)
        if any(_dtype_of(module, node) == "bfloat16" for node in module.nodes if isinstance(node, ast.Attribute)):
            notes.uses_bf16 = True
    uses_bf16 = notes.uses_bf16 or "bfloat16" in notes.dtypes
    placement, cleanup = find_cleanup(modules)
    declared = [finding for module in modules for finding in _declarations(module)]
    return SourceReport(
        findings=(*declared, *cleanup, *notes.findings, *(notes.uncast if uses_bf16 else ())),
        cleanup_declared=bool(declared),
        cleanup_read=any(_reads_switch(module) for module in modules),
        cleanup_placement=placement,
        half_call=notes.half,
        bf16_write_uncast=uses_bf16 and bool(notes.uncast),
        dtypes=frozenset(notes.dtypes),
        attentions=frozenset(notes.attentions),
        devices=frozenset(notes.devices),
        hosts=tuple(notes.hosts),
        ports=tuple(notes.ports),
        fixed_host=notes.fixed_host,
    )


def _declarations(module: Module) -> Iterator[Finding]:
    for call in module.calls():
        if any(constant(argument) in CLEANUP_OPTIONS for argument in call.args):
            yield Finding(module.name, call.lineno, "declares the switch --enable-cleanup")


def _reads_switch(module: Module) -> bool:
    for node in module.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            if (node.attr if isinstance(node, ast.Attribute) else node.id) == "enable_cleanup":
                return True
        elif isinstance(node, ast.Constant) and node.value == "enable_cleanup":
            return True
    return False


def _read_dtype(module: Module, call: ast.Call, notes: _Notes) -> None:
    name = called_name(call)
    if name == "half" and isinstance(call.func, ast.Attribute) and not call.args:
        notes.half = True
        what = ".half() turns the weights to float16, whose range the code predictor leaves"
        notes.findings.append(Finding(module.name, call.lineno, what))
        return
    if name == "to":
        for value in (*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "dtype")):
            if _dtype_of(module, value) == "float16":
                notes.findings.append(Finding(module.name, call.lineno, "is moved to float16"))
    if name in ("autocast", "amp_autocast"):
        for keyword in call.keywords:
            dtype = _dtype_of(module, keyword.value) if keyword.arg == "dtype" else None
            if dtype:
                notes.findings.append(Finding(module.name, call.lineno, f"computes inside autocast in {dtype}"))
    for keyword in call.keywords:
        is_dtype = keyword.arg == "torch_dtype" or (keyword.arg == "dtype" and _LOADERS.fullmatch(name))
        dtype = _dtype_of(module, keyword.value) if is_dtype else None
        if dtype:
            notes.dtypes.add(dtype)
            notes.findings.append(Finding(module.name, call.lineno, f"loads the model in {dtype}"))
        text = constant(_resolved(module, keyword.value))
        if keyword.arg == "attn_implementation" and isinstance(text, str):
            notes.attentions.add(text)
        elif keyword.arg in ("device_map", "device") and isinstance(text, str) and _LOADERS.fullmatch(name):
            notes.devices.add(text.split(":", 1)[0])


def _dtype_of(module: Module, node: ast.expr) -> str | None:
    """``bfloat16``, ``float16`` or ``float32`` for ``torch.bfloat16``, ``"bf16"`` or a name set to one of them."""
    value = _resolved(module, node)
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "torch":
        return _DTYPES.get(value.attr)
    text = constant(value)
    return _DTYPES.get(text.lower()) if isinstance(text, str) else None


def _resolved(module: Module, node: ast.expr) -> ast.expr:
    for _ in range(_MAX_STEPS):
        if not isinstance(node, ast.Name):
            break
        value = module.value_of(node.id, node)
        if value is None:
            break
        node = value
    return node


def _read_address(module: Module, call: ast.Call, notes: _Notes) -> None:
    name = called_name(call)
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if name in ("add_argument", "option", "Option"):
        default = constant(given.get("default"))
        options = [constant(argument) for argument in call.args]
        if isinstance(default, str) and any(option in _HOST_OPTIONS for option in options):
            notes.hosts.append(default)
        elif "--port" in options and isinstance(default, int) and not isinstance(default, bool):
            notes.ports.append(default)
    if name not in ("run", "launch", "run_simple", "Config", "serve"):
        return
    for key in ("host", "server_name"):
        host = constant(_resolved(module, given[key])) if key in given else None
        if isinstance(host, str):
            notes.hosts.append(host)
            notes.fixed_host = notes.fixed_host or host
            notes.findings.append(Finding(module.name, call.lineno, f"listens on {host}, whatever the options say"))
    for key in ("port", "server_port"):
        port = constant(_resolved(module, given[key])) if key in given else None
        if isinstance(port, int) and not isinstance(port, bool):
            notes.ports.append(port)


def _read_write(module: Module, call: ast.Call, notes: _Notes) -> None:
    data = _written_data(module, call)
    if data is not None and _is_uncast(module, data, 0):
        what = "writes a tensor that was not cast to float32: NumPy has no bfloat16 (use .float().cpu().numpy())"
        notes.uncast.append(Finding(module.name, call.lineno, what))


def _written_data(module: Module, call: ast.Call) -> ast.expr | None:
    """The samples that ``soundfile.write`` or ``scipy.io.wavfile.write`` is given."""
    if called_name(call) != "write" or not isinstance(call.func, ast.Attribute):
        return None
    target = dotted_name(call.func.value)
    if target in _aliases(module, "soundfile"):
        position = 1
    elif target.split(".")[-1] == "wavfile" or target in _aliases(module, "scipy.io.wavfile"):
        position = 2
    else:
        return None
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "data"), None)
    return named or (call.args[position] if len(call.args) > position else None)


def _aliases(module: Module, package: str) -> frozenset[str]:
    imports = [node for node in module.nodes if isinstance(node, ast.Import)]
    names = {alias.asname or alias.name for node in imports for alias in node.names if alias.name == package}
    return frozenset(names)


def _is_uncast(module: Module, data: ast.expr, step: int) -> bool:
    """Whether the samples come from a tensor's ``.numpy()`` or ``.cpu()`` without a cast to float before it.

    A cast after ``.numpy()`` comes too late: it is ``.numpy()`` that has no bfloat16.
    """
    calls = [node for node in ast.walk(data) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    conversions = [node for node in calls if called_name(node) == "numpy"]
    if conversions:
        inner = conversions[0].func
        return isinstance(inner, ast.Attribute) and not _is_cast(module, inner.value, step)
    if any(called_name(node) in ("cpu", "detach") for node in calls):
        return not _is_cast(module, data, step)
    if isinstance(data, ast.Name) and step < _MAX_STEPS:
        value = module.value_of(data.id, data)
        return value is not None and _is_uncast(module, value, step + 1)
    return any(_is_uncast(module, argument, step + 1) for node in calls for argument in node.args if step < _MAX_STEPS)


def _is_cast(module: Module, tensor: ast.expr, step: int) -> bool:
    for node in ast.walk(tensor):
        if isinstance(node, ast.Call):
            name = called_name(node)
            given = (*node.args, *(keyword.value for keyword in node.keywords))
            if name in _FLOAT_CASTS or (name in ("to", "type") and any(_is_float32(module, item) for item in given)):
                return True
        if isinstance(node, ast.Name) and step < _MAX_STEPS:
            value = module.value_of(node.id, node)
            if value is not None and _is_cast(module, value, step + 1):
                return True
    return False


def _is_float32(module: Module, node: ast.expr) -> bool:
    is_tensor_type = isinstance(node, ast.Attribute) and node.attr in ("FloatTensor", "int16", "float64")
    return is_tensor_type or _dtype_of(module, node) == "float32"

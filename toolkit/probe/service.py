"""Inspects a service folder without running it: start scripts, config.yaml, Python sources, and the port it names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.probe.command_lines import CommandLine, dialect_of, read_command_lines
from toolkit.probe.finding import Finding, relative_name
from toolkit.probe.folder import children_of
from toolkit.probe.service_config import ServiceConfig, read_service_config
from toolkit.probe.service_port import inspect_port, service_processes, shown_command
from toolkit.probe.service_source import CLEANUP_OPTIONS, SourceReport, read_sources
from toolkit.probe.source_tree import Module, parse_module
from troubleshoot.facts import NA

__all__ = ["inspect_service"]

_HOST_OPTIONS = ("--host", "--ip", "--server-name", "--server_name", "--listen")
_PORT_OPTIONS = ("--port", "--server-port", "--server_port")
_FIRST_NAMES = ("start", "run", "launch", "serve", "app", "server", "webui")
_SKIPPED = frozenset(
    {"__pycache__", "site-packages", "node_modules", "venv", "env", "tests", "test", "build", "dist", "models"}
)
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - read here, never bound
# Where these servers listen when no option says: each one's own documentation; the demo's by its source.
_DEFAULTS: Mapping[str, tuple[str, int]] = {
    "qwen-tts-demo": (_EVERY_ADDRESS, 8000),
    "uvicorn": ("127.0.0.1", 8000),
    "gunicorn": ("127.0.0.1", 8000),
    "hypercorn": ("127.0.0.1", 8000),
    "flask": ("127.0.0.1", 5000),
    "fastapi": (_EVERY_ADDRESS, 8000),
    "streamlit": (_EVERY_ADDRESS, 8501),
    "vllm": (_EVERY_ADDRESS, 8000),
    "vllm-omni": (_EVERY_ADDRESS, 8000),
}
_MAX_SCRIPTS = 50
_MAX_SOURCES = 200
_MAX_FINDINGS = 200


def inspect_service(folder: str | Path, *, port: int | None = None, timeout_s: float = 0.5) -> dict[str, object]:
    """Facts ``service.*`` about a folder, and ``run.dtype``, ``run.attention``, ``run.device`` where its code is clear.

    ``port`` replaces the port that the folder names; ``timeout_s`` bounds each of two connections to the loopback.
    Nothing is imported, run or sent. Never raises for what it finds; what cannot be had is NA.
    """
    path = Path(os.path.expanduser(os.fspath(folder)))
    if "\0" in os.fspath(path) or not os.path.isdir(path):
        reason = NA(f"there is no folder {os.fspath(folder)[:200]!r}")
        return {"service.folder": os.fspath(folder), **dict.fromkeys(_NAMES, reason), "service.findings": []}
    return _Service(path, port, timeout_s).facts()


_NAMES = (
    "service.host", "service.port", "service.cleanup_flag", "service.cleanup_in_code", "service.cleanup_placement",
    "service.cleanup_declared", "service.audio_chunk_size", "service.max_text_length", "service.listening",
    "service.bound_address", "service.port_owner", "service.port_process", "service.processes", "service.start_script",
    "service.published_ports", "service.half_call", "service.bf16_write_uncast",
)  # fmt: skip


@dataclass(frozen=True)
class _Start:
    """The command that starts the service, as far as the scripts tell."""

    command: CommandLine | None
    host: str | None
    port: str | None


class _Service:
    """One look at one folder."""

    def __init__(self, folder: Path, port: int | None, timeout_s: float) -> None:
        self._folder = folder
        self._asked_port = port
        self._timeout_s = timeout_s

    def facts(self) -> dict[str, object]:
        commands = [line for path in self._scripts() for line in read_command_lines(path, self._name(path))]
        start = _start_of(commands)
        config = read_service_config(self._folder)
        modules, unread = self._modules()
        source = read_sources(modules)
        host, port = _host(start, config, source), _port(start, config, source)
        where = self._asked_port if self._asked_port is not None else port
        findings = [*_script_findings(start, source), *config.findings, *source.findings, *unread]
        return {
            "service.folder": str(self._folder),
            "service.start_script": start.command.file if start.command else NA("no start script names a server"),
            "service.host": host,
            "service.port": port,
            "service.cleanup_flag": _cleanup_flag(start),
            **_source_facts(source, bool(modules)),
            "service.audio_chunk_size": config.values["audio_chunk_size"],
            "service.max_text_length": config.values["max_text_length"],
            **self._port_facts(where),
            "service.processes": service_processes(self._folder),
            "service.published_ports": ", ".join(line.words[0] for line in commands if line.is_published_port),
            "service.findings": [finding.as_fact() for finding in findings[:_MAX_FINDINGS]],
        }

    def _name(self, path: Path) -> str:
        return relative_name(path, self._folder)

    def _scripts(self) -> list[Path]:
        found = [path for path in self._files() if dialect_of(path)]
        return sorted(found, key=self._rank)[:_MAX_SCRIPTS]

    def _rank(self, path: Path) -> tuple[object, ...]:
        stem = path.stem.lower()
        position = next((index for index, name in enumerate(_FIRST_NAMES) if stem.startswith(name)), len(_FIRST_NAMES))
        is_windows_script = path.suffix.lower() in (".bat", ".cmd", ".ps1")
        depth = len(path.relative_to(self._folder).parts)
        return depth, position, is_windows_script != (os.name == "nt"), path.name

    def _files(self) -> Iterator[Path]:
        for child in children_of(self._folder):
            if os.path.isfile(child):
                yield child
            elif os.path.isdir(child) and not os.path.islink(child) and not _is_skipped(child):
                yield from (grandchild for grandchild in children_of(child) if os.path.isfile(grandchild))

    def _modules(self) -> tuple[list[Module], list[Finding]]:
        modules: list[Module] = []
        unread: list[Finding] = []
        sources = [path for path in self._files() if path.suffix == ".py"]
        for path in sources[:_MAX_SOURCES]:
            module = parse_module(path, self._name(path))
            if isinstance(module, Module):
                modules.append(module)
            else:
                unread.append(Finding(self._name(path), 1, module))
        if len(sources) > _MAX_SOURCES:
            unread.append(Finding(".", 1, f"only {_MAX_SOURCES} of {len(sources)} Python files were read"))
        return modules, unread

    def _port_facts(self, port: object) -> dict[str, object]:
        if not isinstance(port, int):
            reason = NA("no port to look at is known")
            names = ("listening", "bound_address", "port_owner", "port_process")
            return {f"service.{name}": reason for name in names}
        report = inspect_port(port, self._folder, timeout_s=self._timeout_s)
        return {
            "service.listening": report.listening,
            "service.bound_address": report.bound_address,
            "service.port_owner": report.owner,
            "service.port_process": report.process,
        }


def _start_of(commands: list[CommandLine]) -> _Start:
    servers = [line for line in commands if line.program and not line.is_published_port]
    with_address = [line for line in servers if line.has_option(*_HOST_OPTIONS, *_PORT_OPTIONS, "--bind", "-b")]
    chosen = next(iter(with_address or servers), None)
    if chosen is None:
        return _Start(None, None, None)
    host, port = chosen.option(*_HOST_OPTIONS), chosen.option(*_PORT_OPTIONS)
    bound_host, bound_port = chosen.bound()
    if host == "" and chosen.has_option("--listen"):
        host = _EVERY_ADDRESS
    default_host, default_port = _DEFAULTS.get(chosen.program or "", (None, None))
    host = host or bound_host or default_host
    port = port or bound_port or (str(default_port) if default_port else None)
    return _Start(chosen, host, port)


def _host(start: _Start, config: ServiceConfig, source: SourceReport) -> object:
    if start.host:
        return NA(f"{_place(start)} takes it from {start.host}, set elsewhere") if "$" in start.host else start.host
    configured = config.values["host"]
    if isinstance(configured, str):
        return configured
    return source.hosts[0] if source.hosts else NA("neither the scripts, config.yaml nor the code name one")


def _port(start: _Start, config: ServiceConfig, source: SourceReport) -> object:
    if start.port:
        if start.port.isdigit() and 0 < int(start.port[:6]) < 65_536:
            return int(start.port)
        return NA(f"{_place(start)} gives {start.port[:40]!r}, set elsewhere or not a port")
    configured = config.values["port"]
    if isinstance(configured, int):
        return configured
    return source.ports[0] if source.ports else NA("neither the scripts, config.yaml nor the code name one")


def _place(start: _Start) -> str:
    return f"{start.command.file}:{start.command.line}" if start.command else "the start script"


def _cleanup_flag(start: _Start) -> object:
    if start.command is None:
        return NA("no start script names a server")
    value = start.command.option(*CLEANUP_OPTIONS) if start.command.has_option(*CLEANUP_OPTIONS) else "false"
    return (value or "").lower() not in ("false", "0", "no", "off")


def _source_facts(source: SourceReport, has_sources: bool) -> dict[str, object]:
    if not has_sources:
        reason = NA("there are no Python files in the folder")
        names = ("cleanup_in_code", "cleanup_placement", "cleanup_declared", "half_call", "bf16_write_uncast")
        return {f"service.{name}": reason for name in names}
    facts: dict[str, object] = {
        "service.cleanup_in_code": source.cleanup_placement in ("after-generation", "before-generation"),
        "service.cleanup_placement": source.cleanup_placement,
        "service.cleanup_declared": source.cleanup_declared,
        "service.half_call": source.half_call,
        "service.bf16_write_uncast": source.bf16_write_uncast,
    }
    if source.half_call:
        facts["run.dtype"] = "float16"
    elif len(source.dtypes) == 1:
        facts["run.dtype"] = next(iter(source.dtypes))
    if len(source.attentions) == 1:
        facts["run.attention"] = next(iter(source.attentions))
    if source.devices in ({"cpu"}, {"cuda"}, {"mps"}):
        facts["run.device"] = next(iter(source.devices))
    return facts


def _script_findings(start: _Start, source: SourceReport) -> Iterator[Finding]:
    command = start.command
    if command is None:
        return
    yield Finding(command.file, command.line, f"starts the service: {shown_command(list(command.words))}")
    if command.has_option(*CLEANUP_OPTIONS):
        if not source.cleanup_declared:
            what = "passes --enable-cleanup, which no Python file of the folder declares"
            yield Finding(command.file, command.line, what)
        elif not source.cleanup_read:
            yield Finding(command.file, command.line, "passes --enable-cleanup, whose value no Python file reads")
    if source.fixed_host and start.host and source.fixed_host != start.host:
        what = f"asks for host {start.host}, but the code listens on {source.fixed_host} whatever it is told"
        yield Finding(command.file, command.line, what)


def _is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name.lower() in _SKIPPED or os.path.isfile(folder / "pyvenv.cfg")

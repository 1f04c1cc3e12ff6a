"""``qwen-audio tune``: what an instruction asks for, how to word it better, and whether it does anything."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import tune_book, tune_emotion, tune_precision
from toolkit.cli.output import JsonOption, json_text
from toolkit.cli.tune_chunks import chunks
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL, UsageError

if TYPE_CHECKING:
    from toolkit.tuning.linting import Lint

__all__ = ["app"]

app = typer.Typer(
    help="Instructions that do something.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

_NAME = re.compile(r"(?:.*[/-])?(1\.7|0\.6)B-(CustomVoice|VoiceDesign|Base)", re.IGNORECASE)
_EXITS = {"fail": EXIT_FAILS, "warning": EXIT_WARNINGS, "note": EXIT_WELL, None: EXIT_WELL}

app.command("emotion")(tune_emotion.emotion)
app.command("precision")(tune_precision.precision)
app.command("show")(tune_book.show)
app.command("score")(tune_book.score)
app.command("export")(tune_book.export)


@app.callback()
def _tune() -> None:
    """Instructions that do something."""


app.command("chunks")(chunks)


@app.command("lint")
def lint(
    instruction: Annotated[str, typer.Argument(metavar="INSTRUCTION", help="How to speak, in English or Chinese.")],
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Folder, repository, or its end, such as 0.6B-Base; pocket."),
    ] = "pocket",
    language: Annotated[
        str, typer.Option("--language", help="Language of the text to speak (Chinese, English), or auto.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find what makes an instruction vague, contradictory or useless, and word it anew. Nothing is loaded or spoken.

    Exit code 0 well or only notes, 3 when it contradicts itself or the model ignores it, 4 for warnings.
    """
    from toolkit.tuning.linting import lint_instruction

    kind, size = _kind_and_size(model)
    found = lint_instruction(instruction, model_kind=kind, size=size, text_language=language)
    code = _EXITS[found.worst]
    if as_json:
        effects = {**found.effects.named(), "numbered": sorted(found.effects.numbered)}
        effects["conflicts"] = list(found.effects.conflicts)
        data = {
            "instruction": found.instruction,
            "model": {"kind": kind, "size": size},
            "language": found.language,
            "effects": effects,
            "findings": [asdict(finding) for finding in found.findings],
            "rewritten": found.rewritten,
            "parts": list(found.parts),
            "mixed": found.mixed,
        }
        print(json_text({"schema": 1, "kind": "tune-lint", "exit_code": code, **data}))
    else:
        _show(found)
    raise typer.Exit(code)


def _kind_and_size(model: str) -> tuple[str, str]:
    """Kind and size of a model by its name, or by the config of its folder."""
    if model.strip().lower() == "pocket":
        return "custom_voice", "pocket"
    if Path(model).is_dir():
        from toolkit.probe.model_config import config_facts
        from toolkit.probe.plain_yaml import load_plain_yaml

        config = load_plain_yaml(Path(model) / "config.json")  # JSON is YAML, and bounded like this
        facts = config_facts(config, {}, {}) if isinstance(config, dict) else {}
        kind = str(facts.get("model.type")).replace("-", "_")
        size = {"0.6B": "0b6", "1.7B": "1b7"}.get(str(facts.get("model.size")))
        if kind not in ("custom_voice", "voice_design", "base") or size is None:
            raise UsageError(f"{model}: its config.json does not name a Qwen3-TTS model")
        return kind, size
    named = _NAME.fullmatch(model.strip())
    if named is None:
        raise UsageError(f"model {model}: give a folder, a name such as 1.7B-CustomVoice, or pocket")
    kind = {"customvoice": "custom_voice", "voicedesign": "voice_design", "base": "base"}[named[2].lower()]
    return kind, {"0.6": "0b6", "1.7": "1b7"}[named[1]]


def _show(found: Lint) -> None:
    from toolkit.doctor.document import plain
    from toolkit.tuning.wording import say

    lines = [f"asks for  {say(found.effects, 'en') or 'nothing that can be measured'}"]
    for finding in found.findings:
        lines += [
            f"{finding.severity:<8}  {finding.rule} ({finding.basis}): {finding.text}",
            f"          {finding.fix}",
        ]
    if found.rewritten != found.instruction:
        lines.append(f"better    {found.rewritten or '(nothing is left of it)'}")
    if found.mixed:
        lines.append(f"mixed     {found.mixed}")
    print(plain("\n".join(lines)))

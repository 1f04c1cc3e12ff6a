"""A bundle's contents and ledger, to show before it is shared."""

from __future__ import annotations

from pathlib import Path

from toolkit.doctor.bundling import Bundle
from toolkit.doctor.document import Bullets, Document, Heading, Paragraph, Table
from toolkit.doctor.inquiry import SCHEMA
from toolkit.doctor.redaction import NOT_REDACTED

__all__ = ["document_of", "to_json"]


def document_of(bundle: Bundle, written: Path | None, version: str) -> Document:
    """What is in it, what was removed, and what is not redacted."""
    files = tuple((name, f"{len(text.encode()):,}") for name, text in sorted(bundle.texts.items()))
    removed = tuple((line.rule, str(line.count), str(line.characters)) for line in bundle.ledger)
    ledger = (
        Table(("removed", "times", "characters"), removed, right=(1, 2))
        if removed
        else Paragraph("Nothing had to be removed.")
    )
    end = (
        f"Written: {written}. Diagnose it anywhere with: qwen-audio diagnose {written}"
        if written
        else "Preview only, nothing written."
    )
    return Document(
        f"QWEN-AUDIO bundle {version}",
        bundle.created,
        (
            Heading("Contents"),
            Table(("file", "bytes"), files, right=(1,)),
            Heading("Ledger"),
            ledger,
            Heading("Not redacted: look for these yourself"),
            Bullets(NOT_REDACTED),
            Paragraph(end),
        ),
    )


def to_json(bundle: Bundle, written: Path | None) -> dict[str, object]:
    """JSON form."""
    return {
        "schema": SCHEMA,
        "kind": "bundle",
        "written": str(written) if written else None,
        "created": bundle.created,
        "files": {name: len(text.encode()) for name, text in bundle.texts.items()},
        "removed": [{"rule": line.rule, "count": line.count, "characters": line.characters} for line in bundle.ledger],
        "not_redacted": list(NOT_REDACTED),
    }

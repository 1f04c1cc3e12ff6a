"""Documents as one self-contained HTML page: no script, nothing fetched, everything escaped."""

from __future__ import annotations

from html import escape

from toolkit.doctor.document import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    StatusRow,
    StatusRows,
    Table,
    plain,
)

__all__ = ["render_fragment", "render_html"]

_PAGE_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--ok:#1a7f37;--warn:#9a6700;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--ok:#3fb950;--warn:#d29922;--bad:#f85149}}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
"""
# A notebook has its own light and dark; these colours can be read on both. The class is doubled to weigh more than the
# notebook's own rules for tables and lists.
_FRAGMENT_STYLE = """
.qwen-audio{--line:#8884;--soft:#8882;--ok:#2da44e;--warn:#bf8700;--bad:#e5534b;max-width:62rem;overflow-wrap:anywhere}
.qwen-audio.qwen-audio{dt{float:none;width:auto;font-weight:400}dd{float:none;width:auto;padding:0}tr{background:none}table{table-layout:auto}}
"""
_STYLE = """
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.sub,.dim,.not-applicable,.not-checked{opacity:.7}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}
td.right,th.right{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.verdict{font-weight:600;white-space:nowrap;width:1%}.ok,.solved{color:var(--ok)}.warn,.unclear{color:var(--warn)}
.fail,.crashed,.timed-out,.not-solved{color:var(--bad)}
.title{font-weight:600;white-space:nowrap;width:1%}
.stacked strong{display:block}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem .8rem;margin:.4rem 0 0}
dt{opacity:.7}dd{margin:0;min-width:0}
pre,code{font:13px/1.45 ui-monospace,monospace;background:var(--soft);border-radius:4px}
pre{padding:.6rem .8rem;overflow-x:auto}code{display:block;padding:.1rem .4rem;white-space:pre-wrap}
@media (max-width:40rem){
.rows,.rows tbody,.rows tr,.rows td{display:block;width:auto;border:0}
.rows tr{border-bottom:1px solid var(--line);padding:.5rem 0}.rows td{padding:0}
.rows .verdict,.rows .title{display:inline}
.rows .title{padding-left:.5rem;white-space:normal}dl{gap:.1rem .5rem}td,th{padding:.35rem .3rem}
}
"""
# No script may run and nothing may be loaded, whatever a log contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LABELS = {"not-applicable": "n/a", "not-checked": "unknown", "timed-out": "timed out", "not-solved": "not solved"}


def render_html(document: Document) -> str:
    """The page as text."""
    body = "\n".join(_block(block) for block in document.blocks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(document.title)}</title><style>{_PAGE_STYLE}{_STYLE}</style></head><body>\n"
        f'<h1>{_text(document.title)}</h1><p class="sub">{_text(document.subtitle)}</p>\n{body}\n</body></html>\n'
    )


def render_fragment(document: Document) -> str:
    """The report for the output of a notebook cell; its style touches nothing outside it."""
    body = "\n".join(_block(block) for block in document.blocks)
    return (
        f'<style>{_FRAGMENT_STYLE}.qwen-audio.qwen-audio{{{_STYLE}}}</style><div class="qwen-audio">'
        f'<h2>{_text(document.title)}</h2><p class="sub">{_text(document.subtitle)}</p>\n{body}</div>'
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{_text(text)}</h2>"
        case Paragraph(text, dim):
            return f"<p{_class('dim' if dim else '')}>{_text(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"
        case Code(lines):
            return "<pre>" + "\n".join(_text(line) for line in lines) + "</pre>"
        case StatusRows(rows, stacked):
            body = "".join(_status(row, stacked) for row in rows)
            return f'<table class="rows"><tbody>{body}</tbody></table>'
        case Table():
            return _table(block)


def _status(row: StatusRow, stacked: bool) -> str:
    details = "".join(
        f"<dt>{_text(detail.label)}</dt><dd>{_code(detail.text) if detail.code else _text(detail.text)}</dd>"
        for detail in row.details
    )
    verdict = f'<td class="verdict {_name(row.verdict)}">{_text(_LABELS.get(row.verdict, row.verdict))}</td>'
    text = _text(row.text) + (f"<dl>{details}</dl>" if details else "")
    if stacked:
        return f'<tr>{verdict}<td class="stacked"><strong>{_text(row.title)}</strong>{text}</td></tr>'
    return f'<tr>{verdict}<td class="title">{_text(row.title)}</td><td>{text}</td></tr>'


def _name(verdict: str) -> str:
    # A class name; percentages of a diagnosis are no verdict and get none.
    return verdict if verdict.replace("-", "").isalpha() and verdict.isascii() else "share"


def _table(table: Table) -> str:
    def cells(tag: str, row: tuple[str, ...]) -> str:
        return "".join(
            f"<{tag}{_class('right' if index in table.right else '')}>{_text(cell)}</{tag}>"
            for index, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    return f"<table><thead><tr>{cells('th', table.columns)}</tr></thead><tbody>{body}</tbody></table>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    return escape(plain(text)).replace("\n", "<br>")

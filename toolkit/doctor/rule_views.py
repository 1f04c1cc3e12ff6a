"""The catalogue to show: lists, single rules, checks of samples, and measures of quality."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.doctor.document import Block, Bullets, Code, Document, Heading, Paragraph, Table
from toolkit.doctor.inquiry import SCHEMA
from toolkit.doctor.wording import FIX_LABELS
from troubleshoot.catalogue import Catalogue
from troubleshoot.evaluate import Evaluation
from troubleshoot.rule import Evidence, Rule
from troubleshoot.samples import SampleOutcome

__all__ = [
    "check_document",
    "check_json",
    "evaluation_document",
    "evaluation_json",
    "list_document",
    "list_json",
    "rule_document",
    "rule_json",
]


def list_document(rules: Sequence[Rule], version: str) -> Document:
    """Rules by family."""
    rows = tuple((rule.family, rule.id, rule.title) for rule in rules)
    return Document(f"QWEN-AUDIO rules {version}", f"{len(rows)} rules", (Table(("family", "rule", "title"), rows),))


def list_json(rules: Sequence[Rule]) -> dict[str, object]:
    """JSON form."""
    return {
        "schema": SCHEMA,
        "kind": "rules",
        "rules": [
            {"id": rule.id, "family": rule.family, "title": rule.title, "title_zh": rule.title_zh} for rule in rules
        ],
    }


def rule_document(rule: Rule, version: str) -> Document:
    """One rule's page, always under the same headings."""
    blocks: list[Block] = [
        Paragraph(f"{rule.title}\n{rule.title_zh}"),
        Heading("Symptom"),
        Paragraph(f"{rule.symptom.en}\n{rule.symptom.zh}"),
        Heading("Cause"),
        Paragraph(rule.cause),
        Heading("Evidence"),
        Table(
            ("weight", "kind", "what"),
            tuple((f"{item.weight:+g}", item.kind, f"{_sign(item)} ({item.why})") for item in rule.evidence),
            right=(0,),
        ),
    ]
    if rule.questions:
        blocks.append(Heading("Questions"))
        for question in rule.questions:
            answers = "".join(f"\n  {answer.value}: {answer.text}" for answer in question.answers)
            blocks.append(
                Paragraph(f"{question.id} ({question.cost_s:.0f} s): {question.ask}\n{question.ask_zh}{answers}")
            )
    blocks.append(Heading("Fixes, best first"))
    for fix in rule.fixes:
        blocks.append(Paragraph(f"{fix.title} ({FIX_LABELS[fix.label]})"))
        if fix.steps:
            blocks.append(Bullets(tuple(fix.steps)))
        commands = fix.commands.for_os(None)
        if commands:
            blocks.append(Code(tuple(commands)))
    blocks += [Heading("How to verify"), Paragraph(rule.verify.text)]
    if rule.verify.commands.for_os(None):
        blocks.append(Code(tuple(rule.verify.commands.for_os(None))))
    if rule.lookalikes:
        blocks += [Heading("Look-alikes"), Bullets(tuple(f"{other.rule}: {other.tell}" for other in rule.lookalikes))]
    if rule.masks:
        blocks += [Heading("Explains"), Paragraph(", ".join(rule.masks))]
    if rule.wrong_advice:
        blocks += [
            Heading("Wrong advice in the field"),
            Bullets(tuple(f'"{advice.claim}" {advice.truth}' for advice in rule.wrong_advice)),
        ]
    if rule.references:
        blocks += [Heading("References"), Bullets(tuple(rule.references))]
    return Document(rule.id, f"{rule.family}, QWEN-AUDIO {version}", tuple(blocks))


def rule_json(rule: Rule) -> dict[str, object]:
    """JSON form: the file's own keys."""
    return {
        "schema": SCHEMA,
        "kind": "rule",
        "rule": rule.model_dump(mode="json", exclude={"schema_version"}, exclude_none=True),
    }


def check_document(catalogue: Catalogue, outcomes: Sequence[SampleOutcome], version: str) -> Document:
    """How many rules and samples hold, and those that do not."""
    bad = [outcome for outcome in outcomes if not outcome.holds]
    blocks: list[Block] = [
        Paragraph(f"{len(catalogue)} rules are valid. {len(outcomes) - len(bad)} of {len(outcomes)} samples hold.")
    ]
    if bad:
        rows = tuple((outcome.rule, outcome.wanted, f"{outcome.name}: found {outcome.found}") for outcome in bad)
        blocks += [Heading("Samples that do not hold"), Table(("rule", "wanted", "sample"), rows)]
    return Document(f"QWEN-AUDIO rules check {version}", "", tuple(blocks))


def check_json(catalogue: Catalogue, outcomes: Sequence[SampleOutcome]) -> dict[str, object]:
    """JSON form."""
    return {
        "schema": SCHEMA,
        "kind": "rules-check",
        "rules": len(catalogue),
        "samples": len(outcomes),
        "failing": [
            {"rule": outcome.rule, "sample": outcome.name, "wanted": outcome.wanted, "found": outcome.found}
            for outcome in outcomes
            if not outcome.holds
        ],
    }


def evaluation_document(result: Evaluation, misses: int, version: str) -> Document:
    """Both shares, per family, and the worst misses."""
    families = tuple(
        (family, str(count), f"{result.share(1, family):.1%}", f"{result.share(3, family):.1%}")
        for family, count in result.families()
    )
    total = ("all", str(len(result.verdicts)), f"{result.share(1):.1%}", f"{result.share(3):.1%}")
    worst = tuple(
        f"{verdict.report.id}: {verdict.report.cause} came "
        f"{f'as number {verdict.place}' if verdict.place else 'not at all'}, "
        f"behind {', '.join(f'{rule} {probability:.2f}' for rule, probability in verdict.found)}"
        for verdict in result.worst(misses)
    )
    blocks: list[Block] = [Table(("family", "reports", "first", "first three"), (*families, total), right=(1, 2, 3))]
    if worst:
        blocks += [Heading("Worst misses"), Bullets(worst)]
    return Document(f"QWEN-AUDIO rules eval {version}", f"{len(result.verdicts)} labelled reports", tuple(blocks))


def evaluation_json(result: Evaluation) -> dict[str, object]:
    """JSON form."""
    return {"schema": SCHEMA, "kind": "rules-eval", **result.to_json()}


def _sign(item: Evidence) -> str:
    if item.log is not None or item.words is not None:
        return item.log or item.words or ""
    return ", ".join(f"{name} {condition}" for name, condition in (item.fact or item.audio or {}).items())

"""``qwen-audio rules``: list, show, check and measure the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, RulesOption, emit
from toolkit.errors import EXIT_FAILS, UsageError

__all__ = ["app"]

app = typer.Typer(
    help="The catalogue of causes: list, show, check, measure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("list")
def list_rules(
    family: Annotated[str | None, typer.Option("--family", metavar="NAME", help="Only this family.")] = None,
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """All rules: id, family, title."""
    from toolkit.doctor import matcher_of, rule_views

    catalogue = matcher_of(rules or ()).catalogue
    families = sorted({rule.family for rule in catalogue})
    if family is not None and family not in families:
        raise UsageError(f"no family is called {family}; there are: {', '.join(families)}")
    chosen = [rule for rule in catalogue if family in (None, rule.family)]
    emit(
        lambda: rule_views.list_document(chosen, __version__), rule_views.list_json(chosen), as_json=as_json, html=html
    )


@app.command("show")
def show_rule(
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.")],
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """One rule: symptom, cause, evidence, questions, fixes, look-alikes, wrong advice."""
    from toolkit.doctor import matcher_of, rule_views

    catalogue = matcher_of(rules or ()).catalogue
    rule = catalogue.by_id.get(rule_id)
    if rule is None:
        from difflib import get_close_matches

        near = get_close_matches(rule_id, catalogue.by_id, n=3, cutoff=0.4)
        raise UsageError(
            f"no rule is called {rule_id}"
            + (f"; did you mean {', '.join(near)}?" if near else "; see qwen-audio rules list")
        )
    emit(lambda: rule_views.rule_document(rule, __version__), rule_views.rule_json(rule), as_json=as_json, html=html)


@app.command("check")
def check_rules(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Rule folders beside the built-in ones.")
    ] = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Validate rule files and run every sample beside them. Exit code 2 for a bad file, 3 for a sample that fails."""
    from toolkit.doctor import matcher_of, rule_views
    from troubleshoot.samples import check_samples

    matcher = matcher_of(folders or ())
    outcomes = [
        outcome for rule, samples in matcher.catalogue.samples() for outcome in check_samples(matcher, rule, samples)
    ]
    emit(
        lambda: rule_views.check_document(matcher.catalogue, outcomes, __version__),
        rule_views.check_json(matcher.catalogue, outcomes),
        as_json=as_json,
        html=html,
    )
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(EXIT_FAILS)


@app.command("eval")
def evaluate_rules(
    reports: Annotated[
        Path,
        typer.Argument(
            metavar="REPORTS.jsonl",
            help="Labelled reports: id, family, cause, log, user_words, env; one JSON object a line.",
        ),
    ],
    misses: Annotated[int, typer.Option("--misses", metavar="N", help="How many of the worst misses to show.")] = 20,
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """How often the true cause comes first, and among the first three, in all and per family, with the worst misses."""
    from toolkit.doctor import matcher_of, rule_views
    from troubleshoot.evaluate import evaluate, read_reports

    result = evaluate(matcher_of(rules or ()), read_reports(reports))
    if not result.verdicts:
        raise UsageError(f"{reports} holds no report with a cause to find")
    emit(
        lambda: rule_views.evaluation_document(result, misses, __version__),
        rule_views.evaluation_json(result),
        as_json=as_json,
        html=html,
    )

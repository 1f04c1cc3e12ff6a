"""``python -m troubleshoot.check FILE...``: validate rule files and, with ``--samples``, run what lies beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

from troubleshoot.catalogue import load_catalogue, load_rule, load_samples
from troubleshoot.errors import RuleError
from troubleshoot.evidence import Matcher
from troubleshoot.samples import check_samples

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when all files are valid and all samples hold, 2 for a bad file, 3 for a sample that fails."""
    parser = argparse.ArgumentParser(prog="python -m troubleshoot.check", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="rule files (not the .samples.yaml beside them)")
    parser.add_argument("--samples", action="store_true", help="rank the samples against the whole catalogue")
    options = parser.parse_args(argv)
    rules = []
    bad = 0
    for path in options.files:
        try:
            rule = load_rule(path)
            samples = load_samples(path.with_name(rule.id + ".samples.yaml"), rule.id)
        except RuleError as error:
            bad += 1
            print(error)
        else:
            rules.append((rule, samples))
    if bad:
        return RuleError.exit_code
    failing = 0
    if options.samples:
        matcher = Matcher(load_catalogue(plugins=False, check_links=False))
        for rule, samples in rules:
            for outcome in check_samples(matcher, rule, samples):
                if not outcome.holds:
                    failing += 1
                    print(f"{outcome.rule}: {outcome.wanted} {outcome.name!r} does not hold; found {outcome.found}")
    print(f"{len(rules)} rules valid" + (f", {failing} samples do not hold" if options.samples else ""))
    return 3 if failing else 0


if __name__ == "__main__":
    raise SystemExit(main())

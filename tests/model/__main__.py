"""Explore the models and print each verdict with its trace: `python -m tests.model [--big] [WORD ...]`."""

import argparse
import sys
import time

from tests.model import (
    arrivals,
    calls,
    claim,
    deletes,
    open_tasks,
    order,
    parking,
    placement,
    public,
    requests,
    tasks,
    threads,
    webhooks,
)
from tests.model.scenario import describe

MODELS = (
    arrivals,
    claim,
    requests,
    calls,
    order,
    threads,
    placement,
    parking,
    deletes,
    public,
    tasks,
    open_tasks,
    webhooks,
)


def table() -> list[str]:
    """The scenarios as lines of a Markdown table."""
    rows = [f"| {s.name} | {s.rule} | {s.verdict} |" for model in MODELS for s in model.SCENARIOS]
    return ["| scenario | rule | verdict |", "|---|---|---|", *rows]


def main() -> int:
    """Exit status 0: each scenario gave the verdict that it must give, also those that must fail."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--big", action="store_true", help="the rules at larger bounds: minutes, some GB")
    parser.add_argument("--quiet", action="store_true", help="no traces")
    parser.add_argument("words", nargs="*", help="only scenarios whose name contains one of these")
    parser.add_argument("--table", action="store_true", help="print the scenarios as a Markdown table, explore nothing")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table()))  # noqa: T201
        return 0
    chosen = [s for model in MODELS for s in (model.BIG if options.big else model.SCENARIOS)]
    if options.words:
        chosen = [s for s in chosen if any(word in s.name for word in options.words)]
    failed = 0
    for scenario in chosen:
        began = time.monotonic()
        result = scenario.run()
        failed += not scenario.is_expected(result)
        text = describe(scenario, result)
        print(text.splitlines()[0] if options.quiet else text, f"\n      {time.monotonic() - began:.1f} s", flush=True)  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

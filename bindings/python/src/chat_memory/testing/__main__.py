"""The command: `python -m chat_memory.testing OPENER…`."""

from __future__ import annotations

import argparse
import sys

from . import Report, examine, table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m chat_memory.testing",
        description="Put chat memories through the same ordeals, and print a table. Takes some minutes for each.",
    )
    parser.add_argument("openers", nargs="+", metavar="OPENER", help="a function that opens a chat memory, as module:function or TITLE=module:function")
    parser.add_argument("--endpoint", metavar="URL", help="DynamoDB Local's URL; without it, memories keep their sessions in a folder")
    parser.add_argument("--turns", type=int, nargs="+", default=[2, 100, 500], metavar="N", help="turns of a session at which the cost is measured")
    given = parser.parse_args()
    titles, names = zip(*(("=" in one and one.split("=", 1)) or (one, one) for one in given.openers))
    reports: list[Report] = []
    for title, name in zip(titles, names):
        print(f"{title} …", file=sys.stderr, flush=True)
        reports.append(examine(name, endpoint=given.endpoint, turns=given.turns))
    print(table(reports, titles))


if __name__ == "__main__":
    main()

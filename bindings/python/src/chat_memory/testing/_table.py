"""The table of reports."""

from __future__ import annotations

from collections.abc import Sequence

from ._ordeals import KINDS, Report
from ._proxy import Usage


def table(reports: Sequence[Report], names: Sequence[str] | None = None) -> str:
    """Returns reports as a Markdown table with a line each, and a list of the kinds of content that did not come back equal.

    Args:
        names: What to call them; by default the names of their openers.
    """
    names = names or [report.name for report in reports]
    turns = sorted({turn for report in reports for turn in report.usage})
    titles = ["", "8 writers", "lossy network", "killed", "1 MB message", "2 MB session", f"exact, of {KINDS}", *(f"turn {n}" for n in turns)]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    for name, report in zip(names, reports):
        lossy = "–" if report.lossy is None else str(report.lossy)
        exact = str(KINDS - len(report.inexact))
        usage = [_usage(report, turn) for turn in turns]
        lines.append(_line([name, str(report.writers), lossy, str(report.killed), report.large, report.long, exact, *usage]))
    inexact = [f"- {name}: {', '.join(report.inexact)}" for name, report in zip(names, reports) if report.inexact]
    return "\n".join([*lines, *(["", "What does not come back equal:", "", *inexact] if inexact else [])])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _usage(report: Report, turn: int) -> str:
    found = report.usage.get(turn)
    if isinstance(found, Usage):
        return f"{found.write_units:g} / {found.read_units:g} / {found.requests}"
    return found or "–"

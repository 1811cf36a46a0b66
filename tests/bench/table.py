"""Gathers what was measured, and prints it as one Markdown table."""

from dataclasses import dataclass


@dataclass
class Row:
    part: str
    what: str
    measured: str
    target: str
    met: object  # True, False, or None where nothing is asked for
    seconds: str


class Table:
    def __init__(self):
        self.rows = []

    def add(self, part, what, measured, target="", met=None, seconds=""):
        row = Row(part, what, measured, target, met, seconds)
        self.rows.append(row)
        print("  " + " · ".join(cell for cell in cells(row)[1:] if cell), flush=True)

    def at_most(self, part, what, value, limit, unit="×", aim=None, digits=2, seconds=""):
        """A figure that should be small."""
        self._bounded(part, what, value, limit, "≤", value <= limit, unit, aim, digits, seconds)

    def at_least(self, part, what, value, limit, unit="×", digits=2, seconds=""):
        """A figure that should be large."""
        self._bounded(part, what, value, limit, "≥", value >= limit, unit, None, digits, seconds)

    def _bounded(self, part, what, value, limit, sign, met, unit, aim, digits, seconds):
        target = f"{sign} {limit:,g} {unit}".strip() + (f" (aim {aim:,g})" if aim is not None else "")
        self.add(part, what, f"{value:,.{digits}f} {unit}".strip(), target, met, seconds)

    def missed(self):
        return [row for row in self.rows if row.met is False]

    def markdown(self, heading):
        lines = [
            heading,
            "",
            "| part | what | measured | target | met | behind it |",
            "| --- | --- | ---: | ---: | --- | --- |",
        ]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def cells(row):
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    return [row.part, row.what, row.measured, row.target, met, row.seconds]


def spread(ratios):
    """Least and greatest of the pairs behind a median."""
    _, least, greatest = ratios
    return f"{least:.2f}–{greatest:.2f}"


def seconds(runs):
    """The seconds of some runs, in the order in which they were made."""
    return ", ".join(f"{run.seconds:.1f}" for run in runs) + " s"


def cpu(runs):
    """The CPU seconds of some runs: wall clock far above them was waiting, or somebody else's work."""
    return "CPU " + ", ".join(f"{run.cpu_seconds():.1f}" for run in runs) + " s"

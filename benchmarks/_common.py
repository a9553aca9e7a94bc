"""Shared by the benchmarks: description of the environment, timing in turn, tables."""

import datetime
import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path

import torch


def environment(*packages):
    """Return lines with date, machine and versions of a run."""
    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))(0)
    load = getattr(os, "getloadavg", lambda: [float("nan")])()[0]
    return [
        f"date {datetime.date.today().isoformat()}",
        f"CPU {cpu_model()}, {len(cores)} cores, {torch.get_num_threads()} threads of "
        f"torch, load average {load:.1f} at the start",
        ", ".join(f"{name} {version(name)}" for name in ("python", *packages)),
    ]


def cpu_model():
    """Return the name of the processor if the system provides it."""
    info = Path("/proc/cpuinfo")
    found = info.exists() and re.search(r"model name\s*:\s*(.+)", info.read_text())
    return found[1] if found else platform.processor() or platform.machine()


def version(name):
    """Return the version of Python or of an installed distribution."""
    if name == "python":
        return platform.python_version()
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def alternate(actions, repeats):
    """Time all actions in turn, `repeats` times.

    The order is reversed in every second round, so that neither drift of the
    machine nor state left by one method favors another.

    Parameters
    ----------
    actions : dict of str to callable
        Called without arguments.
    repeats : int
        Number of rounds.

    Returns
    -------
    seconds : dict of str to list of float
    results : dict of str to object
        Results of the actions in the last round.
    """
    seconds = {name: [] for name in actions}
    results = {}
    for turn in range(repeats):
        for name in list(actions)[:: -1 if turn % 2 else 1]:
            start = time.perf_counter()
            results[name] = actions[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds, results


class Report:
    """Report that prints at once, and writes Markdown at the end."""

    def __init__(self, title, output=None):
        self.output = output
        self.blocks = []
        self.say(title, markdown=f"# {title}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.output:
            text = "\n\n".join("\n".join(block) for block in self.blocks)
            Path(self.output).write_text(text + "\n", encoding="utf-8")

    def say(self, line, markdown=None):
        """Print one line, and keep it as a paragraph."""
        print(line, flush=True)
        self.blocks.append([markdown or line])

    def items(self, lines):
        """Print lines, and keep them as a list."""
        print(*lines, sep="\n", flush=True)
        self.blocks.append([f"- {line}" for line in lines])

    def table(self, **columns):
        """Start a table; a column is its header and format, such as ``n=">8d"``."""
        table = Table(columns)
        self.blocks.append(table.markdown)
        return table


class Table:
    """Table that prints rows as they are added; None is shown as a dash."""

    def __init__(self, columns):
        headers = [header.replace("_", " ") for header in columns]
        self.specs = list(columns.values())
        self.widths = [
            max(int(re.match(r"[<>](\d+)", spec)[1]), len(header))
            for header, spec in zip(headers, self.specs, strict=True)
        ]
        rule = ["---:" if spec[0] == ">" else "---" for spec in self.specs]
        self.markdown = []
        self._row(headers)
        self.markdown.append(f"| {' | '.join(rule)} |")

    def add(self, *values):
        """Print one row."""
        self._row(
            [
                "-" if value is None else format(value, spec).strip()
                for value, spec in zip(values, self.specs, strict=True)
            ]
        )

    def _row(self, cells):
        layout = zip(cells, self.specs, self.widths, strict=True)
        line = "  ".join(f"{cell:{spec[0]}{width}}" for cell, spec, width in layout)
        print(line.rstrip(), flush=True)
        self.markdown.append(f"| {' | '.join(cells)} |")

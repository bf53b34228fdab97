"""Rounds of several servers to one table, one JSON document and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from bench.driver.process import Memory
from bench.driver.workloads import WORKLOADS, Measure


@dataclass(slots=True)
class Round:
    """One run of one server, from an empty directory."""

    start_s: float
    measures: dict[str, Measure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Workloads that the server does not know, with its words."""
    failed: dict[str, str] = field(default_factory=dict)
    """Workloads that ended with a wrong reply."""
    memory_idle: Memory | None = None
    memory_scene: Memory | None = None
    """With the users and rooms made."""
    memory_after: Memory | None = None
    memory_worked: Memory | None = None
    """In a run of its own, after as many requests as every other server had."""


@dataclass(frozen=True, slots=True)
class Line:
    """One value of one server: the median over its rounds."""

    key: str
    title: str
    unit: str
    value: float | None
    """None: ``note`` says why there is none."""
    note: str = ""
    lowest: float = 0.0
    highest: float = 0.0
    measure: Measure | None = None

    @property
    def is_higher_better(self) -> bool:
        return self.unit == "/s"


MEMORY_ROWS: Final = (
    ("memory_idle", "rss_anon", "memory when idle, RssAnon"),
    ("memory_worked", "rss_anon", "memory after the same work, RssAnon"),
    ("memory_after", "rss_anon", "memory after the timed run, RssAnon"),
    ("memory_idle", "rss", "memory when idle, RSS"),
    ("memory_after", "rss", "memory after the timed run, RSS"),
)


def summarize(rounds: Sequence[Round], keys: Sequence[str]) -> list[Line]:
    """The lines of one server, in the order of the table."""
    lines = [_line_of(each.key, each.title, each.unit, rounds) for each in WORKLOADS if each.key in keys]
    for moment, kind, title in MEMORY_ROWS:
        found = [getattr(memory, kind) for each in rounds if (memory := getattr(each, moment)) is not None]
        lines.append(_line(f"{moment}_{kind}", title, "MiB", found, "process not known"))
    lines.append(_line("start", "start to first answer", "s", [each.start_s for each in rounds if each.start_s], "-"))
    return lines


def _line_of(key: str, title: str, unit: str, rounds: Sequence[Round]) -> Line:
    measures = [each.measures[key] for each in rounds if key in each.measures]
    notes = [*(f"failed: {each.failed[key]}" for each in rounds if key in each.failed)]
    notes += [f"skipped: {each.skipped[key]}" for each in rounds if key in each.skipped]
    if not measures or notes:
        return Line(key, title, unit, None, notes[0] if notes else "not run")
    middle = Measure(**{name: _median(measures, name) for name in Measure.__dataclass_fields__})
    return _line(key, title, unit, [each.value for each in measures], "", middle)


def _median(measures: Sequence[Measure], name: str) -> Any:
    values = [value for each in measures if (value := getattr(each, name)) is not None]
    return median(values) if values else None


def _line(key: str, title: str, unit: str, values: Sequence[float], note: str, measure: Measure | None = None) -> Line:
    if not values:
        return Line(key, title, unit, None, note)
    return Line(key, title, unit, median(values), "", min(values), max(values), measure)


def ratio(value: float | None, first: float | None) -> float | None:
    return None if value is None or not first else value / first


def digits(value: float | None, width: int = 0) -> str:
    """Three significant digits, or as many as stand before the point."""
    if value is None:
        return "-".rjust(width)
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{places}f}".rjust(width)


def table(lines: Mapping[str, Sequence[Line]]) -> str:
    """One block for each workload, one row for each server; ratios are to the first server."""
    names = list(lines)
    width = max(len(name) for name in names)
    head = f"{'':{width}} {'value':>9} {'ratio':>9} {'lowest':>9} {'highest':>9}"
    head += f" {'p50 ms':>9} {'p99 ms':>9} {'CPU ms':>9} {'ratio':>9} {'disk KiB':>9} {'fsyncs':>9}"
    rows = [head]
    for row in zip(*lines.values(), strict=True):
        better = "higher" if row[0].is_higher_better else "lower"
        rows.append(f"\n{row[0].title}, {row[0].unit} ({better} is better)")
        rows += [f"{name:{width}} {_row(line, row[0])}" for name, line in zip(names, row, strict=True)]
    return "\n".join(rows)


def _row(line: Line, first: Line) -> str:
    if line.value is None:
        return f"{'-':>9} {line.note}"
    cells: list[float | None] = [line.value, ratio(line.value, first.value), line.lowest, line.highest]
    if line.measure is not None:
        cpu_first = first.measure.cpu_ms if first.measure else None
        measure = line.measure
        cpu_ms = measure.cpu_ms or None
        written_kib = None if cpu_ms is None else measure.written_kib
        cells += [measure.p50_ms, measure.p99_ms, cpu_ms, ratio(cpu_ms, cpu_first), written_kib, measure.syncs]
    return " ".join(digits(cell, 9) for cell in cells)


def document(
    lines: Mapping[str, Sequence[Line]], rounds: Mapping[str, Sequence[Round]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything, for programs. ``about``: what was run, where and when."""
    first = next(iter(lines.values()))
    return {
        **about,
        "summary": {
            name: [
                {**asdict(line), "ratio_to_first": ratio(line.value, reference.value)}
                for line, reference in zip(of_server, first, strict=True)
            ]
            for name, of_server in lines.items()
        },
        "rounds": {name: [_plain(each) for each in of_server] for name, of_server in rounds.items()},
    }


def _plain(each: Round) -> dict[str, Any]:
    moments = ("memory_idle", "memory_scene", "memory_worked", "memory_after")
    memory = {name: found._asdict() for name in moments if (found := getattr(each, name)) is not None}
    return {**asdict(each), **memory}

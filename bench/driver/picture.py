"""The summary as a picture: bars for each workload, as SVG drawn by hand: a plotting library is a heavy guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from bench.driver.report import Line, digits, ratio

COLORS: Final = ("#7a869a", "#0b7a75", "#d17a22", "#6b4fa0", "#b23a48", "#3d6fb4")
WIDTH: Final = 900
LEFT: Final = 290
RIGHT: Final = 190
BAR: Final = 15
GAP: Final = 13
TOP: Final = 64


def draw(lines: Mapping[str, Sequence[Line]], title: str) -> str:
    """Bars of one workload share a scale, whose full length is the largest of them; workloads do not share one."""
    names = list(lines)
    rows = list(zip(*lines.values(), strict=True))
    height = TOP + len(rows) * (len(names) * BAR + GAP) + 12
    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="12">',
        f'<rect {size} fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="16" font-weight="600" fill="#1c2733">{escape(title)}</text>',
        *_legend(names),
    ]
    top = TOP
    for row in rows:
        parts += _group(row, top)
        top += len(names) * BAR + GAP
    return "\n".join((*parts, "</svg>", ""))


def _legend(names: Sequence[str]) -> list[str]:
    parts, left = [], 12
    for number, name in enumerate(names):
        parts.append(f'<rect x="{left}" y="36" width="12" height="12" rx="2" fill="{_color(number)}"/>')
        parts.append(f'<text x="{left + 17}" y="46" fill="#1c2733">{escape(name)}</text>')
        left += 40 + 7 * len(name)
    hint = "\N{UPWARDS ARROW} longer is better, \N{DOWNWARDS ARROW} shorter is better; (x): ratio to the first"
    return [*parts, f'<text x="{WIDTH - 12}" y="46" text-anchor="end" fill="#41505f">{hint}</text>']


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _group(row: Sequence[Line], top: int) -> list[str]:
    first = row[0]
    arrow = "\N{UPWARDS ARROW}" if first.is_higher_better else "\N{DOWNWARDS ARROW}"
    middle = top + len(row) * BAR / 2 + 4
    label = f"{escape(first.title)}, {first.unit} {arrow}"
    parts = [f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end" fill="#1c2733">{label}</text>']
    longest = max((line.value or 0.0 for line in row), default=0.0) or 1.0
    for number, line in enumerate(row):
        y = top + number * BAR
        length = (line.value or 0.0) / longest * (WIDTH - LEFT - RIGHT)
        parts.append(
            f'<rect x="{LEFT}" y="{y + 1}" width="{max(length, 1):.1f}" height="{BAR - 2}" fill="{_color(number)}"/>'
        )
        parts.append(
            f'<text x="{LEFT + max(length, 1) + 6:.1f}" y="{y + BAR - 4}" font-size="11" fill="#41505f">'
            f"{escape(_words(line, first))}</text>"
        )
    return parts


def _words(line: Line, first: Line) -> str:
    if line.value is None:
        return line.note if len(line.note) <= 40 else f"{line.note[:39]}\N{HORIZONTAL ELLIPSIS}"
    factor = ratio(line.value, first.value)
    return digits(line.value) + (f"  ({digits(factor)}x)" if line is not first and factor is not None else "")

"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
INDEX: Final = DOCS / "README.md"

SHELL: Final = "sh"
OTHER_SHELLS: Final = frozenset({"bash", "shell", "console", "zsh", "shell-session", "terminal"})
WORDS: Final = re.compile(r"run|serve|stop|by-hand: \S.*")
_FENCE: Final = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^`\n]*)\n(?P<text>.*?)^ *(?P=fence) *$", re.M | re.S
)
_LINK: Final = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING: Final = re.compile(r"^#+ +(.+?) *$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    word: str
    """What is to be done with it; empty for nothing."""
    file: str | None
    """The name that it is written to."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page, by its path below the root."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        return self.name

    def blocks(self) -> Iterator[Block]:
        for match in _FENCE.finditer(self.text):
            language, _, rest = match["info"].strip().partition(" ")
            words = rest.split()
            files = [word.removeprefix("file=") for word in words if word.startswith("file=")]
            yield Block(
                page=self.name,
                line=self.text.count("\n", 0, match.start()) + 1,
                language=language,
                word=" ".join(word for word in words if not word.startswith("file=")),
                file=files[0] if files else None,
                text=_without_indent(match["text"], len(match["indent"])),
            )

    def links(self) -> Iterator[tuple[str, str | None]]:
        """Path and anchor of each link inside the repository; the path is empty for this page."""
        prose = _FENCE.sub("", self.text)
        for match in _LINK.finditer(prose):
            yield match["path"], match["anchor"]

    def anchors(self) -> set[str]:
        """Where links into this page may lead, as GitHub names headings."""
        prose = _FENCE.sub("", self.text)
        return {_anchor(heading) for heading in _HEADING.findall(prose)}


def _without_indent(text: str, indent: int) -> str:
    return "".join(line.removeprefix(" " * indent) for line in text.splitlines(keepends=True))


def _anchor(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def load_pages() -> list[Page]:
    """Every page below ``docs/``."""
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(DOCS.rglob("*.md"))]

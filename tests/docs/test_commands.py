"""What the pages tell people to type does what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Block, Page, load_pages
from tests.docs.story import PageFailed, Story

RUN = [page for page in load_pages() if any(block.word in ("run", "serve") for block in page.blocks())]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=str)
def test_page_can_be_followed(page: Page, tmp_path: Path) -> None:
    with Story(tmp_path / "home") as story:
        for block in page.blocks():
            story.tell(block)


# What follows tests the telling itself.


def block(language: str, word: str, text: str, file: str | None = None) -> Block:
    return Block("sample.md", 1, language, word, file, text)


def test_file_is_there_for_a_command_and_its_output_is_compared(tmp_path: Path) -> None:
    with Story(tmp_path / "home") as story:
        story.tell(block("ini", "", "port = 8000\nname = a\n", file="etc/sample.ini"))
        story.tell(block("sh", "run", "cat ~/etc/sample.ini\n"))
        story.tell(block("text", "output", "port = ...\nname = a\n"))
        with pytest.raises(PageFailed, match="not printed"):
            story.tell(block("text", "output", "name = a\nport = ...\n"))
    assert "8000" not in (tmp_path / "home" / "etc" / "sample.ini").read_text()


def test_failing_line_fails_the_page(tmp_path: Path) -> None:
    with Story(tmp_path / "home") as story, pytest.raises(PageFailed, match="ended with 1"):
        story.tell(block("sh", "run", "false\necho behind it\n"))


def test_by_hand_is_left_alone(tmp_path: Path) -> None:
    with Story(tmp_path / "home") as story:
        story.tell(block("sh", "by-hand: needs root", "touch ~/touched\n"))
    assert not (tmp_path / "home" / "touched").exists()

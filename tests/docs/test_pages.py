"""Every page can be found, its links lead somewhere, and no command in it has gone untyped without a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conduit_py.config import load_config
from tests.docs.pages import INDEX, OTHER_SHELLS, ROOT, SHELL, WORDS, Block, Page, load_pages
from tests.docs.update import GENERATED

PAGES = load_pages()
BLOCKS = [block for page in PAGES for block in page.blocks()]


def test_index_leads_to_every_page() -> None:
    (index,) = [page for page in PAGES if page.path == INDEX]
    linked = {(INDEX.parent / path).resolve() for path, _ in index.links() if path}
    assert [page.name for page in PAGES if page.path != INDEX and page.path not in linked] == []


@pytest.mark.parametrize("page", [*PAGES, Page(ROOT / "README.md", (ROOT / "README.md").read_text())], ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    wrong = []
    for path, anchor in page.links():
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists() or (anchor and anchor not in Page(target, target.read_text()).anchors()):
            wrong.append(f"{path}#{anchor}")
    assert wrong == []


def test_commands_are_run_or_say_why_not() -> None:
    shells = [block for block in BLOCKS if block.language == SHELL]
    assert [str(block) for block in shells if not WORDS.fullmatch(block.word)] == [], "see tests/docs/__init__.py"
    assert [str(block) for block in BLOCKS if block.language in OTHER_SHELLS] == [], f"write ```{SHELL}"


def test_blocks_have_a_language() -> None:
    assert [str(block) for block in BLOCKS if not block.language] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.word == "config"], ids=str)
def test_pieces_of_the_configuration_are_read(block: Block, tmp_path: Path) -> None:
    assert block.language == "toml"
    file = tmp_path / "conduit.toml"
    file.write_text(block.text)
    environ = {} if re.search("^server_name", block.text, re.MULTILINE) else {"CONDUIT_SERVER_NAME": "example.org"}
    loaded = load_config(file, environ)
    assert loaded.warnings == []


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "run: python -m tests.docs.update"


# What follows tests the reading itself.

SAMPLE = """\
# A page

See [below](#a--b-second) and [there](other.md).

```sh run
conduit_py version
```

1. In a list:

   ```toml config file=conduit.toml
   port = 8000
   ```

```sh by-hand: needs root
systemctl restart conduit
```

## `A` & b: second

```text
[no](link.md)
```
"""


def test_blocks_are_found_with_their_words() -> None:
    blocks = list(Page(Path("sample.md"), SAMPLE).blocks())
    assert [(block.language, block.word, block.file, block.line) for block in blocks] == [
        ("sh", "run", None, 5),
        ("toml", "config", "conduit.toml", 11),
        ("sh", "by-hand: needs root", None, 15),
        ("text", "", None, 21),
    ]
    assert blocks[1].text == "port = 8000\n"


def test_links_and_anchors_are_found() -> None:
    page = Page(Path("sample.md"), SAMPLE)
    assert list(page.links()) == [("", "a--b-second"), ("other.md", None)]
    assert page.anchors() == {"a-page", "a--b-second"}

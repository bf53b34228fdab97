"""The house rules hold, and each rule finds what it is there to find."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).parents[1]

PACKAGES = ("conduit_py", "kvschema", "tests", "bench")
PRODUCT = ("conduit_py", "kvschema")
WITHOUT_WAITING = ("conduit_py/matrix", "conduit_py/data", "kvschema")

TreeRule = Callable[[ast.Module], Iterator[int]]
TREE_RULES: tuple[TreeRule, ...] = (
    tidy.await_inside_snapshot,
    tidy.long_function,
    tidy.broad_except,
    tidy.caught_cancelled,
    tidy.task_outside_the_tree,
    tidy.async_def,
    tidy.unsafe_write,
    tidy.printing,
    tidy.missing_docstring,
    tidy.sleep_on_a_real_clock,
)
"""Those that read a module's tree."""

# Exceptions: where, and why. One that is no longer needed fails its test.
LONG_MODULES: dict[str, str] = {}
BROAD_EXCEPTS = {
    "conduit_py/http/app.py": "ends a request: the log has the details, the client is answered 500",
    "conduit_py/http/connection.py": "ends a connection: what one peer sends must not end the server",
    "conduit_py/service/admin/commands.py": "ends one command: the log has the details, the administrator is told so",
    "conduit_py/service/errands.py": "ends one errand: whoever waits for it is told, and the server goes on",
    "conduit_py/service/federation/receive/receiver.py": "ends the work on one event: those that came with it go on",
    "conduit_py/service/media/remote.py": "ends one fetch: whoever waits for it is told, and the server goes on",
    "conduit_py/service/media/thumbnailing.py": "ends the work on one image: decoders raise whatever it leads them to",
    "conduit_py/storage/writer.py": "ends the process: memory is ahead of or behind the disk, and the cause is kept",
}
SYSTEM_TASKS: dict[str, str] = {}
REAL_SLEEPS = {
    "tests/rig/network.py": "whoever opens a network does it on the mocked clock",
    "tests/scenario/convergence.py": "runs trio itself, on the mocked clock",
    "tests/scenario/test_federation_rooms.py": "every story is told on the mocked clock",
    "tests/rig/push.py": "gateways that are slow are so on the mocked clock",
    "tests/scenario/test_policy_servers.py": "so are policy servers",
}
# Tests that cut the power need a database that a power cut can break.
UNSAFE_WRITES = ("tests/crash",)

TEXTS = ("*.py", "*.md", "*.toml", "*.sample", "*.txt", "*.json", ".ci/*", "*.cfg", "*.service")


@functools.cache
def read(path: Path) -> str:
    return path.read_text()


@functools.cache
def apply_all(path: Path) -> dict[TreeRule, list[int]]:
    """The lines that each rule finds in a module. The module's tree is not kept."""
    tree = ast.parse(read(path))
    return {rule: sorted(rule(tree)) for rule in TREE_RULES}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def in_trees(rule: TreeRule, *folders: str) -> list[str]:
    return [f"{name(path)}:{line}" for path in modules(*folders) for line in apply_all(path)[rule]]


def in_texts(rule: Callable[[str], Iterator[int]], paths: list[Path]) -> list[str]:
    return [f"{name(path)}:{line}" for path in paths for line in rule(read(path))]


def beyond(found: list[str], exceptions: dict[str, str]) -> list[str]:
    """What is found and not excepted, and what is excepted and no longer found."""
    files = {place.rsplit(":", 1)[0] for place in found}
    return [place for place in found if place.rsplit(":", 1)[0] not in exceptions] + [
        f"{excepted}: is not an exception any more" for excepted in exceptions if excepted not in files
    ]


def texts() -> list[Path]:
    """Every text file a reader of the repository opens, not what the tools leave behind."""
    places = [ROOT.glob(pattern) for pattern in TEXTS]
    places += [(ROOT / folder).rglob(pattern) for folder in (*PACKAGES, "docs") for pattern in TEXTS]
    return sorted({path for place in places for path in place if path.is_file()})


def test_no_await_inside_snapshot() -> None:
    assert in_trees(tidy.await_inside_snapshot, *PACKAGES) == []


def test_await_inside_snapshot_is_found() -> None:
    source = "async def f():\n with db.snapshot() as s:\n  await g()\n"
    assert list(tidy.await_inside_snapshot(ast.parse(source))) == [3]


def test_await_after_snapshot_is_fine() -> None:
    source = "async def f():\n with db.snapshot() as s:\n  g(s)\n await h()\n"
    assert list(tidy.await_inside_snapshot(ast.parse(source))) == []


def test_functions_are_short() -> None:
    assert in_trees(tidy.long_function, *PACKAGES) == []


def test_long_function_is_found() -> None:
    source = "def f():\n" + " pass\n" * 70
    assert list(tidy.long_function(ast.parse(source))) == [1]
    assert list(tidy.long_function(ast.parse(source[: -len(" pass\n")]))) == []


def test_lines_of_an_inner_function_are_its_own() -> None:
    inner = " def g():\n" + "  pass\n" * 60
    assert list(tidy.long_function(ast.parse("def f():\n" + inner + inner.replace("g", "h")))) == []


def test_lines_of_a_decorator_are_not_the_function() -> None:
    assert list(tidy.long_function(ast.parse("@cases([\n" + " 1,\n" * 80 + "])\ndef f():\n pass\n"))) == []


def test_modules_are_short() -> None:
    assert beyond(in_texts(tidy.long_module, modules(*PACKAGES)), LONG_MODULES) == []


def test_long_module_is_found() -> None:
    assert list(tidy.long_module("pass\n" * 501)) == [501]
    assert list(tidy.long_module("pass\n" * 500)) == []


def test_exception_that_is_not_needed_is_found() -> None:
    assert beyond([], {"a.py": "why"}) == ["a.py: is not an exception any more"]
    assert beyond(["a.py:3", "b.py:1"], {"a.py": "why"}) == ["b.py:1"]


def test_nothing_catches_everything() -> None:
    assert beyond(in_trees(tidy.broad_except, *PACKAGES), BROAD_EXCEPTS) == []


@pytest.mark.parametrize("clause", ["except:", "except Exception:", "except (OSError, BaseException) as e:"])
def test_broad_except_is_found(clause: str) -> None:
    assert list(tidy.broad_except(ast.parse(f"try:\n f()\n{clause}\n pass\n"))) == [3]


def test_what_is_raised_again_is_not_caught() -> None:
    assert list(tidy.broad_except(ast.parse("try:\n f()\nexcept BaseException:\n g()\n raise\n"))) == []
    assert list(tidy.broad_except(ast.parse("try:\n f()\nexcept Exception:\n raise\n g()\n"))) == [3]


def test_broad_suppress_is_found() -> None:
    assert list(tidy.broad_except(ast.parse("with contextlib.suppress(Exception):\n f()\n"))) == [1]
    assert list(tidy.broad_except(ast.parse("with contextlib.suppress(OSError):\n f()\n"))) == []


def test_nothing_catches_cancelled() -> None:
    assert in_trees(tidy.caught_cancelled, *PACKAGES) == []


def test_caught_cancelled_is_found() -> None:
    assert list(tidy.caught_cancelled(ast.parse("try:\n f()\nexcept trio.Cancelled:\n raise\n"))) == [3]


def test_every_task_is_in_the_tree() -> None:
    assert beyond(in_trees(tidy.task_outside_the_tree, *PRODUCT), SYSTEM_TASKS) == []


@pytest.mark.parametrize(
    "source",
    [
        "app.add_background_task(f)",
        "trio.lowlevel.spawn_system_task(f)",
        "NURSERY: trio.Nursery | None = None",
        "def f():\n global _nursery",
    ],
)
def test_task_outside_the_tree_is_found(source: str) -> None:
    assert list(tidy.task_outside_the_tree(ast.parse(source))) == [len(source.splitlines())]


def test_rules_schema_and_reads_never_wait() -> None:
    assert in_trees(tidy.async_def, *WITHOUT_WAITING) == []


def test_async_def_is_found() -> None:
    assert list(tidy.async_def(ast.parse("class A:\n async def f(self): ..."))) == [2]


def test_no_write_skips_the_disk() -> None:
    found = in_trees(tidy.unsafe_write, *PACKAGES)
    assert [place for place in found if not place.startswith(UNSAFE_WRITES)] == []


@pytest.mark.parametrize(
    "source", ["lmdb.open(p, sync=False)", "f(metasync=flag)", "f(writemap=True)", "f(**{'map_async': True})"]
)
def test_unsafe_write_is_found(source: str) -> None:
    assert list(tidy.unsafe_write(ast.parse(source))) == [1]


def test_safe_write_is_fine() -> None:
    assert list(tidy.unsafe_write(ast.parse("lmdb.open(p, sync=True, writemap=False)"))) == []


def test_nothing_prints() -> None:
    """The command line speaks through ``click.echo``, everything else through its logger."""
    assert in_trees(tidy.printing, *PRODUCT, "tests") == []


def test_printing_is_found() -> None:
    assert list(tidy.printing(ast.parse("print('here')"))) == [1]


def test_no_module_has_a_vague_name() -> None:
    assert [name(path) for path in modules(*PACKAGES) if tidy.vague_name(path.relative_to(ROOT))] == []


def test_vague_name_is_found() -> None:
    assert tidy.vague_name(Path("conduit_py/api/utils.py"))
    assert tidy.vague_name(Path("conduit_py/common/ids.py"))
    assert not tidy.vague_name(Path("conduit_py/matrix/ids.py"))


def test_every_module_says_what_it_is() -> None:
    public = [path for path in modules(*PRODUCT) if path.stem == "__init__" or not path.stem.startswith("_")]
    assert [name(path) for path in public if apply_all(path)[tidy.missing_docstring]] == []


def test_missing_docstring_is_found() -> None:
    assert list(tidy.missing_docstring(ast.parse("x = 1"))) == [1]
    assert list(tidy.missing_docstring(ast.parse('"""Says it."""'))) == []


def test_spec_references_are_of_one_version() -> None:
    assert in_texts(tidy.spec_reference, modules(*PACKAGES)) == []


@pytest.mark.parametrize(
    "line",
    [
        "see https://spec.matrix.org/" + "v1.2/rooms/v1/",
        "https://spec.matrix.org/" + "latest/appendices/",
        "Spec: " + "rooms/v6/ (v1.9)",
        "Spec: " + "client-server/#syncing",
    ],
)
def test_spec_reference_is_found(line: str) -> None:
    assert list(tidy.spec_reference("first\n" + line)) == [2]


def test_spec_reference_in_order_is_fine() -> None:
    fine = [
        '"""Spec: rooms/v6/#authorization-rules',
        "Spec: https://spec.matrix.org/v1.19/appendices/#user-identifiers",
    ]
    assert list(tidy.spec_reference("\n".join(fine))) == []


def test_tests_do_not_sleep() -> None:
    assert beyond(in_trees(tidy.sleep_on_a_real_clock, "tests"), REAL_SLEEPS) == []


def test_sleep_on_a_real_clock_is_found() -> None:
    source = "async def test_a():\n await trio.sleep(0.1)\ndef test_b():\n time.sleep(seconds)\n"
    assert sorted(tidy.sleep_on_a_real_clock(ast.parse(source))) == [2, 4]


def test_sleep_on_a_mocked_clock_is_fine() -> None:
    source = "async def test_a(autojump_clock):\n await trio.sleep(60)\nasync def test_b():\n await trio.sleep(0)\n"
    assert list(tidy.sleep_on_a_real_clock(ast.parse(source))) == []


def test_nothing_names_one_machine() -> None:
    assert in_texts(tidy.path_of_one_machine, texts()) == []


@pytest.mark.parametrize("place", ["root/venv/bin", "work/main", "tmp/x.mdb", "tmp"])
def test_path_of_one_machine_is_found(place: str) -> None:
    assert list(tidy.path_of_one_machine(f"first\nopen('/{place}')")) == [2]


def test_package_index_is_found() -> None:
    assert list(tidy.path_of_one_machine("pip install --extra-index" + "-url x")) == [1]


def test_middle_of_a_path_is_fine() -> None:
    assert list(tidy.path_of_one_machine("PUT /_matrix/client/v3/work and https://example.org/root")) == []


def test_every_tree_is_bounded() -> None:
    """Every tree of the store says what keeps it from growing without end, and what it holds."""
    if importlib.util.find_spec("kvschema.catalog") is None:
        pytest.skip("kvschema.catalog is not there")
    catalog = getattr(importlib.import_module("kvschema.catalog"), "CATALOG", None)
    if catalog is None:
        pytest.skip("kvschema.catalog has no CATALOG")
    assert unsaid(list(catalog)) == []


class _Tree:
    def __init__(self, name: str, doc: str, bound: str) -> None:
        self.name, self.doc, self.bound = name, doc, bound


def unsaid(trees: list[_Tree]) -> list[str]:
    names = [tree.name for tree in trees]
    complaints = [f"{tree.name}: no doc" for tree in trees if not tree.doc]
    complaints += [f"{tree.name}: no bound" for tree in trees if not tree.bound]
    return complaints + [f"{twice}: the name is taken" for twice in sorted(set(names)) if names.count(twice) > 1]


def test_unbounded_tree_is_found() -> None:
    trees = [
        _Tree("a", "What a holds.", "one row per user"),
        _Tree("b", "", "x"),
        _Tree("c", "x", ""),
        _Tree("a", "x", "x"),
    ]
    assert unsaid(trees) == ["b: no doc", "c: no bound", "a: the name is taken"]

"""House rules that no linter knows: each is a function from a syntax tree or a text to the lines that break it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

LINES_OF_FUNCTION_MAX = 70
LINES_OF_MODULE_MAX = 500
SPEC_VERSION = "v1.19"

SPEC_DOCUMENTS = (
    "client-server-api",
    "server-server-api",
    "application-service-api",
    "push-gateway-api",
    "identity-service-api",
    "rooms",
    "appendices",
    "olm-megolm",
    "proposals",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.lru_cache(maxsize=1)
def _walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a module, for all rules. One module at a time: the nodes of all are millions."""
    return tuple(ast.walk(tree))


def await_inside_snapshot(tree: ast.AST) -> Iterator[int]:
    """A snapshot pins LMDB pages; a task switch inside one lets other tasks' writes pass it by."""
    for node in _walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith) and any(_takes_snapshot(item) for item in node.items):
            for statement in node.body:
                for inner in ast.walk(statement):
                    if isinstance(inner, ast.Await | ast.AsyncWith | ast.AsyncFor):
                        yield inner.lineno


def _takes_snapshot(item: ast.withitem) -> bool:
    call = item.context_expr
    return isinstance(call, ast.Call) and _last_name(call.func).endswith("snapshot")


def long_function(tree: ast.AST) -> Iterator[int]:
    """Counts the lines a function has for itself, from its ``def``: those of functions inside it are theirs."""
    for node in _walk(tree):
        if (
            isinstance(node, Function)
            and _last_line(node) - node.lineno >= LINES_OF_FUNCTION_MAX
            and _own_lines(node) > LINES_OF_FUNCTION_MAX
        ):
            yield node.lineno


def _own_lines(function: Function) -> int:
    lines = set(range(function.lineno, _last_line(function) + 1))
    for inner in ast.walk(function):
        if inner is not function and isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([inner.lineno, *(decorator.lineno for decorator in inner.decorator_list)])
            lines -= set(range(first, _last_line(inner) + 1))
    return len(lines)


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def long_module(text: str) -> Iterator[int]:
    count = len(text.splitlines())
    if count > LINES_OF_MODULE_MAX:
        yield count


def broad_except(tree: ast.AST) -> Iterator[int]:
    """Catching everything hides our own mistakes: only the places that end a request or a task loop may.

    What is raised again at the end is not caught, only cleaned up after.
    """
    for node in _walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                continue
            caught = {"BaseException"} if node.type is None else _names(node.type)
        elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
            caught = set().union(*map(_names, node.args))
        else:
            continue
        if caught & _EVERYTHING:
            yield node.lineno


_EVERYTHING = {"Exception", "BaseException"}


def caught_cancelled(tree: ast.AST) -> Iterator[int]:
    """``trio.Cancelled`` belongs to trio: shield what must not be cancelled, undo in a ``finally``."""
    for node in _walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is not None and "Cancelled" in _names(node.type):
            yield node.lineno


def task_outside_the_tree(tree: ast.Module) -> Iterator[int]:
    """Every task has a parent in the nursery tree: no background tasks of a framework, no nursery in a global."""
    for node in _walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            found = _last_name(node) in _LOOSE_TASKS
        elif isinstance(node, ast.Global):
            found = any("nursery" in name.lower() for name in node.names)
        else:
            continue
        if found:
            yield node.lineno
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and "nursery" in ast.unparse(node).lower():
            yield node.lineno


_LOOSE_TASKS = {"add_background_task", "spawn_system_task"}


def async_def(tree: ast.AST) -> Iterator[int]:
    """For the packages that never wait: rules, schema, named reads."""
    for node in _walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.lineno


def unsafe_write(tree: ast.AST) -> Iterator[int]:
    """LMDB's switches that trade a power cut's safety for speed. A reply that says "stored" means stored."""
    for node in _walk(tree):
        if isinstance(node, ast.Call):
            pairs: list[tuple[object, ast.expr]] = [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Dict):
            # Options gathered before the call. Where the value is no literal, it may be any dictionary.
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            ]
        else:
            continue
        for name, value in pairs:
            if name in _SWITCHES and (name, ast.unparse(value)) not in _SAFE:
                yield value.lineno


_SAFE = {("sync", "True"), ("metasync", "True"), ("writemap", "False"), ("map_async", "False")}
_SWITCHES = {name for name, _ in _SAFE}


def printing(tree: ast.AST) -> Iterator[int]:
    for node in _walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "pprint"}:
            yield node.lineno


def missing_docstring(tree: ast.Module) -> Iterator[int]:
    if ast.get_docstring(tree) is None:
        yield 1


def spec_reference(text: str) -> Iterator[int]:
    """``Spec:`` names a document of the specification; where a version is named, it is the one used everywhere."""
    for number, line in enumerate(text.splitlines(), 1):
        for version in re.findall(r"spec\.matrix\.org/([\w.]+)", line):
            if version != SPEC_VERSION:
                yield number
        found = re.match(r'\s*(?:""")?Spec: (\S+)', line)
        if found is None:
            continue
        reference = re.sub(r"^https://spec\.matrix\.org/[\w.]+/", "", found[1])
        is_known = re.split("[/#]", reference)[0] in SPEC_DOCUMENTS
        if not is_known or set(re.findall(r"\bv1\.\d+\b", line)) - {SPEC_VERSION}:
            yield number


def sleep_on_a_real_clock(tree: ast.AST) -> Iterator[int]:
    """A test that sleeps does so by a clock of its own (``autojump_clock``, ``mock_clock``), or is slow or flaky."""
    mocked: set[ast.AST] = set()
    for node in _walk(tree):
        if isinstance(node, Function) and {argument.arg for argument in node.args.args} & _MOCKED_CLOCKS:
            mocked.update(ast.walk(node))
    for node in _walk(tree):
        if node not in mocked and isinstance(node, ast.Call) and _last_name(node.func) in {"sleep", "sleep_until"}:
            checkpoint = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not checkpoint:
                yield node.lineno


_MOCKED_CLOCKS = {"autojump_clock", "mock_clock"}


def path_of_one_machine(text: str) -> Iterator[int]:
    """Paths and package indexes of the machine the code was written on do not exist on anybody else's."""
    for number, line in enumerate(text.splitlines(), 1):
        if _OF_ONE_MACHINE.search(line):
            yield number


_OF_ONE_MACHINE = re.compile(
    r"""(?<![\w.}>/-])/(?:root|work|tmp)\b(?!\w)   # as a path of its own, not the middle of one
    | \b(?:pypi[.]|python[h]osted|artifac[t]ory|index[-]url|trusted[-]host)""",
    re.VERBOSE,
)


def vague_name(path: Path) -> bool:
    """Names that say nothing attract everything."""
    return bool({part.removesuffix(".py") for part in path.parts} & {"utils", "util", "helpers", "helper", "common"})


def _names(expression: ast.expr) -> set[str]:
    """Every exception class an ``except`` clause names, without its module."""
    members = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return {_last_name(member) for member in members}


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""

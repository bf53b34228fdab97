"""Keys and values of any tree, made up from its declaration."""

from __future__ import annotations

import importlib
import pkgutil
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

import kvschema.catalog
from kvschema.catalog.timeline import EventRow
from kvschema.codec import I64, U8, U64, Fixed, Key, KeyPart, Text
from kvschema.tree import Tree

AnyTree = Tree[Any, Any]

U64_MAX = (1 << 64) - 1
I64_MAX = (1 << 63) - 1

u64s = st.sampled_from([0, 1, 255, 256, I64_MAX, I64_MAX + 1, U64_MAX]) | st.integers(0, U64_MAX)
i64s = st.sampled_from([0, -1, 1, -256, 255, -I64_MAX - 1, I64_MAX]) | st.integers(-I64_MAX - 1, I64_MAX)
u8s = st.integers(0, 255)
# The characters where encodings go wrong, few enough that two texts often share a beginning.
texts = st.text(st.sampled_from("\x00\x01\x02a\x7f\xff\u0800\ud800\uffff\U0001f600"), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-I64_MAX, I64_MAX) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
event_rows = st.builds(
    EventRow,
    flags=u8s,
    room=u64s,
    pos=i64s,
    state_after=u64s,
    replaces=u64s,
    redacted_by=u64s,
    event_id=st.text(max_size=5),
    client=st.binary(max_size=5),
    federation=st.binary(max_size=5),
)


def part_values(part: KeyPart) -> st.SearchStrategy[Any]:
    match part:
        case U64():
            return u64s
        case U8():
            return u8s
        case I64():
            return i64s
        case Fixed(width):
            return st.sampled_from([b"\x00" * width, b"\xff" * width]) | st.binary(min_size=width, max_size=width)
        case Text():
            return texts


def keys(key: Key[Any]) -> st.SearchStrategy[Any]:
    """Keys of the tree's own type, and now and then ones that differ in a single part."""
    return st.tuples(*map(part_values, key.parts)).map(lambda values: key.type(*values))


def values(tree: AnyTree) -> st.SearchStrategy[Any]:
    if tree.value.spec.startswith("key("):
        key_type = VALUE_TYPES[tree.name]
        return keys(next(other.key for other in kvschema.catalog.CATALOG if other.key.type is key_type))
    if tree.value.spec == "raw":
        return st.binary(max_size=5)
    return of_type(VALUE_TYPES[tree.name])


def of_type(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type that a field may have."""
    if type_ is EventRow:
        return event_rows
    if type_ is Any:
        return json_values
    if isinstance(type_, NewType):
        return of_type(type_.__supertype__)
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (Union, UnionType):
        return st.one_of(*map(of_type, arguments))
    if origin is list:
        return st.lists(of_type(arguments[0]), max_size=2)
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=2)
    if isinstance(type_, type) and issubclass(type_, tuple):
        fields = get_type_hints(type_)
        return st.builds(type_, **{name: of_type(field) for name, field in fields.items()})
    return _PLAIN[type_]


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: u64s,
    bool: st.booleans(),
    str: st.text(max_size=5),
    bytes: st.binary(max_size=5),
    NoneType: st.none(),
}


def _declared() -> dict[str, tuple[AnyTree, Any]]:
    """Every tree that a catalog module declares, by the name of its constant, and the type of its values."""
    found = {}
    for module in pkgutil.iter_modules(kvschema.catalog.__path__):
        namespace = importlib.import_module(f"kvschema.catalog.{module.name}")
        hints = get_type_hints(namespace)
        for name, value in vars(namespace).items():
            if isinstance(value, Tree) and name in hints:
                found[f"{module.name}.{name}"] = (value, get_args(hints[name])[1])
    return found


DECLARED = _declared()
VALUE_TYPES = {tree.name: type_ for tree, type_ in DECLARED.values()}

"""Reads the specification's OpenAPI and event schema files, and makes JSON Schema validators of their parts.

OpenAPI 3.1 schemas are JSON Schema 2020-12. Their references go across files and round in circles, and following them
while validating is slow, so a schema is first brought together: every target of a reference is copied into ``$defs``
once, and annotations are dropped, examples among them (they hold references that lead to data).
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

__all__ = ["Documents", "Schema", "Validator"]

Schema = dict[str, Any]

_OF_SCHEMAS = {"properties", "patternProperties", "$defs", "dependentSchemas"}
_LISTS_OF_SCHEMAS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_SCHEMAS = {
    "items",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "contains",
}
_ASSERTIONS = {
    "type",
    "enum",
    "const",
    "required",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
}

_SERVER_NAME = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::[0-9]{1,5})?"
_FORMATS = {
    "mx-user-id": rf"@[^:\x00]*:{_SERVER_NAME}",
    "mx-room-id": r"![^\x00]+",
    "mx-event-id": r"\$[^\x00]+",
    "mx-room-alias": rf"#[^:\x00]*:{_SERVER_NAME}",
    "mx-server-name": _SERVER_NAME,
    "mx-mxc-uri": rf"mxc://{_SERVER_NAME}/[A-Za-z0-9_-]+",
    "mx-unpadded-base64": r"[A-Za-z0-9+/]*",
    "mx-urlsafe-unpadded-base64": r"[A-Za-z0-9_-]*",
}


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return not isinstance(value, str) or pattern.fullmatch(value) is not None


_CHECKS: dict[str, Callable[..., bool]] = {
    name: functools.partial(_matches, re.compile(pattern)) for name, pattern in _FORMATS.items()
}


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, check in _CHECKS.items():
        checker.checks(name)(check)
    return checker


_CHECKER = _format_checker()


class Validator:
    """Tells what is wrong with instances of one schema.

    Nearly all fit, and that is found by ``jsonschema_rs``, which is some hundred times faster than ``jsonschema``.
    Where it objects, the other has the last word: it tells where and why, and of formats knows those of Matrix alone.
    """

    def __init__(self, schema: Schema) -> None:
        self._quick = jsonschema_rs.Draft202012Validator(schema, formats=_CHECKS, validate_formats=True)
        self._exact = Draft202012Validator(schema, format_checker=_CHECKER)

    def is_quickly_passed(self, instance: object) -> bool:
        return self._quick.is_valid(instance)

    def iter_errors(self, instance: object) -> Iterator[ValidationError]:
        return iter(()) if self.is_quickly_passed(instance) else self.iter_exact_errors(instance)

    def iter_exact_errors(self, instance: object) -> Iterator[ValidationError]:
        return self._exact.iter_errors(instance)


class Documents:
    """The YAML files of one specification folder, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Any] = {}

    def read(self, file: str) -> Any:
        """``file`` is relative to the folder: ``api/client-server/sync.yaml``."""
        if file not in self._read:
            # The loader in C is some ten times faster, and safe like the one in Python.
            self._read[file] = yaml.load((self._folder / file).read_bytes(), Loader=yaml.CSafeLoader)
        return self._read[file]

    def exists(self, file: str) -> bool:
        return (self._folder / file).is_file()

    def list_files(self, folder: str) -> list[str]:
        """The YAML files right in ``folder``, sorted."""
        return sorted(f"{folder}/{path.name}" for path in (self._folder / folder).glob("*.yaml"))

    def follow(self, node: Any, file: str) -> tuple[Any, str]:
        """``node`` and the file it is in, once it is no reference any more."""
        while isinstance(node, dict) and "$ref" in node:
            node, file = self.refer(node["$ref"], file)
        return node, file

    def refer(self, reference: str, file: str, swap: Mapping[str, str] | None = None) -> tuple[Any, str]:
        """What ``reference``, which stands in ``file``, names, and the file that is in."""
        path, _, pointer = reference.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), path)) if path else file
        target = (swap or {}).get(target, target)
        node = self.read(target)
        for part in pointer.split("/")[1:]:
            node = node[unquote(part).replace("~1", "/").replace("~0", "~")]
        return node, target

    def validator(self, schema: Schema, file: str, swap: Mapping[str, str] | None = None) -> Validator:
        """A validator of ``schema``, which is in ``file``; a reference to a file in ``swap`` goes to its value instead.

        Raises ``jsonschema_rs.ValidationError`` if it is no schema.
        """
        return Validator(_Gathering(self, swap or {}).gather(schema, file))


class _Gathering:
    """Brings one schema and all that it refers to together."""

    def __init__(self, documents: Documents, swap: Mapping[str, str]) -> None:
        self._documents = documents
        self._swap = swap
        self._defs: dict[str, Schema | bool] = {}

    def gather(self, schema: Schema, file: str) -> Schema:
        top = self._schema(schema, file)
        return {"allOf": [top], "$defs": self._defs}

    def _schema(self, schema: Schema | bool, file: str) -> Schema | bool:
        if isinstance(schema, bool):
            return schema
        gathered: Schema = {}
        for key, value in schema.items():
            if key == "$ref":
                gathered[key] = self._reference(value, file)
            elif key in _OF_SCHEMAS:
                gathered[key] = {name: self._schema(inner, file) for name, inner in value.items()}
            elif key in _LISTS_OF_SCHEMAS:
                gathered[key] = [self._schema(inner, file) for inner in value]
            elif key in _SCHEMAS:
                gathered[key] = self._schema(value, file)
            elif key in _ASSERTIONS:
                gathered[key] = value
        return gathered

    def _reference(self, reference: str, file: str) -> str:
        target, target_file = self._documents.refer(reference, file, self._swap)
        pointer = reference.partition("#")[2]
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{target_file}{pointer}")
        if name not in self._defs:
            self._defs[name] = True  # Holds the place, for a schema that refers to itself.
            self._defs[name] = self._schema(target, target_file)
        return f"#/$defs/{name}"

"""Reads the specification's OpenAPI and event schema files, and makes JSON Schema validators of their parts.

OpenAPI 3.1 schemas are JSON Schema 2020-12. Their references go across files and round in circles, and following them
while validating is slow, so a schema is first brought together: every target of a reference is copied into ``$defs``
once, and annotations are dropped, examples among them (they hold references that lead to data).
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from jsonschema import Draft202012Validator, FormatChecker

__all__ = ["Documents", "Schema"]

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


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())

    def matches(pattern: re.Pattern[str], value: object) -> bool:
        return not isinstance(value, str) or pattern.fullmatch(value) is not None

    for name, pattern in _FORMATS.items():
        checker.checks(name)(functools.partial(matches, re.compile(pattern)))
    return checker


_CHECKER = _format_checker()


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

    def validator(self, schema: Schema, file: str, swap: Mapping[str, str] | None = None) -> Draft202012Validator:
        """A validator of ``schema``, which is in ``file``; a reference to a file in ``swap`` goes to its value instead.

        Raises ``jsonschema.SchemaError`` if it is no schema.
        """
        whole = _Gathering(self, swap or {}).gather(schema, file)
        Draft202012Validator.check_schema(whole)
        return Draft202012Validator(whole, format_checker=_CHECKER)


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

"""How servers sign their requests: the ``X-Matrix`` header and the JSON that its signature covers.

Spec: server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import KeyId, Malformed, ServerName, parse_key_id, parse_server_name
from conduit_py.matrix.signing import SigningKey, VerifyKey, verify_signature

SCHEME: Final = "x-matrix"

_SCHEME = re.compile(r"[ \t]*([^ \t]+)[ ]+")
_PARAMETER = re.compile(
    r"""(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[!#$%&'*+\-.^_`|~0-9A-Za-z:]+))""",
    re.VERBOSE,
)
"""``auth-param`` of RFC 9110; a value may also have colons without being quoted."""
_COMMA = re.compile(r"[ \t]*(?:,[ \t]*)+")
_END = re.compile(r"[ \t,]*\Z")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class XMatrix:
    """What the header says. Whether it is true is for `verify_request` to check."""

    origin: ServerName
    destination: str | None
    """``None``: not told, as servers before v1.3 of the specification did not."""
    key_id: KeyId
    signature: str


def is_x_matrix(header: str) -> bool:
    """Whether an ``Authorization`` header is of this scheme."""
    match = _SCHEME.match(header)
    return match is not None and match[1].lower() == SCHEME


def parse_x_matrix(header: str) -> XMatrix:
    """Read an ``Authorization`` header. Raises `Malformed` for anything the grammar does not allow."""
    match = _SCHEME.match(header)
    if match is None or match[1].lower() != SCHEME:
        raise Malformed("the authorization scheme must be X-Matrix, followed by parameters")
    parameters: dict[str, str] = {}
    for name, value in _parameters(header, match.end()):
        if name in parameters:
            raise Malformed(f"the X-Matrix parameter {name} must not be given twice")
        parameters[name] = value
    # The list of parameters in the specification says "signature"; its examples, and everybody, say "sig".
    signature = parameters.get("sig", parameters.get("signature"))
    if signature is None or "origin" not in parameters or "key" not in parameters:
        raise Malformed("an X-Matrix header must have the parameters origin, key and sig")
    return XMatrix(
        origin=parse_server_name(parameters["origin"]),
        destination=parameters.get("destination"),
        key_id=parse_key_id(parameters["key"]),
        signature=signature,
    )


def _parameters(header: str, position: int) -> Iterator[tuple[str, str]]:
    while True:
        match = _PARAMETER.match(header, position)
        if match is None:
            raise Malformed("X-Matrix parameters must be name=value pairs with commas between them")
        quoted = match["quoted"]
        yield match["name"].lower(), match["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if _END.match(header, match.end()):
            return
        comma = _COMMA.match(header, match.end())
        if comma is None:
            raise Malformed("X-Matrix parameters must have commas between them")
        position = comma.end()


def build_x_matrix(
    *, method: str, uri: str, origin: ServerName, destination: ServerName, body: bytes | None, signing_key: SigningKey
) -> str:
    """The header for one request of ours; ``uri`` is path and query as sent, ``body`` canonical JSON or ``None``."""
    members = {"destination": destination, "method": method, "origin": origin, "uri": uri}
    signature = signing_key.sign(_build_signed(members, body))
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{signing_key.key_id}",sig="{signature}"'


def verify_request(
    header: XMatrix, *, method: str, uri: str, destination: ServerName, body: bytes | None, key: VerifyKey
) -> None:
    """Raise `InvalidSignature` unless ``header.origin`` signed this request to ``destination`` with ``key``.

    :param body: canonical JSON, or ``None``.
    The destination is signed also where the header does not name it, as those of older servers do not. The caller
    checks that one that is named is ours.
    """
    members = {"destination": destination, "method": method, "origin": header.origin, "uri": uri}
    signed = _build_signed(members, body)
    verify_signature(signed, header.signature, key.public_key, f"{header.origin} {header.key_id}")


def _build_signed(members: Mapping[str, Any], body: bytes | None) -> bytes:
    signed = encode_canonical_json(members, strict=False)
    # In canonical JSON the content comes first, and it is canonical already.
    return signed if body is None else b'{"content":' + body + b"," + signed[1:]

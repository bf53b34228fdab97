"""The kinds of value that are tables or lists of tables: proxies, media retention, directories, ignored keys.

Each accepts what Conduit accepts under the same key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from conduit_py.config.kinds import DURATION, SERVER_NAME, SIZE, TEXT, Kind, Unfit, choice, fit, integer, list_of, url
from conduit_py.config.model import (
    DirectoryStructure,
    IgnoredKeys,
    MediaRetention,
    MediaScope,
    Proxy,
    ProxyRule,
    RetentionPolicies,
)

HASH_DIGITS = 64
"""A media file is named by the SHA-256 of its content in hexadecimal."""


def _fields(kinds: Mapping[str, Kind], value: object, expected: str) -> dict[str, object]:
    """Read a table whose keys are all optional; empty strings are passed over."""
    if not isinstance(value, dict):
        raise Unfit(expected, value)
    for name in value:
        if name not in kinds:
            raise Unfit(f"only the keys {', '.join(kinds)}", name, (name,))
    return {name: fit(kinds[name], item, (name,)) for name, item in value.items() if item != ""}


def _items(value: object, expected: str) -> Iterator[tuple[int, object]]:
    if not isinstance(value, list):
        raise Unfit(expected, value)
    yield from enumerate(value)


# --- proxy ---

_PROXY_URL = url("http", "https", "socks5", "socks5h")
_DOMAINS = list_of(TEXT)
_RULE: Mapping[str, Kind] = {"url": _PROXY_URL, "include": _DOMAINS, "exclude": _DOMAINS}


def _read_proxy(value: object) -> Proxy:
    expected = '"none", a table "global" with a url, or a list of tables "by_domain" with url, include and exclude'
    match value:
        case "none":
            return Proxy()
        case {"global": target, **others} if not others:
            return Proxy((_read_rule(target, ("global",)),))
        case {"by_domain": list(rules), **others} if not others:
            return Proxy(tuple(_read_rule(rule, ("by_domain", place)) for place, rule in enumerate(rules)))
        case _:
            raise Unfit(expected, value)


def _read_rule(value: object, at: tuple[str | int, ...]) -> ProxyRule:
    try:
        rule = _fields(_RULE, value, "a table with url, include and exclude")
        if "url" not in rule:
            raise Unfit("the url of the proxy", value)
    except Unfit as unfit:
        raise Unfit(unfit.expected, unfit.found, (*at, *unfit.at)) from None
    include, exclude = (cast("tuple[str, ...]", rule.get(name, ())) for name in ("include", "exclude"))
    return ProxyRule(
        url=cast("str", rule["url"]),
        include=tuple(domain.lower() for domain in include),
        exclude=tuple(domain.lower() for domain in exclude),
    )


PROXY = Kind('"none" or a table', _read_proxy)


# --- media ---

_POLICY: Mapping[str, Kind] = {
    "scope": choice(*(scope.value for scope in MediaScope)),
    "accessed": DURATION,
    "created": DURATION,
    "space": SIZE,
}
_REMOTE_MEDIA = MediaRetention(accessed=30 * 86_400)


def _read_retention(value: object) -> RetentionPolicies:
    expected = "a list of tables with scope, accessed, created and space"
    scoped: dict[MediaScope, MediaRetention] = {}
    fallback: MediaRetention | None = None
    for place, item in _items(value, expected):
        policy = fit(Kind(expected, lambda item: _fields(_POLICY, item, expected)), item, (place,))
        assert isinstance(policy, dict)
        scope = policy.pop("scope", None)
        if scope is None:
            if fallback is not None:
                raise Unfit("one policy without a scope", item, (place,))
            fallback = MediaRetention(**policy)
        elif MediaScope(scope) in scoped:
            raise Unfit(f'one policy for the scope "{scope}"', item, (place,))
        else:
            scoped[MediaScope(scope)] = MediaRetention(**policy)
    return RetentionPolicies(
        scoped=_with_defaults(scoped, fallback), global_space=None if fallback is None else fallback.space
    )


def _with_defaults(
    scoped: dict[MediaScope, MediaRetention], fallback: MediaRetention | None
) -> dict[MediaScope, MediaRetention]:
    """Policies for the scopes that have none.

    What came from elsewhere can be fetched again, so it goes after a month unless the file says otherwise; what our
    own users sent is nowhere else, so only times that were written down touch it.
    """
    if fallback is not None and (fallback.accessed or fallback.created):
        times = MediaRetention(accessed=fallback.accessed, created=fallback.created)
        defaults = dict.fromkeys(MediaScope, times)
    else:
        defaults = dict.fromkeys((MediaScope.REMOTE, MediaScope.THUMBNAIL), _REMOTE_MEDIA)
    return defaults | scoped


RETENTION = Kind("a list of tables", _read_retention)

_LEVELS: Mapping[str, Kind] = {"depth": integer(1, HASH_DIGITS - 1), "length": integer(1, HASH_DIGITS - 1)}


def _read_directory_structure(value: object) -> DirectoryStructure:
    expected = f"a table with depth and length, whose product is below {HASH_DIGITS}, or an empty table"
    match _fields(_LEVELS, value, expected):
        case {"depth": int(depth), "length": int(length)} if depth * length < HASH_DIGITS:
            return DirectoryStructure(depth=depth, length=length)
        case {**levels} if not levels:
            return DirectoryStructure(depth=0, length=0)
        case _:
            raise Unfit(expected, value)


DIRECTORY_STRUCTURE = Kind("a table with depth and length", _read_directory_structure)


# --- ignored keys ---

_PUBLIC_KEY: Mapping[str, Kind] = {"key": TEXT}


def _read_ignored_keys(value: object) -> IgnoredKeys:
    expected = "a list of public keys in base64, or a table of server names with lists of key ids"
    match value:
        case dict():
            ids = {str(fit(SERVER_NAME, name, (name,))): fit(list_of(TEXT), value[name], (name,)) for name in value}
            return IgnoredKeys(frozenset(), {name: frozenset(cast("tuple[str, ...]", ids[name])) for name in ids})
        case list():
            keys = (_read_public_key(item, place) for place, item in enumerate(value) if item != "")
            return IgnoredKeys(frozenset(keys), {})
        case _:
            raise Unfit(expected, value)


def _read_public_key(item: object, place: int) -> str:
    """A key alone, or in a table under ``key`` as Conduit's own reader wants it."""
    match item:
        case str() | {"key": str()}:
            text = item if isinstance(item, str) else cast("dict[str, str]", item)["key"]
            return text.rstrip("=")
        case _:
            raise Unfit("a public key in base64", item, (place,))


IGNORED_KEYS = Kind("a list of public keys, or a table of server names with key ids", _read_ignored_keys)

"""The services between servers, built in dependency order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conduit_py.config import Config
from conduit_py.matrix.globs import compile_glob
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.signing import SigningKey
from conduit_py.outbound.addresses import Dns, SystemDns
from conduit_py.outbound.federation import FederationClient
from conduit_py.outbound.http import HttpClient
from conduit_py.outbound.lookups import Lookups
from conduit_py.outbound.media import MediaClient
from conduit_py.outbound.resolve import Resolver, split_server_name
from conduit_py.service.federation.auth import RequestVerifier
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.destinations import StoredDelegations
from conduit_py.service.federation.key_store import KeyStore
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.federation.notary import Notary
from conduit_py.service.federation.own_keys import OwnKeys
from conduit_py.service.users.store import Store

if TYPE_CHECKING:
    import httpcore2


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What others build on: handlers, and the services that speak with other servers."""

    http: HttpClient
    """Its ``run`` belongs into the nursery tree."""
    client: FederationClient
    lookups: Lookups
    """The same for what users look up."""
    media: MediaClient
    own_keys: OwnKeys
    keys: KeyRing
    checks: Checks
    notary: Notary
    verifier: RequestVerifier
    is_forbidden: ForbiddenNames
    """Servers that are not talked to."""


def build_federation(
    config: Config,
    store: Store,
    *,
    signing_key: SigningKey,
    throttle: Callable[[tuple[str, Hashable]], None],
    has_threads: bool,
    dns: Dns | None = None,
    tcp: httpcore2.AsyncNetworkBackend | None = None,
    http: HttpClient | None = None,
) -> Federation:
    """Raises ``OSError`` where ``ca_certificates`` cannot be read. Names and connections are real unless given."""
    dns = dns or SystemDns()
    server_name = ServerName(config.server_name)
    is_forbidden = ForbiddenNames(config.forbidden_remote_server_names)
    http = http or HttpClient(
        dns=dns,
        denylist=config.ip_range_denylist,
        proxy=config.proxy,
        ca_certificates=config.ca_certificates,
        requests_max=config.max_concurrent_requests,
        tcp=tcp,
    )
    client = FederationClient(
        http,
        Resolver(http, dns, StoredDelegations(store), now_ms=store.now_ms),
        server_name=server_name,
        signing_key=signing_key,
        is_forbidden=is_forbidden,
        is_allowed=config.allow_federation,
    )
    own_keys = OwnKeys(server_name, signing_key, now_ms=store.now_ms)
    keys = KeyRing(
        store,
        KeyStore(store, config.ignored_keys),
        client,
        own_keys,
        trusted_servers=[ServerName(name) for name in config.trusted_servers],
    )
    return Federation(
        is_forbidden=is_forbidden,
        http=http,
        client=client,
        lookups=Lookups(client),
        media=MediaClient(http, client),
        own_keys=own_keys,
        keys=keys,
        checks=Checks(keys, now_ms=store.now_ms, has_threads=has_threads),
        notary=Notary(keys, own_keys, is_allowed=config.allow_federation),
        verifier=RequestVerifier(
            keys,
            server_name=server_name,
            is_forbidden=is_forbidden,
            is_allowed=config.allow_federation,
            throttle=throttle,
            now_ms=store.now_ms,
            has_threads=has_threads,
        ),
    )


VERDICTS_MAX: Final = 20_000
"""Servers of which it is remembered, about 3 MB: a message may be for thousands."""


class ForbiddenNames:
    """Whether a server is in ``forbidden_remote_server_names``: a pattern is for the host or for the whole name."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.replace(patterns)

    def replace(self, patterns: Iterable[str]) -> None:
        """Others from now on."""
        self._globs = [compile_glob(pattern, ignore_case=True) for pattern in patterns]
        self._verdicts: dict[ServerName, bool] = {}

    def __call__(self, server_name: ServerName) -> bool:
        if not self._globs:
            return False
        verdict = self._verdicts.get(server_name)
        if verdict is None:
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            verdict = self._verdicts[server_name] = self._is_forbidden(server_name)
        return verdict

    def _is_forbidden(self, server_name: ServerName) -> bool:
        host, _ = split_server_name(server_name)
        return any(glob.matches(host) or glob.matches(server_name) for glob in self._globs)

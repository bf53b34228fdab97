"""The application services of this server, and what belongs to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import trio

from conduit_py.data.tokens import hash_token
from conduit_py.matrix.appservices import Registration, matches
from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import RoomAlias, ServerName, UserId
from conduit_py.service.errors import MatrixError


class AppServices:
    """One per server. Ids and tokens are unique among the registrations."""

    def __init__(self, server_name: ServerName, registrations: Iterable[Registration]) -> None:
        self._server_name = server_name
        self._by_id: dict[str, Registration] = {}
        # By the hash, so that how long a look-up takes tells nothing of a token.
        self._by_token: dict[bytes, Registration] = {}
        self._has_changed = trio.Event()
        for registration in registrations:
            self.add(registration)

    def add(self, registration: Registration) -> None:
        """From now on there is one more, whose id and token no other has."""
        self._by_id[registration.id] = registration
        self._by_token[hash_token(registration.as_token)] = registration
        self._has_changed.set()

    def remove(self, registration: Registration) -> None:
        """It is an application service no more."""
        del self._by_id[registration.id]
        del self._by_token[hash_token(registration.as_token)]
        self._has_changed.set()

    def listen(self) -> trio.Event:
        """Is set when one comes or goes. Take it before looking."""
        self._has_changed = trio.Event()
        return self._has_changed

    def __iter__(self) -> Iterator[Registration]:
        return iter(tuple(self._by_id.values()))

    def get(self, appservice_id: str) -> Registration | None:
        return self._by_id.get(appservice_id)

    def find_by_token(self, as_token: str) -> Registration | None:
        return self._by_token.get(hash_token(as_token))

    def sender_of(self, appservice: Registration) -> UserId:
        """The user that the application service is if it does not say which."""
        return UserId(f"@{appservice.sender_localpart}:{self._server_name}")

    def has_user(self, appservice: Registration, user_id: UserId) -> bool:
        """May the application service act as this user of the server? It is told what concerns such a user."""
        if not user_id.endswith(f":{self._server_name}") or is_server_user(user_id):
            return False
        return user_id == self.sender_of(appservice) or matches(appservice.users, user_id)

    def check_user(self, user_id: UserId, by: Registration | None = None) -> None:
        """Before an account is made or opened without its password. Raises ``M_EXCLUSIVE``.

        Spec: application-service-api/#server-admin-style-permissions
        """
        if by is not None and not self.has_user(by, user_id):
            raise exclusive("The user name is in no namespace of this application service")
        for other in self._others(by):
            if user_id == self.sender_of(other) or matches(other.users, user_id, is_exclusive=True):
                raise exclusive("This user name belongs to an application service")

    def check_alias(self, alias: RoomAlias, by_id: str | None) -> None:
        """Before an alias is made or deleted; ``by_id`` names the application service that does it.

        Raises ``M_EXCLUSIVE``.
        """
        by = None if by_id is None else self._by_id.get(by_id)
        if by is not None and not matches(by.aliases, alias):
            raise exclusive("The alias is in no namespace of this application service")
        if any(matches(other.aliases, alias, is_exclusive=True) for other in self._others(by)):
            raise exclusive("This alias belongs to an application service")

    def owns_alias(self, appservice_id: str | None, alias: RoomAlias) -> bool:
        """An application service manages every alias in its namespaces, whoever made it."""
        appservice = None if appservice_id is None else self._by_id.get(appservice_id)
        return appservice is not None and matches(appservice.aliases, alias)

    def _others(self, but: Registration | None) -> Iterator[Registration]:
        return (it for it in self if it is not but)


def exclusive(message: str) -> MatrixError:
    return MatrixError(message, errcode="M_EXCLUSIVE", status=400)

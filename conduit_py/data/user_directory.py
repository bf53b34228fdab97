"""The words of local users' names, for searching: who is called something that begins like this?

Spec: client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import normalize

from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import NAME_WORD_BYTES_MAX, NameWord

_WORD = re.compile(r"\w+")


def split_words(text: str) -> frozenset[str]:
    """The words of a name or a search term as they are compared: each in one form, and of bounded length."""
    return frozenset(_cut(word) for word in _WORD.findall(normalize("NFKC", text).casefold()))


def name_words(user_id: UserId, displayname: object) -> frozenset[str]:
    """The words under which a local user is found. The name of the server, which all share, is none of them.

    The server's own account is found under none: nobody has anything to say to it outside the Admin Room.
    """
    if is_server_user(user_id):
        return frozenset()
    localpart = user_id[1:].partition(":")[0]
    return split_words(localpart) | (split_words(displayname) if isinstance(displayname, str) else frozenset())


def scan_users(snapshot: Snapshot, beginning: str) -> Iterator[ShortUserId]:
    """Users with a word that begins so, in order of the words; one user may come more than once."""
    for key in users.NAMEWORD_USERID.scan_keys(snapshot, after=NameWord(beginning, ShortUserId(0))):
        if not key.word.startswith(beginning):
            return
        yield key.user


def stage_words(turn: Turn, user: ShortUserId, before: frozenset[str], after: frozenset[str]) -> None:
    """Have a user found under other words than before."""
    for word in before - after:
        turn.batch.delete(users.NAMEWORD_USERID, NameWord(word, user))
    for word in after - before:
        turn.batch.put(users.NAMEWORD_USERID, NameWord(word, user), None)


def _cut(word: str) -> str:
    return word.encode("utf-8", "surrogatepass")[:NAME_WORD_BYTES_MAX].decode("utf-8", "ignore")

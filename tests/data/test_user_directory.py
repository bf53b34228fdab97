"""How names are taken apart for searching."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.data.user_directory import name_words, split_words
from conduit_py.matrix.ids import UserId
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import NAME_WORD_BYTES_MAX, NAMEWORD_USERID, NameWord


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", set()),
        ("⚡️ !?", set()),
        ("Anna-Lena O'Hara", {"anna", "lena", "o", "hara"}),
        ("STRASSE Straße", {"strasse"}),
        ("Cafe\u0301 Caf\u00e9", {"caf\u00e9"}),
        ("\uff21lice", {"alice"}),
        ("x" * 100, {"x" * 64}),
        ("ö" * 100, {"ö" * 32}),
        ("a" + "ö" * 100, {"a" + "ö" * 31}),
    ],
)
def test_words_are_compared_in_one_form(text: str, words: set[str]) -> None:
    assert split_words(text) == words


def test_name_of_the_server_is_no_word_of_its_users() -> None:
    assert name_words(UserId("@alice.smith:one.test"), "Ally") == {"alice", "smith", "ally"}
    assert name_words(UserId("@alice:one.test"), None) == {"alice"}


@given(st.text(max_size=200))
def test_words_of_any_name_can_be_stored(text: str) -> None:
    for word in split_words(text):
        assert 0 < len(word.encode()) <= NAME_WORD_BYTES_MAX
        raw = NAMEWORD_USERID.key.encode(NameWord(word, ShortUserId(1)))
        assert NAMEWORD_USERID.key.decode(raw).word == word


@given(st.text(max_size=50), st.text(max_size=50))
def test_whole_name_finds_whoever_has_it(localpart: str, displayname: str) -> None:
    words = name_words(UserId(f"@{localpart.replace(':', '')}:one.test"), displayname)
    assert split_words(displayname) <= words

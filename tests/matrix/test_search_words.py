"""The words of an event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.search_words import WORD_BYTES_MAX, WORDS_MAX, count_words, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Martians, and MEN!", ["martians", "and", "men"]),
        ("don't-stop", ["don", "t", "stop"]),
        ("Stra\u00dfe", ["strasse"]),
        ("\u6771\u4eac tower", ["\u6771", "\u4eac", "tower"]),
        ("v1.19", ["v1", "19"]),
        ("...", []),
    ],
)
def test_split_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.text())
def test_split_words_fit_into_a_key(text: str) -> None:
    assert all(0 < len(word.encode()) <= WORD_BYTES_MAX for word in split_words(text))


def test_count_words_of_what_is_searched() -> None:
    assert count_words("m.room.message", {"body": "ha ha no"}) == {"ha": 2, "no": 1}
    assert count_words("m.room.name", {"name": "Name"}) == {"name": 1}
    assert count_words("m.room.topic", {"topic": "Topic"}) == {"topic": 1}


@pytest.mark.parametrize(
    ("type", "content"),
    [("m.room.encrypted", {"body": "secret"}), ("m.room.message", {"body": 3}), ("m.room.message", {})],
)
def test_count_words_of_what_has_nothing_to_search(type: str, content: dict[str, object]) -> None:
    assert not count_words(type, content)


def test_count_words_has_a_bound() -> None:
    assert len(count_words("m.room.message", {"body": " ".join(map(str, range(1000)))})) == WORDS_MAX

"""The words of an event that a search finds it by.

Words are runs of letters and digits, in whatever case; where a script puts no spaces between words, every character is
one. Words are found as they are: no stemming, no beginnings of words.

Spec: client-server-api/#server-side-search
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

WORD_BYTES_MAX: Final = 50
"""Of a longer word only the beginning counts."""
WORDS_MAX: Final = 200
"""Distinct words of one event that lead to it, the first: what a page of text has."""

KEY_OF_TYPE: Final[Mapping[str, str]] = {"m.room.message": "body", "m.room.name": "name", "m.room.topic": "topic"}
"""What is searched of an event, by its type. Encrypted events have nothing to search."""

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def split_words(text: str) -> list[str]:
    """Every word of a text, in order, as it is stored and looked for."""
    return [_shorten(word) for word in _WORD.findall(text.casefold())]


def count_words(type: str, content: Mapping[str, Any]) -> Counter[str]:
    """The words that lead to an event, with how often each is there. Empty for types that are not searched."""
    key = KEY_OF_TYPE.get(type)
    text = None if key is None else content.get(key)
    counted = Counter(split_words(text)) if isinstance(text, str) else Counter[str]()
    return counted if len(counted) <= WORDS_MAX else Counter(dict(list(counted.items())[:WORDS_MAX]))


def _shorten(word: str) -> str:
    raw = word.encode("utf-8", "ignore")
    return raw[:WORD_BYTES_MAX].decode("utf-8", "ignore")

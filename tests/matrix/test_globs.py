from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.globs import (
    CACHED_PATTERN_CHARS_MAX,
    TRIES_MAX,
    Glob,
    compile_glob,
    is_between_boundaries,
    words_of,
)

SMALL = st.text(alphabet="ab_-.", max_size=8)
PATTERN = st.text(alphabet="ab_-*?", max_size=7)


def naive_match(pattern: str, text: str) -> bool:
    """The definition, tried in every way."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_match(pattern[1:], text[skipped:]) for skipped in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_match(pattern[1:], text[1:])


def naive_boundary(text: str, position: int) -> bool:
    word = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
    return position in (0, len(text)) or text[position - 1] not in word or text[position] not in word


def naive_found(pattern: str, text: str) -> bool:
    places = [position for position in range(len(text) + 1) if naive_boundary(text, position)]
    return any(naive_match(pattern, text[start:end]) for start in places for end in places if start <= end)


@given(PATTERN, SMALL)
def test_matches_agrees_with_the_definition(pattern: str, text: str) -> None:
    assert compile_glob(pattern, ignore_case=False).matches(text) == naive_match(pattern, text)


@given(PATTERN, SMALL)
def test_found_in_agrees_with_the_definition(pattern: str, text: str) -> None:
    assert compile_glob(pattern, ignore_case=False).found_in(text) == naive_found(pattern, text)


@given(st.text(alphabet="ab_", min_size=1, max_size=4), SMALL)
def test_found_in_is_membership_among_the_words_for_a_word(word: str, text: str) -> None:
    glob = compile_glob(word, ignore_case=False)
    assert glob.is_word
    assert glob.found_in(text) == (word in words_of(text))


@given(st.text(max_size=20))
def test_matches_any_text_with_a_star(text: str) -> None:
    assert compile_glob("*", ignore_case=True).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("lunc?*", "Lunch plans", True),
        ("lunc?*", "LUNCH", True),
        ("lunc?*", " lunch", False),
        ("lunc?*", "lunc", False),
        ("a?c", "a\nc", True),
        ("a*c", "a\nb\nc", True),
        ("ab*ba", "aba", False),
        ("[a-z].+", "[a-z].+", True),
        ("[a-z].+", "b!!", False),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_matches_the_whole_text_without_regard_to_case(pattern: str, text: str, matches: bool) -> None:
    assert compile_glob(pattern, ignore_case=True).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("ex*ple", "An example event.", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "An exciting triple-whammy", True),
        ("ex*ple", "An exciting tripled whammy", False),
        ("cake", "the cake, please", True),
        ("cake", "cheesecake", False),
        ("cake", "cake_lie", False),
        ("cake", "élcakeé cakeé", True),
        ("!here", "over!here now", True),
        ("*cake", "cheesecake", True),
        ("cake*", "cheesecake", False),
        ("c?ke", "no coke", True),
    ],
)
def test_found_in_looks_between_word_boundaries(pattern: str, text: str, found: bool) -> None:
    assert compile_glob(pattern, ignore_case=True).found_in(text) is found


def test_matches_keeps_case_when_told() -> None:
    assert not compile_glob("M.*", ignore_case=False).matches("m.room")


def test_matches_takes_a_question_mark_literally_when_told() -> None:
    glob = compile_glob("a?*", ignore_case=False, question_mark=False)
    assert glob.matches("a?b")
    assert not glob.matches("abb")


@pytest.mark.parametrize("method", [Glob.matches, Glob.found_in], ids=["matches", "found_in"])
@pytest.mark.parametrize("pattern", ["*a" * 400 + "b", "a*" * 400 + "b", "*?a" * 200 + "b", "?*" * 400 + "b"])
def test_hostile_patterns_take_little_time(method: Callable[[Glob, str], bool], pattern: str) -> None:
    text = "a" * 60_000
    glob = compile_glob(pattern, ignore_case=False)
    started = time.thread_time()
    assert method(glob, text) is False
    assert time.thread_time() - started < 2


def test_long_patterns_are_not_kept() -> None:
    short, long = "a" * CACHED_PATTERN_CHARS_MAX, "a" * (CACHED_PATTERN_CHARS_MAX + 1)
    assert compile_glob(short, ignore_case=True) is compile_glob(short, ignore_case=True)
    assert compile_glob(long, ignore_case=True) is not compile_glob(long, ignore_case=True)


def test_pattern_is_tried_so_often_and_no_more() -> None:
    glob = compile_glob("a-aa-a", ignore_case=True)
    few, many = "a-a" * 10, "a-a" * 10 * TRIES_MAX
    assert glob.found_in(f"{few} a-aa-a")
    assert not glob.found_in(f"{many} a-aa-a")
    assert is_between_boundaries("a-aa-a", f"{few} a-aa-a")
    assert not is_between_boundaries("a-aa-a", f"{many} a-aa-a")

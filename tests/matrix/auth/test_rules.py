from __future__ import annotations

import pytest

from conduit_py.matrix.auth import Denied
from conduit_py.matrix.auth.verdict import RULE_NUMBERS
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.matrix.auth import member_cases, power_levels_cases, room_cases
from tests.matrix.auth.case import EVERY_VERSION, Case
from tests.matrix.auth.outline import NUMBERS, numbered_rules
from tests.matrix.auth.rig import Rig

CASES = [*room_cases.CASES, *member_cases.CASES, *power_levels_cases.CASES]
BY_VERSION = [
    (version, case)
    for version in EVERY_VERSION
    for case in CASES
    if version in case.versions and case.rule in numbered_rules(version)
]


def case_id(version: int, case: Case) -> str:
    outcome = "passes" if case.denied_by is None else "breaks"
    return f"v{version}-{numbered_rules(version)[case.rule]}-{case.rule}-{outcome}-{case.name}"


@pytest.mark.parametrize(("version", "case"), BY_VERSION, ids=[case_id(*pair) for pair in BY_VERSION])
def test_rule(version: int, case: Case) -> None:
    verdict = case.attempt(Rig(ROOM_VERSIONS[str(version)]))
    if case.denied_by is None:
        assert verdict is None
    else:
        assert isinstance(verdict, Denied)
        assert verdict.rule == numbered_rules(version)[case.denied_by]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_every_rule_of_the_page_is_in_the_outline(version: int) -> None:
    assert list(numbered_rules(version).values()) == NUMBERS[version]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_the_table_of_the_code_has_the_numbers_of_the_page(version: int) -> None:
    assert RULE_NUMBERS[str(version)] == numbered_rules(version)
    assert list(RULE_NUMBERS[str(version)]) == list(numbered_rules(version))


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_every_rule_is_passed_by_a_case_and_broken_by_another(version: int) -> None:
    cases = [case for of_version, case in BY_VERSION if of_version == version]
    numbers = numbered_rules(version)
    assert {numbers[case.rule] for case in cases if case.denied_by is None} == set(NUMBERS[version])
    assert {numbers[case.rule] for case in cases if case.denied_by is not None} == set(NUMBERS[version])


def test_every_case_runs_in_some_version() -> None:
    assert {id(case) for _, case in BY_VERSION} == {id(case) for case in CASES}


def test_case_ids_are_unique() -> None:
    ids = [case_id(*pair) for pair in BY_VERSION]
    assert len(set(ids)) == len(ids)

from __future__ import annotations

from itertools import permutations

import pytest

from conduit_py.matrix.state_res import resolve
from tests.matrix.state_res.reference import Reference
from tests.matrix.state_res.scenario import FIXTURES, Scenario, load_scenarios

SCENARIOS = load_scenarios()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_resolution_is_the_golden_one_in_every_order_of_states(scenario: Scenario) -> None:
    for state_sets in permutations(scenario.state_sets):
        resolved = resolve(scenario.room_version, state_sets, get_event=scenario.events.get)
        assert resolved == scenario.resolved


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_resolution_is_the_same_when_walks_stop_early(scenario: Scenario) -> None:
    resolved = resolve(
        scenario.room_version,
        scenario.state_sets,
        get_event=scenario.events.get,
        get_auth_events=lambda event_id: event.auth_events if (event := scenario.events.get(event_id)) else (),
        get_order=lambda event_id: event.depth if (event := scenario.events.get(event_id)) else 0,
    )
    assert resolved == scenario.resolved


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.room_version.id != "1"], ids=str)
def test_golden_resolution_follows_the_definitions(scenario: Scenario) -> None:
    assert Reference(scenario.room_version, scenario.events).resolve(scenario.state_sets) == scenario.resolved


def test_every_file_is_a_scenario() -> None:
    assert {scenario.name for scenario in SCENARIOS} == {path.stem for path in FIXTURES.glob("*.json")} - {"room"}

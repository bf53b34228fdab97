from __future__ import annotations

import json
from pathlib import Path

import pytest

from conduit_py.matrix.ids import UserId
from conduit_py.matrix.push.defaults import MASTER, default_rule_ids, default_ruleset
from conduit_py.matrix.push.ruleset import Kind

ALICE = UserId("@alice:one.test")
SPEC = (Path(__file__).parent / "fixtures" / "default_rules.json").read_text().replace("[the user's Matrix ID]", ALICE)


@pytest.mark.parametrize("kind", list(Kind))
def test_default_rules_are_those_of_the_spec_in_its_order(kind: Kind) -> None:
    assert default_ruleset(ALICE).to_json()[kind] == json.loads(SPEC).get(kind, [])


def test_default_rule_ids_start_with_a_dot() -> None:
    ids = set().union(*default_rule_ids().values())
    assert MASTER in ids
    assert all(rule_id.startswith(".") for rule_id in ids)

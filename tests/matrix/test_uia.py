from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.errcodes import Errcode
from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.uia import (
    DUMMY,
    EMAIL,
    PASSWORD,
    RECAPTCHA,
    AuthData,
    Step,
    UiaSession,
    build_auth_required,
    check_stage,
    complete,
    next_stages,
    parse_auth,
)
from tests.matrix.test_filters import JSON


def session(*flows: tuple[str, ...], completed: tuple[str, ...] = ()) -> UiaSession:
    return UiaSession(session_id="s1", operation="POST /register", flows=flows, completed=completed)


FORK = ((RECAPTCHA, DUMMY), (RECAPTCHA, EMAIL))


def test_next_stages_are_those_of_all_flows_that_fit() -> None:
    assert next_stages(session(*FORK)) == (RECAPTCHA,)
    assert next_stages(session(*FORK, completed=(RECAPTCHA,))) == (DUMMY, EMAIL)
    assert next_stages(session(*FORK, completed=(RECAPTCHA, EMAIL))) == ()


def test_session_is_complete_when_a_whole_flow_is_done() -> None:
    begun = session(*FORK)
    assert not begun.is_complete
    begun = complete(begun, RECAPTCHA)
    assert not begun.is_complete
    assert complete(begun, EMAIL).is_complete
    assert complete(begun, DUMMY).is_complete


def test_session_without_flows_is_never_complete() -> None:
    assert not session().is_complete


@pytest.mark.parametrize(
    ("completed", "stage", "step"),
    [
        ((), RECAPTCHA, Step.ATTEMPT),
        ((), EMAIL, Step.OUT_OF_ORDER),
        ((), PASSWORD, Step.OUT_OF_ORDER),
        ((RECAPTCHA,), RECAPTCHA, Step.ALREADY_DONE),
        ((RECAPTCHA,), EMAIL, Step.ATTEMPT),
        ((RECAPTCHA, EMAIL), DUMMY, Step.OUT_OF_ORDER),
    ],
)
def test_check_stage_keeps_the_order_of_the_flows(completed: tuple[str, ...], stage: str, step: Step) -> None:
    assert check_stage(session(*FORK, completed=completed), stage) is step


@pytest.mark.parametrize("stage", [EMAIL, PASSWORD])
def test_complete_refuses_what_check_stage_does_not_allow(stage: str) -> None:
    with pytest.raises(ValueError, match="cannot be completed"):
        complete(session(*FORK), stage)


_STAGES = st.sampled_from(["a", "b", "c", "d"])
_FLOWS = st.lists(st.lists(_STAGES, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=3)


@given(_FLOWS, st.lists(_STAGES, max_size=8))
def test_any_attempts_end_with_a_flow_or_its_beginning(flows: list[tuple[str, ...]], attempts: list[str]) -> None:
    state = session(*flows)
    for stage in attempts:
        if check_stage(state, stage) is Step.ATTEMPT:
            state = complete(state, stage)
    assert any(flow[: len(state.completed)] == state.completed for flow in flows)
    assert state.is_complete == (state.completed in flows)


def test_build_auth_required_is_the_body_of_the_spec() -> None:
    state = UiaSession(
        session_id="xxxxxx",
        operation="x",
        flows=(("example.type.foo", "example.type.bar"), ("example.type.foo", "example.type.baz")),
        params={"example.type.baz": {"example_key": "foobar"}},
    )
    first: dict[str, Any] = {
        "flows": [
            {"stages": ["example.type.foo", "example.type.bar"]},
            {"stages": ["example.type.foo", "example.type.baz"]},
        ],
        "params": {"example.type.baz": {"example_key": "foobar"}},
        "session": "xxxxxx",
    }
    assert build_auth_required(state) == first
    state = complete(state, "example.type.foo")
    second = {**first, "completed": ["example.type.foo"]}
    assert build_auth_required(state) == second
    assert build_auth_required(state, errcode=Errcode.M_FORBIDDEN, error="Invalid password") == {
        **second,
        "errcode": "M_FORBIDDEN",
        "error": "Invalid password",
    }


def test_parse_auth_reads_stage_and_session() -> None:
    auth = {"type": PASSWORD, "session": "s1", "password": "x"}
    assert parse_auth({"auth": auth}) == AuthData(session_id="s1", stage=PASSWORD, submitted=auth)
    assert parse_auth({"auth": {"session": "s1"}}) == AuthData(
        session_id="s1", stage=None, submitted={"session": "s1"}
    )
    assert parse_auth({}) is None


@pytest.mark.parametrize("auth", [None, {}, {"password": "x"}])
def test_parse_auth_is_none_for_clients_that_do_not_know_the_flows_yet(auth: Any) -> None:
    assert parse_auth({"auth": auth}) is None


@pytest.mark.parametrize("auth", ["x", [], {"type": 1}, {"session": 1}, {"type": DUMMY, "session": "x" * 256}])
def test_parse_auth_refuses_other_shapes(auth: Any) -> None:
    with pytest.raises(Malformed, match="auth"):
        parse_auth({"auth": auth})


@given(JSON | st.fixed_dictionaries({"type": JSON, "session": JSON}))
def test_parse_auth_accepts_or_refuses_any_json(auth: Any) -> None:
    answer: object
    try:
        answer = parse_auth({"auth": auth})
    except Malformed as error:
        answer = error
    assert answer is None or isinstance(answer, AuthData | Malformed)

"""The support table says what the specification has and what is answered, and the documentation says the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.spec.routed import compare, find_asked, load_routes, refresh
from tests.spec.source import Operation, find_spec_dir, load_operations
from tests.spec.table import SUPPORT, TABLE, Extension, Row, Table, load_table, render_support, render_table

UPDATE = "run: python -m tests.spec.update"


@pytest.fixture(scope="module")
def table() -> Table:
    return load_table()


def test_table_has_the_operations_of_the_specification(table: Table, spec_dir: Path) -> None:
    assert [row.operation for row in table.rows] == load_operations(spec_dir), UPDATE


def test_table_says_what_is_routed(table: Table) -> None:
    operations = [row.operation for row in table.rows]
    there = compare(operations, load_routes()).routed | find_asked(operations)
    wrong = [row for row in table.rows if row.status != "refused" and (row.status == "yes") != (row.operation in there)]
    assert wrong == [], UPDATE


def test_operations_are_answered_where_their_name_says(table: Table) -> None:
    assert compare([row.operation for row in table.rows], load_routes()).misplaced == ()


def test_refusals_have_a_reason(table: Table) -> None:
    assert [row.operation.id for row in table.rows if row.status == "refused" and not row.reason] == []


def test_extensions_are_routed_and_have_a_reason(table: Table) -> None:
    beyond = compare([row.operation for row in table.rows], load_routes()).beyond
    assert {(it.method, it.path) for it in table.extensions} == beyond, UPDATE
    assert [it.path for it in table.extensions if not it.reason] == []


def test_table_is_written_as_the_update_writes_it(table: Table) -> None:
    assert TABLE.read_text() == render_table(table), UPDATE


def test_documentation_is_up_to_date(table: Table) -> None:
    assert SUPPORT.read_text() == render_support(table), UPDATE


# What follows tests the comparison itself.


@dataclass(frozen=True)
class Routed:
    method: str
    path: str
    operation: str
    module: str


SEND = Operation(
    "client-server",
    "room_send.yaml",
    "sendMessage",
    "PUT",
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
)
MAKE_JOIN = Operation(
    "server-server", "joins-v1.yaml", "makeJoin", "GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}"
)
SEND_ROUTE = Routed(
    "PUT",
    "/_matrix/client/v3/rooms/<room_id>/send/<event_type>/<txn_id>",
    "send_message",
    "conduit_py.api.client.room_send",
)
MAKE_JOIN_ROUTE = Routed(
    "GET",
    "/_matrix/federation/v1/make_join/<room_id>/<user_id>",
    "make_join",
    "conduit_py.api.federation.joins_v1",
)


def test_compare_finds_what_is_routed() -> None:
    verdict = compare([SEND, MAKE_JOIN], [SEND_ROUTE, MAKE_JOIN_ROUTE])
    assert verdict.routed == {SEND, MAKE_JOIN}
    assert verdict.misplaced == ()
    assert verdict.beyond == set()


def test_compare_finds_what_is_missing() -> None:
    assert compare([SEND, MAKE_JOIN], [SEND_ROUTE]).routed == {SEND}


@pytest.mark.parametrize("wrong", [{"operation": "send"}, {"module": "conduit_py.api.client.rooms"}])
def test_compare_finds_what_is_misplaced(wrong: dict[str, str]) -> None:
    assert len(compare([SEND], [replace(SEND_ROUTE, **wrong)]).misplaced) == 1


def test_compare_knows_the_spellings_of_other_versions() -> None:
    old = replace(SEND_ROUTE, path=SEND_ROUTE.path.replace("v3", "r0"))
    unstable = replace(SEND_ROUTE, path=SEND_ROUTE.path.replace("v3", "unstable/org.example"))
    verdict = compare([SEND], [old, unstable])
    assert verdict.beyond == set()
    assert verdict.routed == set(), "another version's spelling alone is not the operation"


def test_compare_finds_what_is_beyond_the_specification() -> None:
    sliding = Routed("POST", "/_matrix/client/unstable/org.example/sync", "sliding_sync", "conduit_py.api.client.sync")
    assert compare([SEND], [SEND_ROUTE, sliding]).beyond == {(sliding.method, sliding.path)}


def test_refresh_keeps_refusals_and_reasons() -> None:
    refused = replace(MAKE_JOIN, id="refusedOne")
    table = Table(
        (Row(SEND, "missing", "in parts"), Row(refused, "refused", "why")), (Extension("GET", "/kept", "a need"),)
    )
    refreshed = refresh(table, [SEND, refused, MAKE_JOIN], {SEND}, [("GET", "/new"), ("GET", "/kept")])
    assert refreshed.rows == (Row(SEND, "yes", "in parts"), Row(refused, "refused", "why"), Row(MAKE_JOIN, "missing"))
    assert refreshed.extensions == (Extension("GET", "/kept", "a need"), Extension("GET", "/new", ""))


def test_table_survives_being_written(tmp_path: Path) -> None:
    table = Table((Row(SEND, "yes"), Row(MAKE_JOIN, "refused", 'says "no" \\ and')), (Extension("GET", "/x", "y"),))
    path = tmp_path / "operations.toml"
    path.write_text(render_table(table))
    assert load_table(path) == table


def test_unknown_status_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "operations.toml"
    path.write_text(render_table(Table((Row(SEND, "yes"),), ())).replace('"yes" }', '"maybe" }'))
    with pytest.raises(ValueError, match="maybe is not a status"):
        load_table(path)


def test_named_folder_without_the_specification_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRIX_SPEC_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no endpoints"):
        find_spec_dir()
    (tmp_path / "endpoints.tsv").write_text("api\tmethod\tpath\toperationId\tdeprecated\tfile\n")
    assert find_spec_dir() == tmp_path

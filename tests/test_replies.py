"""Whether all documented replies were seen is counted rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import replies
from tests.contract import Contract
from tests.replies import Reply, check_seen, find_reason, note_reply, read_seen, scan_documented, write_seen
from tests.spec.source import Operation

WHOAMI = Operation("client-server", "whoami.yaml", "getTokenOwner", "GET", "/_matrix/client/v3/account/whoami")


@pytest.fixture
def contract(spec_dir: Path) -> Contract:
    return Contract(spec_dir)


def test_seen_replies_survive_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(replies.FOLDER, str(tmp_path))
    monkeypatch.setattr(replies, "_seen", set())
    note_reply(WHOAMI, 200, has_token=True)
    note_reply(WHOAMI, 401, has_token=False)
    write_seen()
    assert read_seen(tmp_path) == {
        ("client-server", "getTokenOwner", 200, True),
        ("client-server", "getTokenOwner", 401, False),
    }


def test_what_nobody_provoked_is_told(contract: Contract) -> None:
    everything = {
        (it.api, it.operation_id, int(it.status.replace("X", "0")), True)
        for it in scan_documented(contract)
        if find_reason(it) is None
    }
    complaints, validated = check_seen(everything, contract)
    assert complaints == []
    assert validated == len(everything)
    complaints, _ = check_seen(everything - {("client-server", "getTokenOwner", 200, True)}, contract)
    assert complaints == ["getTokenOwner 200: no test provokes it"]


def test_what_is_given_after_all_is_told(contract: Contract) -> None:
    complaints, _ = check_seen({("client-server", "getWellknown", 404, False)}, contract)
    assert "getWellknown 404: it is given after all" in complaints


def test_every_reason_is_of_a_documented_reply(contract: Contract) -> None:
    reasons = {find_reason(it) for it in scan_documented(contract)}
    assert set(replies.NEVER.values()) <= reasons
    assert find_reason(Reply("client-server", "getTokenOwner", "200")) is None

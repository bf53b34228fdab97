"""Which documented replies a test run has held against the specification.

Every reply that a client of the rig gets is validated (see ``contract``), but a reply that no test provokes is not. So
a run notes what it has seen, if ``SEEN_REPLIES`` names a folder. ``python -m tests.replies FOLDER`` then fails if
a documented reply of a supported operation is missing there. ``NEVER`` lists those that cannot be given here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.contract import Contract, load_contract
from tests.spec.source import SPEC_IS_ABSENT, Operation
from tests.spec.table import load_table

FOLDER: Final = "SEEN_REPLIES"


class Reply(NamedTuple):
    """A documented reply."""

    api: str
    operation_id: str
    status: str
    """As it is documented: ``200``, ``4XX``."""


VALIDATED_MIN: Final = 280
"""A run that validates fewer has left tests out."""

_NOT_LIMITED = "there is no limit on it"
_NO_IDENTITY_SERVER = "this server trusts no identity server, and sends neither e-mail nor text messages"
_NOT_SENT_ELSEWHERE = "content is always served by this server itself"

_UNLIMITED: Final = (
    r"add3PID|bind3PID|checkUsernameAvailability|delete(?!Profile)\w+|forgetRoom|get(?!Content)\w+|inviteBy3PID|leaveRoom"
    r"|postPusher|postReceipt|p[ou][st]t?RoomKey\w+|refresh|registrationTokenValidity|report\w+|requestOpenIdToken|search"
    r"|searchUserDirectory|set(Presence|Push|Read|Typing)\w*|initialSync"
)
"""Operations that document a limit and have none."""

NEVER: Final[dict[tuple[str, str], str]] = {
    (r"add3PID|bind3PID|post3PIDs|inviteBy3PID|requestToken\w+", "200"): _NO_IDENTITY_SERVER,
    (r"inviteBy3PID|requestToken\w+", "403"): _NO_IDENTITY_SERVER,
    (r"getContent\w*", "30[78]"): _NOT_SENT_ELSEWHERE,
    (r"getLoginFlows", "404"): "the legacy authentication API is offered",
    (r"getWellknown", "404"): "there is always a base URL to tell",
    (r"getProfileField", "403"): "profiles are shown to everybody",
    (r"initialSync", "404"): "what it is for is not said, and there is always something to answer",
    (r"peekEvents", "200|400"): "it is one request with getEvents",
    (r"reportRoom|reportUser", "404"): "the answer does not tell what there is",
    (r"setPushRule", "404"): "a rule that is not there is made",
    (_UNLIMITED, "429"): _NOT_LIMITED,
}
"""Replies that cannot be given, by patterns of the operation's id and the status, and why."""


def find_reason(reply: Reply) -> str | None:
    """Why a reply can never be given here, ``None`` if it can."""
    for (operation_id, status), reason in NEVER.items():
        if re.fullmatch(operation_id, reply.operation_id) and re.fullmatch(status, reply.status):
            return reason
    return None


_seen: set[tuple[str, str, int, bool]] = set()
"""API, operation id, status, and whether an access token was sent."""


def note_reply(operation: Operation, status: int, *, has_token: bool) -> None:
    """A reply was validated."""
    _seen.add((operation.api, operation.id, status, has_token))


def write_seen() -> None:
    """Leave what this process has seen in the folder, if one is named."""
    folder = os.environ.get(FOLDER)
    if folder and _seen:
        lines = ["\t".join(map(str, row)) + "\n" for row in sorted(_seen)]
        (Path(folder) / f"{os.getpid()}.tsv").write_text("".join(lines))


def read_seen(folder: Path) -> set[tuple[str, str, int, bool]]:
    rows = [line.split("\t") for file in folder.glob("*.tsv") for line in file.read_text().splitlines()]
    return {(api, operation_id, int(status), has_token == "True") for api, operation_id, status, has_token in rows}


def scan_documented(contract: Contract) -> Iterator[Reply]:
    """Every reply that the specification documents of the operations that are supported."""
    supported = {row.operation for row in load_table().rows if row.status == "yes"}
    for operation, status in contract.responses():
        if operation.api == "client-server" and operation in supported:
            yield Reply(operation.api, operation.id, status)


def check_seen(seen: set[tuple[str, str, int, bool]], contract: Contract) -> tuple[list[str], int]:
    """What is wrong, and how many documented replies were validated."""
    documented = set(scan_documented(contract))
    given = {
        Reply(api, operation_id, name)
        for api, operation_id, status, _ in seen
        for name in (str(status), f"{status // 100}XX")
    }
    never = {it for it in documented if find_reason(it) is not None}
    complaints = [f"{it.operation_id} {it.status}: no test provokes it" for it in sorted(documented - given - never)]
    complaints += [f"{it.operation_id} {it.status}: it is given after all" for it in sorted(given & never)]
    return complaints, len(documented & given)


def main() -> int:
    contract = load_contract()
    if contract is None:
        sys.stdout.write(f"{SPEC_IS_ABSENT}\n")
        return 0
    complaints, validated = check_seen(read_seen(Path(sys.argv[1])), contract)
    sys.stdout.writelines(f"{complaint}\n" for complaint in complaints)
    if validated < VALIDATED_MIN:
        complaints.append("")
    sys.stdout.write(f"documented replies of supported operations that were validated: {validated}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

"""Every operation that is supported has a test of its own name, or is named here with the test that covers it.

That each of them succeeds in some test, and with which statuses, is counted in the run: see ``replies``.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.spec.source import ROOT, Operation
from tests.spec.table import load_table

COVERED = {
    "getAdminLockUser": "test_set_admin_restriction_holds_until_it_is_lifted",
    "getAdminSuspendUser": "test_set_admin_restriction_holds_until_it_is_lifted",
    "add3PID": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "bind3PID": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "post3PIDs": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenTo3PIDEmail": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenTo3PIDMSISDN": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenToRegisterEmail": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenToRegisterMSISDN": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenToResetPasswordEmail": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "requestTokenToResetPasswordMSISDN": "test_contact_operation_is_refused_in_the_words_of_the_spec",
    "delete3pidFromAccount": "test_remove_3pid_tells_that_nothing_was_unbound",
    "unbind3pidFromAccount": "test_remove_3pid_tells_that_nothing_was_unbound",
    "getContentAuthed": "test_upload_content_is_served_as_it_came",
    "getContentOverrideNameAuthed": "test_get_content_override_name_tells_the_other_name",
    "getContentThumbnailAuthed": "test_get_content_thumbnail_has_the_size_that_is_wanted",
    "getConfigAuthed": "test_get_config_tells_the_largest_upload",
    "getRoomKeysVersionCurrent": "test_post_room_keys_version_makes_the_current_one",
    "getRoomKeysVersion": "test_post_room_keys_version_makes_the_current_one",
    "getRoomKeys": "test_put_and_get_keys_in_every_form",
    "getRoomKeysByRoomId": "test_put_and_get_keys_in_every_form",
    "getRoomKeyBySessionId": "test_put_and_get_keys_in_every_form",
    "putRoomKeysByRoomId": "test_put_and_get_keys_in_every_form",
    "putRoomKeyBySessionId": "test_put_and_get_keys_in_every_form",
    "deleteRoomKeysByRoomId": "test_delete_keys_in_every_form",
    "deleteRoomKeyBySessionId": "test_delete_keys_in_every_form",
    "getPushRulesGlobal": "test_get_push_rules_starts_with_the_defaults",
    "getRelatingEventsWithRelType": "test_get_relating_events_of_one_kind",
    "getRelatingEventsWithRelTypeAndEventType": "test_get_relating_events_of_one_kind_and_type",
    "getProtocolMetadata": "test_third_party_lookup_not_found",
    "queryLocationByProtocol": "test_third_party_lookup_not_found",
    "queryUserByProtocol": "test_third_party_lookup_not_found",
    "queryLocationByAlias": "test_third_party_lookup_not_found",
    "queryUserByID": "test_third_party_lookup_not_found",
    "inviteBy3PID": "test_invite_user_refuses_what_names_nobody",
}
"""Operations by the test that covers them with others."""

DEFINED = re.compile(r"^(?:async )?def (\w+)", re.MULTILINE)
SUPPORTED = [row.operation for row in load_table().rows if row.operation.api == "client-server" and row.status == "yes"]


@cache
def names_of_tests() -> frozenset[str]:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    return frozenset(name for text in texts for name in DEFINED.findall(text))


@pytest.mark.parametrize("operation", SUPPORTED, ids=[operation.id for operation in SUPPORTED])
def test_operation_has_a_test(operation: Operation) -> None:
    covered = COVERED.get(operation.id)
    if covered is not None:
        assert covered in names_of_tests()
    else:
        name = "test" + operation.id.lower().replace("_", "")
        assert any(it.replace("_", "").startswith(name) for it in names_of_tests())


def test_covered_operations_are_supported() -> None:
    assert set(COVERED) <= {operation.id for operation in SUPPORTED}

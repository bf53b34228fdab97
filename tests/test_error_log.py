"""An error in the log fails the test that did not ask for it."""

from __future__ import annotations

import logging

from tests.error_log import ErrorLog, unexpected

ERROR = logging.LogRecord("conduit_py.api", logging.ERROR, "app.py", 1, "request %s failed", ("r1",), None)


def test_unexpected_error_is_named() -> None:
    assert unexpected([ERROR], expected=False) == (
        "errors were logged and the test does not use expect_errors:\n  conduit_py.api: request r1 failed"
    )


def test_expected_error_passes() -> None:
    assert unexpected([ERROR], expected=True) is None


def test_expected_error_that_does_not_come_fails() -> None:
    assert unexpected([], expected=True) is not None


def test_silence_passes() -> None:
    assert unexpected([], expected=False) is None


def test_errors_of_every_logger_are_kept(expect_errors: list[logging.LogRecord]) -> None:
    logging.getLogger("conduit_py.somewhere.deep").error("lost %s", "it")
    assert [error.getMessage() for error in expect_errors] == ["lost it"]


def test_warnings_are_not_errors(error_log: ErrorLog) -> None:
    logging.getLogger("conduit_py").warning("careful")
    assert error_log.errors == []

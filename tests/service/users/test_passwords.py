"""Password hashes."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from argon2 import extract_parameters

from conduit_py.config import PasswordHash
from conduit_py.service.errors import InvalidParam, MatrixError
from conduit_py.service.users.passwords import PASSWORD_BYTES_MAX, Passwords

CHEAP = PasswordHash(time=1, memory=8192, parallelism=1)


async def test_verify_knows_the_password() -> None:
    passwords = Passwords(CHEAP, None)
    password_hash = await passwords.hash("secret")
    assert password_hash.startswith("$argon2id$")
    assert await passwords.verify(password_hash, "secret")
    assert not await passwords.verify(password_hash, "Secret")


@pytest.mark.parametrize("password", ["", "secret"])
async def test_verify_of_an_account_without_password_fails(password: str) -> None:
    assert not await Passwords(CHEAP, None).verify("", password)


async def test_verify_of_a_hash_that_is_none_fails() -> None:
    assert not await Passwords(CHEAP, None).verify("$2b$12$somebcrypthash", "secret")


async def test_verify_in_threads_is_bounded() -> None:
    limiter = trio.CapacityLimiter(1)
    passwords = Passwords(CHEAP, limiter)
    password_hash = await passwords.hash("secret")
    answers: list[bool] = []

    async def verify(password: str) -> None:
        answers.append(await passwords.verify(password_hash, password))

    async with trio.open_nursery() as nursery:
        for password in ("secret", "wrong", "secret"):
            nursery.start_soon(verify, password)
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.borrowed_tokens <= 1
    assert sorted(answers) == [False, True, True]


async def test_is_outdated_when_the_cost_has_changed() -> None:
    password_hash = await Passwords(CHEAP, None).hash("secret")
    assert not Passwords(CHEAP, None).is_outdated(password_hash)
    assert Passwords(PasswordHash(time=2, memory=8192, parallelism=1), None).is_outdated(password_hash)


def test_check_new_refuses_none_and_too_much() -> None:
    passwords = Passwords(CHEAP, None)
    passwords.check_new("x" * PASSWORD_BYTES_MAX)
    with pytest.raises(MatrixError, match="empty"):
        passwords.check_new("")
    with pytest.raises(InvalidParam):
        passwords.check_new("é" * PASSWORD_BYTES_MAX)


def test_made_up_hash_is_computed_like_a_real_one() -> None:
    passwords = Passwords(CHEAP, None)
    made_up = extract_parameters(passwords._decoy)
    assert made_up == extract_parameters(passwords._hasher.hash("x"))
    assert not passwords._matches(passwords._decoy, "")

"""How often something may be done."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from conduit_py.config import RateLimit
from conduit_py.service.errors import LimitExceeded
from conduit_py.service.ratelimit import KEYS_MAX, RateLimiter

KEY: tuple[str, Hashable] = ("login", "127.0.0.1")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter({"login": RateLimit(per_second=0.5, burst=3)}, clock)


def test_burst_is_taken_at_once_and_then_the_rate_holds() -> None:
    clock = Clock()
    throttle = limiter(clock)
    for _ in range(3):
        throttle(KEY)
    with pytest.raises(LimitExceeded) as refused:
        throttle(KEY)
    assert refused.value.extra == {"retry_after_ms": 2000}
    assert refused.value.headers == {"Retry-After": "2"}
    clock.now += 2
    throttle(KEY)
    with pytest.raises(LimitExceeded):
        throttle(KEY)


def test_refused_attempts_do_not_prolong_the_wait() -> None:
    clock = Clock()
    throttle = limiter(clock)
    for _ in range(3):
        throttle(KEY)
    for _ in range(50):
        with pytest.raises(LimitExceeded):
            throttle(KEY)
    clock.now += 2
    throttle(KEY)


def test_addresses_of_one_network_are_counted_together() -> None:
    throttle = limiter(Clock())
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"):
        throttle(("login", address))
    with pytest.raises(LimitExceeded):
        throttle(("login", "2001:db8::4"))
    for other in ("2001:db8:0:1::1", "@2001:one.test", "one.test:8448", "::ffff:127.0.0.1"):
        throttle(("login", other))
    assert len(throttle) == 5


def test_keys_are_counted_apart() -> None:
    throttle = limiter(Clock())
    for _ in range(3):
        throttle(KEY)
    throttle(("login", "127.0.0.2"))


def test_operation_without_a_limit_is_never_refused() -> None:
    throttle = limiter(Clock())
    for _ in range(1000):
        throttle(("message", "@alice:a.test"))


def test_remembered_keys_are_bounded() -> None:
    throttle = limiter(Clock())
    for number in range(KEYS_MAX + 10):
        throttle(("login", number))
    assert len(throttle) == KEYS_MAX

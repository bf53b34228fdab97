"""Every step of server discovery, the caching of what hosts say, and where redirections may lead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from conduit_py.config import Proxy, ProxyRule
from conduit_py.matrix.ids import Malformed, ServerName
from conduit_py.outbound.addresses import SrvRecord, choose_srv
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, Target
from conduit_py.outbound.resolve import (
    CACHED_DEFAULT_MS,
    CACHED_MAX_MS,
    CACHED_MIN_MS,
    FAILED_MAX_MS,
    HOUR_MS,
    MemoryDelegations,
    Resolver,
    cache_ms,
    parse_well_known,
)
from tests.outbound.web import Answer, Asked, FakeDns, Internet, Machine, json_answer


class FakeHttp(HttpClient):
    """Hosts whose ``.well-known`` a test has written; all others do not answer."""

    def __init__(self, dns: FakeDns, *, proxy: Proxy = Proxy()) -> None:  # noqa: B008  # frozen
        super().__init__(dns=dns, denylist=(), proxy=proxy, ca_certificates=None, requests_max=10)
        self.replies: dict[str, HttpReply] = {}
        self.asked: list[str] = []

    def delegate(self, host: str, body: bytes, *, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[f"https://{host}/.well-known/matrix/server"] = HttpReply(status, named, body)

    async def fetch(self, method: str, target: Target, path: str, **more: object) -> HttpReply:
        await trio.lowlevel.checkpoint()
        url = f"https://{target.host_header}{path}"
        self.asked.append(url)
        if url not in self.replies:
            raise Unreachable(f"{url} does not answer")
        return self.replies[url]


class World:
    """A resolver and all that it asks."""

    def __init__(self, *, proxy: Proxy = Proxy()) -> None:  # noqa: B008  # frozen
        self.dns = FakeDns()
        self.http = FakeHttp(self.dns, proxy=proxy)
        self.known = MemoryDelegations()
        self.now_ms = 1_000_000_000
        self.restart()

    def restart(self) -> None:
        self.resolver = Resolver(self.http, self.dns, self.known, now_ms=lambda: self.now_ms)

    async def target(self, server_name: str) -> Target:
        return await self.resolver.fetch_target(ServerName(server_name))

    async def delegated(self) -> str:
        """Where a.test's host header leads now."""
        return (await self.target("a.test")).host_header


def at(host: str, port: int, host_header: str, route_host: str = "") -> Target:
    return Target(host=host, port=port, route_host=route_host or host, host_header=host_header)


def srv(target: str, port: int = 443, priority: int = 0, weight: int = 0) -> SrvRecord:
    return SrvRecord(priority, weight, port, target)


# --- the steps ---


@pytest.mark.parametrize(
    ("server_name", "expected"),
    [
        ("1.2.3.4", at("1.2.3.4", 8448, "1.2.3.4")),
        ("1.2.3.4:80", at("1.2.3.4", 80, "1.2.3.4:80")),
        ("[1234::5678]", at("1234::5678", 8448, "[1234::5678]")),
        ("[1234::5678]:80", at("1234::5678", 80, "[1234::5678]:80")),
        ("A.test:80", at("a.test", 80, "A.test:80")),
    ],
)
async def test_step_1_and_2_literals_and_explicit_ports_are_used_as_they_are(
    server_name: str, expected: Target
) -> None:
    world = World()
    assert await world.target(server_name) == expected
    assert (world.http.asked, world.dns.asked) == ([], [])


@pytest.mark.parametrize(
    ("delegated", "expected"),
    [
        ("1.2.3.4", at("1.2.3.4", 8448, "1.2.3.4")),
        ("1.2.3.4:80", at("1.2.3.4", 80, "1.2.3.4:80")),
        ("[1234::5678]:80", at("1234::5678", 80, "[1234::5678]:80")),
        ("b.test:80", at("b.test", 80, "b.test:80")),
    ],
)
async def test_step_3_1_and_3_2_delegation_to_literals_and_explicit_ports(delegated: str, expected: Target) -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "%s"}' % delegated.encode())
    assert await world.target("a.test") == expected
    assert world.dns.asked == []


async def test_step_3_3_delegation_to_a_name_with_srv() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test"}')
    world.dns.srv["_matrix-fed._tcp.b.test"] = [srv("c.test", 4433)]
    world.dns.srv["_matrix._tcp.b.test"] = [srv("old.test")]
    assert await world.target("a.test") == at("b.test", 4433, "b.test", "c.test")
    assert world.dns.asked == ["_matrix-fed._tcp.b.test"]


async def test_step_3_4_delegation_to_a_name_with_deprecated_srv() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test"}')
    world.dns.srv["_matrix._tcp.b.test"] = [srv("c.test", 4433)]
    assert await world.target("a.test") == at("b.test", 4433, "b.test", "c.test")


async def test_step_3_5_delegation_to_a_name_without_srv() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test"}')
    assert await world.target("a.test") == at("b.test", 8448, "b.test")
    assert world.dns.asked == ["_matrix-fed._tcp.b.test", "_matrix._tcp.b.test"]
    assert world.http.asked == ["https://a.test/.well-known/matrix/server"]  # b.test's own is not asked


async def test_step_4_srv_of_the_host() -> None:
    world = World()
    world.dns.srv["_matrix-fed._tcp.a.test"] = [srv("c.test", 4433)]
    assert await world.target("a.test") == at("a.test", 4433, "a.test", "c.test")


async def test_step_5_deprecated_srv_of_the_host() -> None:
    world = World()
    world.dns.srv["_matrix._tcp.a.test"] = [srv("c.test", 4433)]
    assert await world.target("a.test") == at("a.test", 4433, "a.test", "c.test")


async def test_step_6_the_host_itself() -> None:
    world = World()
    assert await world.target("a.test") == at("a.test", 8448, "a.test")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"m.server": "b.test"}'),
        (500, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'"b.test"'),
        (200, b"{}"),
        (200, b'{"m.server": 1}'),
        (200, b'{"m.server": ""}'),
        (200, b'{"m.server": "https://b.test"}'),
        (200, b'{"m.server": "b.test:0"}'),
        (200, b'{"m.server": "b.test:65536"}'),
        (302, b'{"m.server": "b.test"}'),
    ],
)
async def test_invalid_answer_of_the_host_leads_to_step_4(status: int, body: bytes) -> None:
    world = World()
    world.http.delegate("a.test", body, status=status)
    assert await world.target("a.test") == at("a.test", 8448, "a.test")


async def test_service_that_is_not_offered_is_unreachable() -> None:
    world = World()
    world.dns.srv["_matrix-fed._tcp.a.test"] = [srv("")]
    with pytest.raises(Unreachable, match="offers no"):
        await world.target("a.test")


async def test_name_servers_that_fail_leave_the_host_itself() -> None:
    world = World()

    async def fail(name: str) -> None:
        await trio.lowlevel.checkpoint()
        raise Unreachable("SERVFAIL")

    world.dns.fetch_srv = fail  # type: ignore[assignment,method-assign]
    assert await world.target("a.test") == at("a.test", 8448, "a.test")


@pytest.mark.parametrize("server_name", ["", "a_b", "a.test:", "[::1", "a.test:80:80", "a test"])
async def test_what_is_no_server_name_is_malformed(server_name: str) -> None:
    with pytest.raises(Malformed):
        await World().target(server_name)


@pytest.mark.parametrize("server_name", ["a.test:0", "a.test:99999"])
async def test_port_that_is_none_is_unreachable(server_name: str) -> None:
    with pytest.raises(Unreachable):
        await World().target(server_name)


async def test_name_for_a_proxy_to_look_up_is_not_asked_about_here() -> None:
    world = World(proxy=Proxy((ProxyRule("socks5h://127.0.0.1:9050", ("*.onion",), ()),)))
    assert await world.target("a.onion") == at("a.onion", 8448, "a.onion")
    assert world.dns.asked == []


# --- SRV ---


def test_srv_of_the_lowest_priority_is_chosen_by_weight() -> None:
    records = [srv("far.test", priority=9, weight=99), srv("b.test", weight=1), srv("c.test", weight=3)]
    chosen = [choose_srv(records, random_unit=lambda unit=unit: unit) for unit in (0, 0.24, 0.26, 0.99)]  # type: ignore[misc]
    assert [record and record.target for record in chosen] == ["b.test", "b.test", "c.test", "c.test"]
    assert choose_srv([srv("b.test"), srv("c.test")]) is not None
    assert choose_srv([]) is None


async def test_srv_is_kept_for_its_time(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.dns.srv["_matrix-fed._tcp.a.test"] = [srv("c.test")]
    await world.target("a.test")
    await world.target("a.test")
    assert len(world.dns.asked) == 1
    await trio.sleep(world.dns.ttl_s)
    world.dns.srv["_matrix-fed._tcp.a.test"] = [srv("d.test")]
    assert (await world.target("a.test")).route_host == "d.test"


# --- redirections ---


def redirect(world: World, *places: str) -> None:
    """a.test redirects to the first place, that to the second, and so on; the last delegates to b.test:1."""
    urls = ["https://a.test/.well-known/matrix/server", *places]
    for url, place in zip(urls, places, strict=False):
        world.http.replies[url] = HttpReply(302, {"location": place}, b"")
    world.http.replies[urls[-1]] = HttpReply(200, {}, b'{"m.server": "b.test:1"}')


async def test_redirections_are_followed() -> None:
    world = World()
    redirect(world, "https://c.test/x?y=1", "https://d.test:444/z")
    assert await world.delegated() == "b.test:1"
    assert world.http.asked[1:] == ["https://c.test/x?y=1", "https://d.test:444/z"]


async def test_redirection_may_be_relative() -> None:
    world = World()
    world.http.delegate("a.test", b"", status=301, location="/other#part")
    world.http.replies["https://a.test/other"] = HttpReply(200, {}, b'{"m.server": "b.test:1"}')
    assert await world.delegated() == "b.test:1"


async def test_redirections_in_a_circle_end() -> None:
    world = World()
    redirect(world, "https://c.test/", "https://a.test/.well-known/matrix/server")
    world.http.replies["https://a.test/.well-known/matrix/server"] = HttpReply(
        307, {"location": "https://c.test/"}, b""
    )
    assert await world.delegated() == "a.test"
    assert len(world.http.asked) == 2


async def test_too_many_redirections_end() -> None:
    world = World()
    redirect(world, *(f"https://c.test/{number}" for number in range(50)))
    assert await world.delegated() == "a.test"
    assert len(world.http.asked) == 11


@pytest.mark.parametrize(
    "place", ["http://c.test/", "ftp://c.test/", "https://", "https://c.test:99999/", "https://é.test/"]
)
async def test_redirection_to_what_is_not_https_is_an_error(place: str) -> None:
    world = World()
    redirect(world, place)
    assert await world.delegated() == "a.test"
    assert len(world.http.asked) == 1


# --- keeping ---


def answer(**headers: str) -> HttpReply:
    return HttpReply(200, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.parametrize(
    ("headers", "lifetime_ms"),
    [
        ({}, CACHED_DEFAULT_MS),
        ({"cache_control": "public, max-age=3600"}, HOUR_MS),
        ({"cache_control": "Max-Age=3600"}, HOUR_MS),
        ({"cache_control": "max-age=99999999999999999999"}, CACHED_MAX_MS),
        ({"cache_control": "max-age=0"}, CACHED_MIN_MS),
        ({"cache_control": "no-store"}, CACHED_MIN_MS),
        ({"cache_control": "max-age=x"}, CACHED_DEFAULT_MS),
        ({"expires": "Thu, 01 Jan 1970 02:00:00 GMT"}, HOUR_MS),
        ({"expires": "0"}, CACHED_MIN_MS),
        ({"expires": "Thu, 01 Jan 1970 02:00:00 GMT", "cache_control": "max-age=7200"}, 2 * HOUR_MS),
    ],
)
def test_answer_is_kept_as_its_headers_say_within_bounds(headers: dict[str, str], lifetime_ms: int) -> None:
    assert cache_ms(answer(**headers).headers, HOUR_MS) == lifetime_ms


async def test_answer_is_kept_across_a_restart_until_its_time_is_over() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test:1"}', cache_control="max-age=3600")
    assert await world.delegated() == "b.test:1"
    world.http.delegate("a.test", b'{"m.server": "c.test:1"}')
    world.restart()
    world.now_ms += HOUR_MS - 1
    assert await world.delegated() == "b.test:1"
    world.now_ms += 1
    assert await world.delegated() == "c.test:1"
    assert len(world.http.asked) == 2


async def test_host_that_fails_is_asked_less_and_less_often() -> None:
    world = World()
    pauses = []
    for _ in range(9):
        asked_ms, count = world.now_ms, len(world.http.asked)
        assert await world.delegated() == "a.test"
        assert len(world.http.asked) == count + 1
        known = world.known.get("a.test")
        assert known is not None
        world.now_ms = known.expires_ms - 1
        await world.delegated()
        assert len(world.http.asked) == count + 1
        world.now_ms += 1
        pauses.append((world.now_ms - asked_ms) // 60_000)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    world.http.delegate("a.test", b'{"m.server": "b.test:1"}')
    assert await world.delegated() == "b.test:1"
    known = world.known.get("a.test")
    assert known is not None
    assert known.failures == 0


async def test_what_a_host_said_counts_on_while_it_is_silent_and_not_for_ever() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test:1"}', cache_control="max-age=3600")
    await world.delegated()
    world.http.replies.clear()
    world.now_ms += HOUR_MS
    assert await world.delegated() == "b.test:1"
    world.now_ms += CACHED_MAX_MS - HOUR_MS
    assert await world.delegated() == "a.test"


async def test_host_that_takes_its_word_back_is_believed_at_once() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test:1"}', cache_control="max-age=3600")
    await world.delegated()
    world.http.delegate("a.test", b"", status=404)
    world.now_ms += HOUR_MS
    assert await world.delegated() == "a.test"
    assert FAILED_MAX_MS == HOUR_MS


async def test_host_is_asked_once_for_many_at_the_same_time() -> None:
    world = World()
    world.http.delegate("a.test", b'{"m.server": "b.test:1"}')
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(world.delegated)
    assert len(world.http.asked) == 1


def test_content_type_of_the_answer_does_not_matter() -> None:
    assert parse_well_known(HttpReply(200, {"content-type": "text/html"}, b'{"m.server": "b.test"}')) == "b.test"


# --- over real TLS ---


def well_known(location: str = "", server: str = "") -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        if location:
            return 302, {"location": location}, b""
        return json_answer({"m.server": server})

    return answer


def resolver(internet: Internet, http: HttpClient) -> Resolver:
    return Resolver(http, internet.dns, MemoryDelegations(), now_ms=lambda: 0)


async def test_delegation_is_fetched_over_tls(internet: Internet) -> None:
    await internet.put(Machine(("a.test",), well_known(location="https://www.a.test/matrix")), "1.1.1.1", 443)
    await internet.put(Machine(("www.a.test",), well_known(server="b.test:1")), "1.1.1.2", 443)
    internet.name("a.test", "1.1.1.1")
    internet.name("www.a.test", "1.1.1.2")
    http = internet.client()
    assert await resolver(internet, http).fetch_target(ServerName("a.test")) == at("b.test", 1, "b.test:1")
    await http.aclose()


async def test_redirection_to_a_denied_address_is_not_followed(internet: Internet) -> None:
    inside = await internet.put(Machine(("inside.test", "10.0.0.1"), well_known(server="b.test:1")), "10.0.0.1", 443)
    internet.name("inside.test", "10.0.0.1")
    for number, place in enumerate(("https://inside.test/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/")):
        host = f"a{number}.test"
        await internet.put(Machine((host,), well_known(location=place)), f"1.1.1.{number}", 443)
        internet.name(host, f"1.1.1.{number}")
        http = internet.client()
        assert (await resolver(internet, http).fetch_target(ServerName(host))).host == host
        await http.aclose()
    assert inside.asked == []
    assert [address for address, _ in internet.cables.connected] == ["1.1.1.0", "1.1.1.1", "1.1.1.2"]


async def test_delegation_with_a_wrong_certificate_counts_for_nothing(internet: Internet) -> None:
    machine = await internet.put(Machine(("evil.test",), well_known(server="evil.test:1")), "1.1.1.1", 443)
    internet.name("a.test", "1.1.1.1")
    http = internet.client()
    assert await resolver(internet, http).fetch_target(ServerName("a.test")) == at("a.test", 8448, "a.test")
    assert machine.asked == []
    await http.aclose()


async def test_delegation_that_is_too_long_counts_for_nothing(internet: Internet) -> None:
    padded = Machine(("a.test",), lambda asked: json_answer({"m.server": "b.test:1", "x": "x" * 60_000}))
    await internet.put(padded, "1.1.1.1", 443)
    internet.name("a.test", "1.1.1.1")
    http = internet.client()
    assert (await resolver(internet, http).fetch_target(ServerName("a.test"))).host == "a.test"
    await http.aclose()

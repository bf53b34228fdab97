"""What is measured, in the order in which it runs, and what a right reply is."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.driver.fan_out import measure_fan_out
from bench.driver.load import Check, Client, Limits, Window, percentile, require_right, run_load
from bench.driver.process import Gauges
from bench.driver.scene import CLIENT, MEMBERS, PAGE, Account, Scene, message, room_request, send_target
from bench.driver.wire import Connection, DriverError, WrongReply, encode_request, next_batch_of, path_part

MEDIA_BYTES: Final = 64 * 1024
UPLOADS_MAX: Final = 1000
SETTLING_SYNCS_MAX: Final = 50

_MEMBER = re.compile(rb'"type"\s*:\s*"m\.room\.member"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A scene on a running server, and how long to measure."""

    scene: Scene
    limits: Limits
    readers: int
    """Clients of the workloads that only read; as many residents."""
    gauges: Gauges

    def loop(self, clients: list[Client], *, count_max: int | None = None) -> Window:
        """The closed loop, after one exchange that says whether the server has the endpoint at all."""
        with Connection(self.scene.address) as connection:
            require_right(connection.exchange(clients[0].next_request()), clients[0].check)
        limits = self.limits
        if count_max is not None:
            limits = Limits(seconds=limits.seconds, warm_s=limits.warm_s, count_max=min(count_max, limits.count_max))
        return run_load(self.scene.address, clients, limits, gauges=self.gauges)

    def ask(self, account: Account, target: str) -> dict[str, Any]:
        with Connection(self.scene.address) as connection:
            return connection.call("GET", target, token=account.token)

    def read(self, targets: Callable[[int], str], check: Check) -> Window:
        """Residents asking again and again. ``targets`` gets a number that grows with every request."""
        numbers = itertools.count()

        def client(account: Account) -> Client:
            return Client(lambda: encode_request("GET", targets(next(numbers)), token=account.token), check)

        return self.loop([client(account) for account in self.scene.residents[: self.readers]])


@dataclass(frozen=True, slots=True)
class Measure:
    """One workload in one run. The value is in the workload's unit."""

    value: float
    p50_ms: float
    p99_ms: float
    count: int
    cpu_ms: float
    """CPU time of the server for each request (fan-out: for each delivery)."""
    written_kib: float
    """Sent to the disk for each request."""
    syncs: float | None
    """How often the server waited for the disk, for each request; None: it does not say."""
    driver_us: float
    """CPU time of the driver for each request."""


@dataclass(frozen=True, slots=True)
class Workload:
    key: str
    title: str
    unit: str
    work: int
    """Requests (fan-out: deliveries) after which memory is read: as many for every server, however fast it is. About
    what Synapse does in five seconds."""
    run: Callable[[Stage], Window]

    @property
    def is_rate(self) -> bool:
        return self.unit == "/s"

    def measure(self, stage: Stage) -> Measure:
        window = self.run(stage)
        p50_ms = percentile(window.latencies_ns, 0.5) / 1e6
        return Measure(
            value=window.rate if self.is_rate else p50_ms,
            p50_ms=p50_ms,
            p99_ms=percentile(window.latencies_ns, 0.99) / 1e6,
            count=window.count,
            cpu_ms=window.usage.cpu_s / window.count * 1e3,
            written_kib=window.usage.written_bytes / window.count / 1024,
            syncs=None if window.usage.syncs is None else window.usage.syncs / window.count,
            driver_us=window.driver_s / window.count * 1e6,
        )


def create_rooms(stage: Stage) -> Window:
    body = room_request(stage.scene.room_version, "A room")
    request = encode_request("POST", f"{CLIENT}/createRoom", token=stage.scene.builder.token, body=body)
    return stage.loop([Client(lambda: request, lambda body: b'"room_id"' in body)])


def sends(clients: int) -> Callable[[Stage], Window]:
    """Guests spread over the rooms, each sending text as fast as it is answered."""

    def run(stage: Stage) -> Window:
        guests, txns = stage.scene.guests, secrets.token_hex(4)
        numbers = itertools.count()

        def client(guest: int) -> Client:
            account, room_id = guests[guest], stage.scene.room_of(guest)

            def next_request() -> bytes:
                target = send_target(room_id, f"{txns}-{next(numbers)}")
                return encode_request("PUT", target, token=account.token, body=message("Shall we meet at ten?"))

            return Client(next_request, lambda body: b'"event_id"' in body)

        step = len(guests) // clients
        return stage.loop([client(guest) for guest in range(0, step * clients, step)])

    return run


def sync_target(since: str) -> str:
    return f"{CLIENT}/sync?timeout=0&since={path_part(since)}"


class _Follower:
    """Syncs on from wherever the last reply led."""

    def __init__(self, account: Account, since: str) -> None:
        self.account, self.since = account, since

    def next_request(self) -> bytes:
        return encode_request("GET", sync_target(self.since), token=self.account.token)

    def check(self, body: bytes) -> bool:
        token = next_batch_of(body)
        self.since = token or self.since
        return token is not None and b'"timeline"' not in body


def incremental_syncs(stage: Stage) -> Window:
    """Each resident from a token behind which nothing has happened."""
    followers = [_Follower(account, settle(stage, account)) for account in stage.scene.residents[: stage.readers]]
    return stage.loop([Client(follower.next_request, follower.check) for follower in followers])


def settle(stage: Stage, account: Account) -> str:
    """The token from which a sync brings nothing from rooms."""
    since = str(stage.ask(account, f"{CLIENT}/sync?timeout=0")["next_batch"])
    for _ in range(SETTLING_SYNCS_MAX):
        answer = stage.ask(account, sync_target(since))
        before, since = since, str(answer["next_batch"])
        if since == before or not answer.get("rooms", {}).get("join"):
            return since
    raise DriverError("incremental syncs bring ever more")


def initial_syncs(stage: Stage) -> Window:
    """The filters differ in a limit that nothing reaches, so that no reply can be one kept from before."""
    run, room_ids = secrets.randbelow(10**6) * 1000 + 1000, [room_id.encode() for room_id in stage.scene.room_ids]

    def target(number: int) -> str:
        return f"{CLIENT}/sync?timeout=0&filter=" + path_part(f'{{"presence":{{"limit":{run + number}}}}}')

    rooms = stage.ask(stage.scene.residents[0], target(0))["rooms"]["join"]
    for room_id in stage.scene.room_ids:
        events = [*rooms[room_id]["state"]["events"], *rooms[room_id]["timeline"]["events"]]
        if sum(event["type"] == "m.room.member" for event in events) != MEMBERS:
            raise WrongReply(f"an initial sync without the {MEMBERS} members of a room")
    return stage.read(
        lambda number: target(number + 1),
        lambda body: b'"next_batch"' in body and all(room_id in body for room_id in room_ids),
    )


def messages(stage: Stage) -> Window:
    target = f"{room_target(stage)}/messages?dir=b&limit={PAGE}"
    found = len(stage.ask(stage.scene.residents[0], target)["chunk"])
    if found != PAGE:
        raise WrongReply(f"/messages answers {found} events, not {PAGE}")
    return stage.read(lambda _: target, lambda body: body.count(b'"origin_server_ts"') >= PAGE)


def state(stage: Stage) -> Window:
    target = f"{room_target(stage)}/state"
    return stage.read(lambda _: target, has_members)


def members(stage: Stage) -> Window:
    target = f"{room_target(stage)}/members"
    return stage.read(lambda _: target, has_members)


def has_members(body: bytes) -> bool:
    return len(_MEMBER.findall(body)) == MEMBERS


def room_target(stage: Stage) -> str:
    return f"{CLIENT}/rooms/{path_part(stage.scene.room_ids[0])}"


def whoami(stage: Stage) -> Window:
    return stage.read(lambda _: f"{CLIENT}/account/whoami", lambda body: b'"user_id"' in body)


def uploads(stage: Stage) -> Window:
    numbers, rest = itertools.count(), secrets.token_bytes(MEDIA_BYTES - 8)

    def client(account: Account) -> Client:
        return Client(
            lambda: upload_request(account, next(numbers).to_bytes(8, "big") + rest), lambda body: b"mxc://" in body
        )

    clients = [client(account) for account in stage.scene.residents[: stage.readers]]
    return stage.loop(clients, count_max=UPLOADS_MAX)


def downloads(stage: Stage) -> Window:
    content = secrets.token_bytes(MEDIA_BYTES)
    with Connection(stage.scene.address) as connection:
        reply = connection.exchange(upload_request(stage.scene.residents[0], content))
    mxc = str(reply.object()["content_uri"])
    target = f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}"
    return stage.read(lambda _: target, lambda body: body == content)


def upload_request(account: Account, content: bytes) -> bytes:
    return encode_request(
        "POST", "/_matrix/media/v3/upload", token=account.token, body=content, content_type="application/octet-stream"
    )


def fan_out(stage: Stage) -> Window:
    scene = stage.scene
    return measure_fan_out(
        scene.address,
        scene.members,
        sender=scene.guests[0],
        room_id=scene.room_ids[0],
        seconds=stage.limits.seconds * 2,
        rounds_max=stage.limits.count_max // len(scene.members),
        gauges=stage.gauges,
    )


WORKLOADS: Final = (
    Workload("create", "create room", "/s", 50, create_rooms),
    Workload("send1", "send, 1 client", "/s", 250, sends(1)),
    Workload("send16", "send, 16 clients in 8 rooms of 20", "/s", 300, sends(16)),
    Workload("send64", "send, 64 clients in 8 rooms of 20", "/s", 350, sends(64)),
    Workload("fanout", "fan-out to 20 long-polls, median", "ms", 1_000, fan_out),
    Workload("sync", "incremental sync, nothing new", "/s", 2_000, incremental_syncs),
    Workload("initial", "initial sync of 8 rooms of 20", "/s", 120, initial_syncs),
    Workload("messages", "/messages of 50", "/s", 1_000, messages),
    Workload("state", "/state of a room of 20", "/s", 3_000, state),
    Workload("members", "/members of a room of 20", "/s", 2_500, members),
    Workload("whoami", "whoami", "/s", 8_000, whoami),
    Workload("upload", "media upload of 64 KiB", "/s", 1_000, uploads),
    Workload("download", "media download of 64 KiB", "/s", 2_500, downloads),
)

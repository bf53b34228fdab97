"""A server that is killed while files come has no row without its file, and loses the files without a row.

So has one whose power is cut: a file is on disk before its row is.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from tests.crash.media_load import BYTES_MAX, Disk, Fetcher, Uploader, check_round, die_at_work
from tests.crash.powercut import build_library
from tests.crash.test_power_cut import Plug
from tests.rig.federation import open_federation
from tests.rig.media_wire import upload_chunks
from tests.rig.wire import register

UPLOADERS = 4
ROUNDS = 8
CUTS = 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_while_files_are_uploaded(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with open_federation(tmp_path, 1) as (server,):
        process = server.process
        uploaders = [
            Uploader(process, register(process.address, f"user{n}")["access_token"], Random(random.random()))
            for n in range(UPLOADERS)
        ]
        acknowledged: dict[str, bytes] = {}
        orphans = 0
        for _ in range(ROUNDS):
            die_at_work(process, [it.run for it in uploaders], random.uniform(0.02, 0.5), process.kill)
            acknowledged = {uri: it for uploader in uploaders for uri, it in uploader.acknowledged.items()}
            orphans += check_round(process, acknowledged, server.start)
        assert acknowledged
        assert orphans, "the server was never killed at the right moment"


@pytest.mark.slow
def test_killed_while_files_are_fetched(tmp_path: Path) -> None:
    random = Random(3)
    with open_federation(tmp_path, 2) as (one, two):
        alice, bob = one.register("alice"), two.register("bob")
        assert alice.access_token is not None
        uploaded = {}
        for _ in range(120):
            content = random.randbytes(random.randrange(BYTES_MAX))
            uri = upload_chunks(one.process.address, alice.access_token, [content], len(content))
            uploaded[uri] = sha256(content).digest()
        fetchers = [
            Fetcher(two.process, str(bob.access_token), list(uploaded), Random(random.random())) for _ in range(4)
        ]
        orphans = 0
        for _ in range(ROUNDS):
            die_at_work(two.process, [it.run for it in fetchers], random.uniform(0.02, 0.4), two.process.kill)
            seen = set().union(*(fetcher.seen for fetcher in fetchers))
            orphans += check_round(two.process, {uri: it for uri, it in uploaded.items() if uri in seen}, two.start)
        assert orphans, "the server was never killed at the right moment"
        for fetcher in fetchers:
            fetcher.run()
            assert fetcher.seen == set(uploaded)


@pytest.mark.slow
def test_cut_off_while_files_are_uploaded(tmp_path: Path) -> None:
    random = Random(4)
    plug = Plug(build_library(tmp_path), tmp_path / "server", seed=4)
    with plug.server as process:
        plug.watch()
        process.start()
        uploaders = [
            Uploader(process, register(process.address, f"user{n}")["access_token"], Random(random.random()))
            for n in range(UPLOADERS)
        ]

        def start() -> None:
            plug.watch()
            process.start()

        acknowledged: dict[str, bytes] = {}
        for _ in range(CUTS):
            die_at_work(process, [it.run for it in uploaders], random.uniform(0.2, 0.6), plug.pull)
            Disk(process).mark()
            acknowledged = {uri: it for uploader in uploaders for uri, it in uploader.acknowledged.items()}
            check_round(process, acknowledged, start)
        assert acknowledged
        process.stop()

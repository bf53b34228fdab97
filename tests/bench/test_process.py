"""What is read from ``/proc`` is about the right processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bench.driver.process import Gauges, Usage, process_tree, read_memory, read_syncs, read_usage
from bench.driver.wire import Address


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    """A process with a child of its own, which waits until its input ends."""
    source = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    return subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_tree_reaches_grandchildren(child: subprocess.Popen[bytes]) -> None:
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        tree = process_tree(child.pid)
        assert tree[0] == child.pid
        assert len(tree) == 2
        assert set(tree) < set(process_tree(os.getpid()))
        assert read_memory(child.pid).rss_anon > read_memory(tree[1]).rss_anon > 1.0
        child.communicate(b"\n")
    assert read_usage(child.pid) == Usage()


def test_memory_of_one_process_is_plausible() -> None:
    memory = read_memory(os.getpid())
    assert 1 < memory.rss_anon <= memory.rss <= memory.rss_peak


def test_usage_between_two_moments() -> None:
    assert Usage(3.0, 500, 7.0).since(Usage(1.0, 200, 4.0)) == Usage(2.0, 300, 3.0)
    assert Usage(3.0, 500, 7.0).since(Usage()).syncs is None


def test_usage_of_an_unknown_process_is_nothing() -> None:
    assert Gauges().read() == Usage()


def test_syncs_of_a_server_that_does_not_serve_them_are_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
    assert read_syncs(address) is None

"""What the server asks of the process that it is.

Memory is let go as soon as nothing refers to it; the garbage collector is for what refers to itself. Nothing that is
done often leaves such cycles behind, so few of them grow old. But a full collection goes over every object there is,
with all caches full some hundred thousand, and everybody waits for 50 ms and more. Python starts one whenever the
number of objects has grown by a quarter. So the old generation is left alone, and looked at once a day: that bounds
what becomes garbage in cycles. The young ones are collected as ever, in less than a millisecond.

Large pieces of memory, such as what a password hash computes in or a decoded image, are borrowed from the system and
given back. By itself, GNU's C library does so only until the first of them is freed: from then on it keeps pieces of
that size for the next one, in each thread that ever had one. Measured: 8 MiB less after a few registrations.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from typing import Final

import trio

FILES_MAX = 16_384
"""Open files and sockets that the server asks the system for: twice the connections it takes."""
FULL_COLLECTION_EVERY_S: Final = 24 * 3600.0
_NEVER: Final = 1_000_000_000
LENT_BYTES_MIN: Final = 256 << 10
"""Pieces of memory from this size on are the system's again as soon as they are freed."""
_M_MMAP_THRESHOLD: Final = -3
"""In the malloc.h of GNU's C library."""


def give_back_memory() -> None:
    """Keep no large pieces of memory that were freed. Does nothing where the C library cannot be asked to."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LENT_BYTES_MIN)


def settle_memory() -> None:
    """What was loaded and built stays as long as the server: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


async def collect_daily() -> None:
    """Collect all garbage from time to time."""
    while True:
        await trio.sleep(FULL_COLLECTION_EVERY_S)
        gc.collect()


def raise_file_limit() -> None:
    """Every open long-poll is a file descriptor, and the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

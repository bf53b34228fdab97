"""What the server asks of the process that it is."""

from __future__ import annotations

import gc
import resource

FILES_MAX = 16_384
"""Open files and sockets that the server asks the system for: twice the connections it takes."""


def settle_memory() -> None:
    """What was loaded and built stays as long as the server: the garbage collector need not look at it again.

    Otherwise it goes over some hundred thousand objects whenever many new ones were made, and everybody waits for
    50 ms.
    """
    gc.collect()
    gc.freeze()


def raise_file_limit() -> None:
    """Every open long-poll is a file descriptor, and the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

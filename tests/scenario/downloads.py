"""Downloads one file many times at once, as a process of its own: ``PORT TOKEN URI COUNT``.

One thread, and large reads: what is measured meanwhile is the server, and not who drives it.
"""

from __future__ import annotations

import selectors
import sys

from tests.rig.media_wire import begin_download

READ_BYTES = 1 << 20


def main(port: str, access_token: str, uri: str, count: str) -> int:
    """0 if every download came whole."""
    address = ("127.0.0.1", int(port))
    selector = selectors.DefaultSelector()
    for _ in range(int(count)):
        selector.register(begin_download(address, access_token, uri), selectors.EVENT_READ, Download())
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    buffer = bytearray(READ_BYTES)
    while selector.get_map():
        for key, _ in selector.select():
            download: Download = key.data
            received = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]  # a socket
            if not received:
                return 1
            download.take(memoryview(buffer)[:received])
            if download.is_whole:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    return 0


class Download:
    """How far one has come."""

    def __init__(self) -> None:
        self._head = b""
        self._left: int | None = None

    @property
    def is_whole(self) -> bool:
        return self._left == 0

    def take(self, data: memoryview) -> None:
        if self._left is not None:
            self._left -= len(data)
            return
        self._head += bytes(data)
        head, end, body = self._head.partition(b"\r\n\r\n")
        if end:
            assert head.startswith(b"HTTP/1.1 200"), head
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
            self._left = length - len(body)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

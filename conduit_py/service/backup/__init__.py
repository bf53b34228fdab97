"""Copies of the data directory: made, looked at, put back.

Everything here takes long and reads whole files, so it runs in a process of its own (``apart``), beside a running
server or without one: the server's event loop never waits for it, and where a damaged file ends the process, that is a
sentence and nothing more. Such a process looks at the files through a read-only transaction of LMDB, which a running
server respects: what it looks at stays as it is, and the file grows meanwhile by what the server writes.

- ``verify`` walks everything: the pages of the file, the rows, the media files.
- ``make`` makes a backup, ``restore`` puts one back, ``compact`` copies the database into its own place.
- ``copied`` verifies a directory that is a copy when a server is started on it, and refuses one that is not whole.
- ``snapshots`` are made now and then inside the directory while the server runs.
- ``copying`` and ``marks`` are how files come into being, and what they say of themselves.
- ``messages`` is what is told on the way.

Decisions:

- Pages are walked by code of ours before LMDB may look at them (``kvschema.engine.pages``). A process of its own would
  be enough not to crash, but LMDB can also follow a damaged page into wrong rows or for ever, and sees no fault in a
  free page that is used. The walk reads no more than the check of the rows after it, and takes a tenth of its time.
"""

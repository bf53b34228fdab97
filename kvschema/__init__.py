"""What is stored, under which key, in which encoding.

A tree is one constant in ``kvschema.catalog``: a name, a key codec, a value codec, the schema version that
introduced it, a sentence, and the bound or pruning rule that keeps it from growing for ever. Names and roles follow
Conduit's column families, so that a reader of either can find their way in the other.

Laws (property-tested for every tree):

- ``decode(encode(key)) == key``, and byte order is key order;
- no key can exceed 511 bytes, LMDB's limit: a tree whose key could is refused at import. Long or client-chosen
  strings are interned to 8-byte short ids or hashed to 16 bytes before they take part in a composite key;
- records are msgpack arrays of the fields of a NamedTuple. A field may be added at the end with a default, old rows
  then read as that default; every other change of shape is a new schema version and a migration.

How to add a tree: declare the constant in the catalog module the spec's heading points to, list it in ``CATALOG``,
run ``tests/kvschema/test_catalog.py`` with ``UPDATE_GOLDEN=1`` in the environment and look at the difference of
``tests/kvschema/golden/catalog.txt``. How to remove one: move its name to ``RETIRED``; a name is never used again.

Version history:

1. The first schema.

Decisions:

- Event bodies live in one tree keyed by the event's short id, and the timeline is an index over it. Conduit keeps
  bodies under ``pduid_pdu`` and outliers elsewhere. Short ids only grow, so bodies are appended and pages stay full
  (1,029 instead of 1,371 bytes for a kilobyte row), and an outlier that becomes part of the timeline does not move.
  What would change our mind: needing to read one room's history from cold disk in one sweep.
- An event row holds the JSON that clients see and the JSON that only servers see as two fragments without braces, so
  that either form is assembled by joining bytes. What would change our mind: a room version whose client form
  renames fields.
- State after an event is a row in a chain of differences with skip links (see ``conduit_py.data.state``) and not
  Conduit's layers merged by size: the same logarithmic bound, with nothing to tune.
"""

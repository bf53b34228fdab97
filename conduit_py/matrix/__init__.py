"""The rules of Matrix, as functions of values: what do the rules say?

Everything here is pure and synchronous: no clock, no randomness, no I/O, nothing of this server. Where time, keys or
events are needed, they are passed in, as values or as lookups (``get_state``).

The way of an event through these modules:

- out: :mod:`event_builder` puts the parts into the room version's format; :mod:`hashes` and :mod:`signing` seal it.
- in: :mod:`canonical_json` parses, :mod:`pdu` gives types, :mod:`event_format` holds the list of checks on receipt.
- :mod:`policy_server` is for rooms that ask somebody about each event, on both ways.
- :mod:`room_versions` is what all of them ask; no code compares version numbers.

Glossary
--------
pdu
    One room event as servers exchange it. Clients see an *event*: the same thing with its ID, without hashes.
content hash, reference hash
    The first covers the whole event and stands in it; the second covers the redacted event and is its ID.
redacted
    Stripped to the keys that the protocol needs. Redacting changes neither the event ID nor the signatures.
rejected
    Failed the authorisation rules by its own ``auth_events`` or by the state before it. Kept, but without effect.
soft-failed
    Allowed where it was sent, not allowed by the room's current state. Kept and used, but not shown.
dropped
    Malformed or without the signatures that it needs. Not kept at all.
outlier
    Known by its ID, say as part of an auth chain, but without a place in the room's graph: its state is unknown.

Decisions
---------
- Sizes of identifiers, ``type`` and ``state_key`` are counted in bytes in every room version, as the spec has it. Some
  servers count characters in versions 1 to 10. A rule field would change that if a real room were found to need it.
- An event reference may be any ``$`` and up to 255 bytes, even where IDs are hashes: an ID that cannot exist is an
  event that nobody can deliver, and dropping the event that names it would split us from servers that kept it.
"""

"""What other servers may read of rooms: events, history, and state.

A server is answered about rooms in which it has a joined user and which do not shut it out. About any other it is told
the same, whether we hold the room or not; but one whose user was removed is told what allowed that. What its users may
not see by the room's history visibility it is given in redacted form: without that it could not follow the graph of
events, and with it nothing leaks.

Which events are told, by how they fared here:

- *accepted* and *soft-failed* ones everywhere. A walk through history meets soft-failed ones only where another event
  refers to them, as the spec wants.
- *rejected* ones as well, for the same reason: who asks has an event that refers to them, needs them to place it, and
  judges them itself. They are never part of a state, nor of the auth chain of what was accepted.
- *outliers* by ``/event`` and as part of states and auth chains, but not in walks through history, in which they have
  no place. What they were visible to is not known, so those that are not state are redacted.

Events of erased users are redacted, except in states and auth chains, which have to be what they were.

Spec: server-server-api/#backfilling-and-retrieving-missing-events
"""

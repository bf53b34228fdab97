"""A Matrix homeserver for one person, a family, a club.

Layers, imports pointing down (checked by import-linter)::

    commands    the command line, one module for each command
    server      builds everything once, owns every task
    measuring   which number is kept where; with it reloading (SIGHUP) and process (limits, memory)
    api         HTTP in, HTTP out: parse, authenticate, call one service method, render
    service     decides and orchestrates: locks, reads, rules, stages, commits, wakes
    data        names for what is stored: get_, scan_, stage_; no decisions, no async
    outbound    network clients
    storage     snapshots, the one writer, positions, the object cache
    http        connections, routes, replies; knows nothing of Matrix
    observe     where the time of requests and of the event loop goes
    config log metrics
    kvschema    (top level) what is stored, under which key, in which encoding
    matrix      the rules: values in, verdicts out; no clock, no I/O

One message: ``api.client.room_send`` -> ``service.rooms.send`` takes the room's lock and a writer's turn ->
``service.rooms.append`` reads one snapshot, builds, signs and checks the event and stages all it causes into one
batch -> ``storage.writer`` lands it, sharing an fsync with others -> ``service.hub`` wakes who may see it -> the
reply.

Nursery tree: writer outside, services inside it, HTTP innermost; it stops in the order HTTP, services, writer.

Decisions:

- Handlers take the request as their first argument and are dispatched by ``http.app.App`` around Quart's contexts and
  signals, which cost more than a small operation. What would change our mind: Quart's own dispatch below 0.2 ms.
- A state event's own short id names the state after it, and stream positions serve as short ids: one counter, so an id
  can be neither reused nor ambiguous. What would change our mind: needing ids of fewer than eight bytes.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("conduit_py")

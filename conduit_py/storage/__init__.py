"""The engine made safe under concurrency: snapshots for readers, one writer, positions, a bounded cache.

- ``database.Database`` opens the files, checks whose they are, migrates, and hands out snapshots: ``with``
  blocks without ``await``.
- ``writer.Writer`` lands batches in order, many per fsync. Writes happen inside a *turn*::

      async with locks.hold(room_id):
          async with writer.turn() as turn:            # waits for a free place, then nothing below waits
              with database.snapshot() as snapshot:
                  ...read and decide...
              turn.batch.put(...)                      # stage
              pos = turn.take_pos()
              turn.on_landed(lambda: hub.publish(...))
          # here the batch is on disk

  Leaving the turn queues the batch and waits, shielded, until it is on disk. Leaving it by an exception drops it.
- ``locks.KeyedLocks`` protect what is read, decided on and written until it has landed.
- ``ids.Interner`` gives out short ids.

Decisions:

- A turn's body must not await: positions are taken inside it, and landing order is position order only if nobody else
  can queue in between. ``Writer`` checks it when a batch is queued.
- Cached values are dropped when a batch that changes them is queued, and stay uncached until it has settled; so nobody
  who can see a new snapshot is given an old value. What would change our mind: a value that changes with every event
  and is expensive to read.
"""

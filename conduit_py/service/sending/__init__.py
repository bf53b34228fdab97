"""Sending to other servers: a durable queue per server, and a task for each that has something to be sent.

- ``outbox.Outbox`` puts events and EDUs into the queues, in the batch of what they tell of.
- ``backlog.Backlogs`` is what both sides know in memory: how much waits for whom, and who is failing.
- ``senders.Senders`` starts a task for each server that something waits for, and ends it when nothing does.
- ``destination.Delivery`` makes one transaction after the other out of a queue.

A transaction is opened in the store before it is sent: its id, and how far into the queue it reaches. Whatever happens
then, the same rows go out under the same id until the server has acknowledged them; their removal and the opening of
the next transaction are one batch.

A queue holds ``EVENTS_QUEUED_MAX`` events. For a server that is away for longer, only the last event of each room is
remembered from then on, and they are sent when the queue has been: the server then asks for what lies between, as far
as it wants it.

What is only true for seconds (typing) is never written down. It waits in memory, goes with the next transaction, and
is not tried twice.

Decisions:

- Servers that are away keep the oldest events of the outage and lose the middle, not the beginning: nothing has to be
  deleted from a full queue, and what is sent stays in order. What would change our mind: servers that refuse what is
  old.
"""

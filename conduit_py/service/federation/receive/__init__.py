"""Receiving what other servers send: transactions of events and of what is no part of a room's history.

The way of a transaction:

- ``receiver`` does each once, however often it is sent, and shares it out: events by room, the rest by type. It answers
  when all is on disk.
- ``event_texts`` parses events when their turn comes: until then each is kept as the text that it came as.
- ``room_queues`` has the rooms side by side, each in order, and writes down what is slow.
- ``room_events`` checks the events of one room and hands them on in an order in which each follows what it refers to.
- ``missing`` fetches what an event refers to and we do not hold, first of all without the room's lock.
- ``service.rooms.write`` judges and stores.

What cannot be judged is not stored and is told as an error; it comes back when somebody refers to it. One event that is
bad never keeps another from being received, nor does one room another.
"""

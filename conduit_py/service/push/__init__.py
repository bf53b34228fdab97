"""Push: telling a user's devices, through push gateways, of what notified the user.

The way of a notification:

- An event lands together with the row that says whom it notified (``service.rooms.unread``). That row is the queue:
  nothing else is written for a push, and a restart loses nothing. ``rings`` says whom to look at once it has landed.
- ``sender`` has a task for every pusher that has something to do. It asks ``pending`` for the oldest event that the
  pusher was not told of and that its user has not read, has ``notification`` put it into words, and hands it to the
  gateway. Only then the pusher's position moves, on disk. So an event may be pushed twice, which gateways recognize by
  its id, and none is taken for pushed that was not.
- A gateway that does not take it is asked again later and later, up to ``PAUSE_MAX_S``, and a restart does not begin
  anew. What is older than ``PENDING_AGE_MAX_MS`` by then, or beyond the newest ``PENDING_MAX``, is not pushed any more.
- What is read elsewhere is not pushed; the gateway is told the new number of unread messages instead.

``pushers`` is what clients do with them.

Spec: client-server-api/#push-notifications, push-gateway-api
"""

"""/sync: what is new for a user on a device, since a token.

A token is a position in the one stream of everything that is stored (and, for what is only in memory, which run of the
server told how much of it). A reply is exact: it holds all that lies between the request's token and its own, and both
its data and its token come from one snapshot. So a client that applies reply after reply has what a fresh client has.

The way of a request:

- ``service`` waits: it subscribes to the hub, asks for a reply, and if that is empty lets go of everything and waits
  for the hub, the timeout or the end of the server.
- ``build`` makes one reply, in slices that let other tasks run in between.
- ``plan`` finds the rooms to look at. It is all that an idle poll costs.
- ``slice`` says which part of a room is told, ``window`` reads the timeline, ``state_choice`` decides on the state,
  ``lazy`` remembers which members a device knows, ``summary`` counts and names, ``ephemeral`` tells receipts, typing
  and unread counts, ``sections`` puts a room together, ``stripped`` invites and knocks.

Membership decides how a room is told:

===========================  =========================================================================================
since the token the user...  the room is
===========================  =========================================================================================
stayed                       told what is new
came (back)                  told whole: all state, and as much timeline as the filter wants, back to where the user's
                             history visibility ends. Who was away has holes in what was told before, so nothing is
                             built on it
went                         in ``leave``, told what is new up to the event that ended it
came and went                in ``leave``, told whole up to that event
was invited, knocked         in ``invite`` or ``knock``, told in stripped state
was never in, and is out     in ``leave`` with the one event that says so (a rejected or withdrawn invite, a ban)
forgot                       in ``leave`` with the one event if it went since the token; never again after that
===========================  =========================================================================================

A token from a lost future (the data directory was put back to an older copy) cannot be gone on from: the reply is that
to a fresh client, with every timeline limited, so that the client drops what it has.
"""

"""How somebody of one server gets into a room, or out of it, by way of another server that is in the room.

Joining, knocking, and leaving a room that one is not in go in two steps: the server in the room (the resident) builds
a template, the other signs the event made of it and hands it in. An invite goes the other way: the inviting server
sends the event to the server of the invited user, which signs it too.

``templates`` and ``submissions`` answer other servers, ``making`` and ``leaving`` ask them; joins and invites, which
take more, have packages of their own. ``outside`` keeps what our users are to rooms that we do not take part in.

Spec: server-server-api/#joining-rooms, server-server-api/#inviting-to-a-room
"""

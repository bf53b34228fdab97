"""Joins of other servers' users that we answer, and joins of our own users by way of other servers.

``join_answer`` tells another server of a room. The other way round, ``joining`` asks, ``behind`` finds out who should
not be, ``join_body`` keeps what is answered, ``told_events`` puts it in order, ``installing`` makes it a room that we
hold, and ``early`` lets what comes in meanwhile wait.

Spec: server-server-api/#joining-rooms
"""

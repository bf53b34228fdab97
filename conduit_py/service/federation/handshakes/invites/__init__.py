"""Invites between servers: those that we get, those that we send, and those that began with an address.

Spec: server-server-api/#inviting-to-a-room, server-server-api/#third-party-invites
"""

"""Rooms: creating, joining, sending, reading."""

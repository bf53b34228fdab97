"""End-to-end encryption: the server keeps public keys, carries messages between devices, and can read neither.

- ``keys``: identity keys of devices; one-time keys, each handed out once; fallback keys.
- ``cross_signing``: the keys with which users vouch for their devices and for each other.
- ``device_lists``: who is told that somebody's keys changed; ``sharing`` knows who shares rooms with whom, and did.
- ``to_device``: messages that wait for a device.
- ``key_backup``: room keys that clients put away, encrypted.
- ``news``: all that /sync tells a device of this.
- ``removal``: what is kept of a device goes with it, and with ``in_flight`` what is on its way to the disk.
- ``remote``: asking other servers. ``remote_lists`` holds what they told of their users who share a room with ours,
  ``refreshing`` asks again, ``edus`` takes what they tell by themselves, ``for_servers`` answers what they ask.
- ``announcing``: tells them what changed here.
- ``answers``: keys in the form of the specification, with the signatures that whoever asks may see.

A change of keys, and of what others are told of it, lands in one batch. Keys are changed under the lock of their
account, so that they never outlive the device.
"""

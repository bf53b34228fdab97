"""Telling application services what happens, and asking them what they know.

``queue`` takes down what each is interested in, ``delivery`` sends it, ``ping`` lets one try the way. Who they are is
known to ``service.appservice_registry``, and who they are in a request to ``service.users.identities``.

Spec: application-service-api/
"""

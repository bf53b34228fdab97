"""Application services: programs that act for many users of a network of their own, such as bridges.

``registry`` knows them by their tokens and namespaces.

Spec: application-service-api/
"""

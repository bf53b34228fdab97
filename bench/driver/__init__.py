"""A client of the client-server API that costs less than the servers it measures.

- ``wire``: requests as bytes, replies from bytes, one keep-alive connection over a blocking socket.
- ``load``: a closed loop of several such connections in one thread, with the window that is measured.
- ``process``: CPU time, memory and bytes written of a server's processes, from ``/proc``.
- ``scene``: the users and rooms that every workload plays in.
- ``workloads``: what is measured, in order, and what a right reply is.
- ``report``: rounds to table, JSON and picture.

``python -m bench.driver.selftest`` measures the driver itself against a responder that does nothing.

Decisions: no HTTP library, because the cheapest of them costs more for one request than a fast server does. Every
reply is checked for its status and for what must be in it, by looking for bytes; the first reply of each workload is
parsed and looked at closely, before the clock runs. Traffic goes to loopback addresses and nowhere else.
"""

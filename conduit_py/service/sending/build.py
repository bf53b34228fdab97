"""Builds what sends to other servers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.service.sending.backlog import Backlogs
from conduit_py.service.sending.destination import Delivery, Post
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.sending.senders import Senders
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingServices:
    """What puts into the queues, and what empties them."""

    outbox: Outbox
    senders: Senders
    """Its ``run`` belongs into the nursery tree."""


def build_sending(
    config: Config, store: Store, post: Post, *, is_forbidden: Callable[[ServerName], bool]
) -> SendingServices:
    server_name, backlogs = ServerName(config.server_name), Backlogs()
    delivery = Delivery(store, post, server_name=server_name, random_fraction=random.random)
    return SendingServices(
        outbox=Outbox(
            backlogs,
            server_name=server_name,
            is_forbidden=is_forbidden,
            is_allowed=config.allow_federation,
            now_ms=store.now_ms,
        ),
        senders=Senders(
            store,
            backlogs,
            delivery,
            requests_max=config.max_concurrent_requests,
            is_allowed=config.allow_federation,
        ),
    )

"""Ours and theirs, running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

from tests.rig.federation import FederatedServer, Link, open_federation, write_certificate
from tests.rig.synapse import Synapse, open_synapse


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederatedServer, Synapse]]:
    """Our server and Synapse, which reach one another."""
    directory, authority = tmp_path_factory.mktemp("interop"), trustme.CA()
    link = Link(write_certificate(authority, "localhost"))
    with (
        open_federation(directory, 1, authority=authority) as (ours,),
        open_synapse(directory / "synapse", link, directory / "ca.pem") as theirs,
    ):
        yield ours, theirs
    link.close()

"""Fixtures which every ring's tests may use."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.orchestration.scenarios import Places

pytest_plugins = ["tests.postgres"]


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Places]":
    """Makes directories with a document and an instance, and starts processes in them."""
    # Dagster takes seconds to import, and most tests do without.
    from tests.orchestration.scenarios import Places

    places = Places(tmp_path_factory.mktemp("places"))
    yield places
    places.zygote.close()

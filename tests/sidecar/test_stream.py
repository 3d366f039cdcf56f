import asyncio
from collections.abc import Callable

import pytest
import uvloop

from aether_dagster.protocol import Hub, Margin, Pace
from aether_dagster.sidecar.metrics import Metrics
from aether_dagster.sidecar.service import encode
from aether_dagster.sidecar.stream import Stream

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_loop_which_is_late_loses_nothing(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A frame may be overdue already when it is given its time."""

    async def scenario() -> None:
        pace = Pace(margin=Margin())
        stream = Stream(Hub(None, encode, pace, since=0.0), pace, Metrics(pace.margin))
        loop = asyncio.get_running_loop()
        for number in range(50):
            long_ago = loop.time() - 10
            stream.hub.commit(
                dict, [("executions", "p", "status")], version=1, committed_at=1.0, now=long_ago
            )
            stream.commit(dict, [("executions", "p", "name")], version=2, committed_at=number)
            stream.commit(dict, [("executions", "p", "nodes")], version=2, committed_at=number)
        await asyncio.sleep(0.5)
        assert stream.hub.due() is None

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())

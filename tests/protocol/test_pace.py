import pytest

from aether_dagster.protocol import Margin, Pace
from aether_dagster.protocol.pace import BOUND, GATHER


def test_the_bound_wins_over_the_nominal_rate() -> None:
    assert Pace(4.0).spacing == BOUND - GATHER < 1 / 4
    assert Pace(20.0).spacing == 1 / 20
    assert Pace(0.1).spacing == BOUND - GATHER


def test_only_a_rate_below_the_default_lets_anything_wait() -> None:
    assert Pace(4.0).waiting == 0
    assert Pace(20.0).waiting == 0
    assert Pace(0.5).waiting == 2


def test_slow_flushes_and_a_late_loop_bring_frames_closer() -> None:
    margin = Margin()
    pace = Pace(4.0, margin)
    for _ in range(200):
        margin.observe(flush=0.02, lag=0.03)
    assert margin.seconds == pytest.approx(0.06)
    assert pace.spacing == pytest.approx(0.14)


def test_one_slow_flush_is_forgotten_again() -> None:
    margin = Margin()
    margin.observe(flush=0.1, lag=0.1)
    for _ in range(400):
        margin.observe(flush=0.001, lag=0.001)
    assert margin.seconds == pytest.approx(0.012)


def test_the_frame_after_a_slow_flush_is_brought_on_its_way_earlier() -> None:
    margin = Margin()
    margin.observe(flush=0.03, lag=0.0)
    assert margin.seconds == pytest.approx(0.04)


def test_an_overloaded_loop_is_not_given_more_to_do() -> None:
    margin = Margin()
    for _ in range(200):
        margin.observe(flush=3.0, lag=3.0)
    assert Pace(4.0, margin).spacing == pytest.approx(0.05)

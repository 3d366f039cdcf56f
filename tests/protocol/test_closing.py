from aether_dagster.protocol import Close


def test_a_reason_is_cut_to_what_a_close_frame_can_hold() -> None:
    reason = Close(4400, "\u00fc" * 100).reason
    assert len(reason.encode()) <= 123
    assert reason == "\u00fc" * 61

"""The codes with which a connection ends (spec 4, "Conversation")."""

from dataclasses import dataclass

BAD_MESSAGE = 4400
NOT_FOUND = 4404


@dataclass(frozen=True)
class Close:
    """How the server closes a connection.

    Args:
        code: The WebSocket close code.
        reason: At most 123 bytes of UTF-8; what is longer is cut.
    """

    code: int
    reason: str

    def __post_init__(self) -> None:
        cut = self.reason.encode()[:123].decode(errors="ignore")
        object.__setattr__(self, "reason", cut)


FINALIZED = Close(1000, "finalized")
REPLAYED = Close(1000, "replayed")
VERSION_SENT = Close(1000, "version")
GOING_AWAY = Close(1001, "the sidecar ends")
TOO_SLOW = Close(4008, "nothing was read for 10 s")
UNAUTHORIZED = Close(4401, "no token, or the wrong one")
TOO_MANY_CLIENTS = Close(4429, "too many connections")
TOO_MANY_MESSAGES = Close(4429, "too many messages")

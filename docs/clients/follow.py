"""Follows an execution and prints its state whenever it changed; needs `websockets` alone.

Call it so: python follow.py ws://127.0.0.1:8787/executions/latest TOKEN
"""

import json
import re
import sys

from websockets.sync.client import connect

SEGMENT = re.compile(r"`((?:[^`]|``)*)`|([A-Za-z0-9_-]+)")


def fold(state, frame):
    """Returns the state after a frame: replace at path."""
    for written in frame["update_mask"]:
        if written == "*":
            state = frame["payload"]
            continue
        path = [plain or quoted.replace("``", "`") for quoted, plain in SEGMENT.findall(written)]
        source, target = frame["payload"], state
        for segment in path[:-1]:
            source = source.get(segment) if isinstance(source, dict) else None
            if not isinstance(target.get(segment), dict):
                target[segment] = {}
            target = target[segment]
        if isinstance(source, dict) and path[-1] in source:
            target[path[-1]] = source[path[-1]]
        else:
            target.pop(path[-1], None)
    return state


def main(url, token):
    """Prints the state, a line for each frame, until the server closes."""
    state = {}
    headers = {"Authorization": f"Bearer {token}"}
    with connect(url, additional_headers=headers, max_size=None) as connection:
        for text in connection:
            state = fold(state, json.loads(text))
            sys.stdout.write(json.dumps(state) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What `aetherscript` prints, without what is another at every run."""

import re

MASKS = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"\d{4}-\d\d-\d\d_\d{6}", "<start>"),
    (r"_[0-9A-HJKMNP-TV-Z]{8}(?![0-9A-Z])", "_<id>"),
    (r"\d+(\.\d+)? s\b", "<seconds>"),
]


def masked(text, folder="/home/you/sales"):
    """The lines of a text, with times, ids and the folder in which it ran masked."""
    text = text.replace(folder, "<folder>")
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return [line.rstrip() for line in text.strip().splitlines()]

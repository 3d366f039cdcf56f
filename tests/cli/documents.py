"""Pipeline documents which the tests write."""

from pathlib import Path

DIAMOND = """\
version: "2.1"
metadata: {name: diamond, version: 1.2.3}
variables: {GREETING: hello}
pipeline:
  steps:
    - id: extract
      type: core/echo
      args: {message: "${GREETING}"}
    - id: left
      type: core/echo
      args: {message: "${steps.extract.output}"}
    - id: end
      type: core/echo
      dependsOn: [extract]
      args: {message: right}
    - id: load
      type: core/echo
      dependsOn: [end]
      args: {message: "${steps.left.output}"}
"""

BROKEN = """\
version: "2.1"
metadata: {name: broken}
pipeline:
  steps:
    - id: extract
      type: core/eco
      args: {message: hello}
    - id: load
      type: core/echo
      dependsOn: [extrat]
      args: {message: hello}
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path

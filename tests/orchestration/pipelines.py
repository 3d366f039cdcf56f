"""Small pipeline documents for the tests of this ring."""

from pathlib import Path
from textwrap import dedent

import dagster as dg

TINY = """
    version: "2.1"
    metadata:
      name: tiny-one
      description: A tiny pipeline
      owners: ["team:data", ada@example.com]
      labels: {criticality: high}
    connectors:
      store: {type: sql, url: "sqlite:///x.db"}
    pipeline:
      steps:
        - {id: first, type: core/echo, args: {message: [1, 2]}, description: Say two numbers}
        - id: second-step
          type: python/call
          args: {callable: "statistics:mean", data: "${steps.first.output}"}
          retries: 2
        - id: third
          type: sql/query
          dependsOn: [second-step]
          args: {connector: store, query: select 1}
"""


def write(folder: Path, text: str = TINY, name: str = "tiny.aether.yaml") -> Path:
    """Writes a document and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(dedent(text).lstrip(), encoding="utf-8")
    return file


def simple(name: str, *steps: str, connectors: str = "{}") -> str:
    """A document whose steps are echoes, one after the other."""
    lines = [
        'version: "2.1"',
        f"metadata: {{name: {name}}}",
        f"connectors: {connectors}",
        "pipeline:",
        "  steps:",
    ]
    for before, step in zip(("", *steps), steps, strict=False):
        after = f", dependsOn: [{before}]" if before else ""
        lines.append(f"    - {{id: {step}, type: core/echo, args: {{message: {step}}}{after}}}")
    return "\n".join(lines) + "\n"


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """The specs of all assets, by `group/step` as the key is shown."""
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def order(job: dg.JobDefinition, before: str, after: str) -> bool:
    """Whether one node of a job waits for another."""
    structure = job.graph.dependency_structure
    upstream = structure.all_upstream_outputs_from_node(after)
    return before in {output.node.name for output in upstream}

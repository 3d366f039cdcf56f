"""What it costs to compile a pipeline, beside the same assets written by hand with `@dg.asset`.

    python benchmarks/compile.py

Prints processor seconds and ratios for 1,000 and 5,000 steps: building the definitions (with ours
from the document's text), resolving the repository, and resolving the pipeline's job. In layers,
each step takes from two steps of the layer before; a chain shows what sorting a graph costs
Dagster, which grows with the steps times the depth, whoever wrote the assets.
"""

import json
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import dagster as dg

from aether_dagster.orchestration.compiler import compile_documents
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import parse_document

SIZES = (1_000, 5_000)
CHAINS = (1_000, 2_000)
LAYERS = 20


def upstream(number: int, width: int) -> list[int]:
    """The steps which a step takes from: two of the layer before."""
    if number < width:
        return []
    return sorted({number - width, (number + 1) % width + (number // width - 1) * width})


def document(steps: int, width: int) -> str:
    lines = [
        'version: "2.1"',
        "metadata: {name: big, owners: ['team:data']}",
        "pipeline:",
        "  steps:",
    ]
    for number in range(steps):
        names = ", ".join(f'"${{steps.s{up}.output}}"' for up in upstream(number, width))
        lines.append(f"    - {{id: s{number}, type: core/echo, args: {{message: [{names}]}}}}")
    return "\n".join(lines)


def ours(text: str) -> dg.Definitions:
    return compile_documents(
        [parse_document(text, file="big.aether.yaml")], settings=AetherSettings()
    )


def by_hand(steps: int, width: int) -> dg.Definitions:
    """The same graph in Dagster's own words, with the same metadata on each asset."""
    assets = [_asset(number, upstream(number, width)) for number in range(steps)]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("big", selection=assets)])


def _asset(number: int, ups: list[int]) -> dg.AssetsDefinition:
    # `@asset` reads a function's parameters, so each asset needs a function of its own.
    scope: dict[str, object] = {}
    parameters = ", ".join(f"s{up}" for up in ups)
    exec(f"def s{number}({parameters}): return [{parameters}]", scope)
    return dg.asset(
        key_prefix="big",
        ins={f"s{up}": dg.AssetIn(["big", f"s{up}"]) for up in ups},
        group_name="big",
        owners=["team:data"],
        kinds={"aetherscript"},
        code_version="1",
        metadata={"aether/step": f"s{number}", "aether/type": "core/echo"},
    )(scope[f"s{number}"])  # pyright: ignore[reportArgumentType, reportCallIssue]


def measure(kind: str, steps: int, width: int) -> dict[str, float]:
    """Processor seconds of each part, in a process whose heap holds nothing else."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(50_000)
    text = document(steps, width)
    start = time.process_time()
    definitions = ours(text) if kind == "ours" else by_hand(steps, width)
    built = time.process_time()
    definitions.get_repository_def()
    resolved = time.process_time()
    definitions.resolve_job_def("big")
    end = time.process_time()
    return {"build": built - start, "repository": resolved - built, "job": end - resolved}


def only(kind: str, steps: int) -> None:
    """Prints what one side takes, as JSON, for the suite (`run.py`)."""
    parts = measure(kind, steps, steps // LAYERS)
    print(json.dumps({**parts, "all": sum(parts.values())}))


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        only(sys.argv[2], int(sys.argv[3]))
        return
    shapes = {
        **{f"{size} in {LAYERS} layers": (size, size // LAYERS) for size in SIZES},
        **{f"{size} in a chain": (size, 1) for size in CHAINS},
    }
    totals: dict[tuple[str, str], dict[str, float]] = {}
    for shape, (steps, width) in shapes.items():
        for kind in ("ours", "by hand"):
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                parts = fresh.submit(measure, kind, steps, width).result()
            totals[kind, shape] = parts
            shown = "  ".join(f"{part} {seconds:6.2f} s" for part, seconds in parts.items())
            print(f"{shape:20}{kind:9}{shown}  sum {sum(parts.values()):6.2f} s")
    small, big, *_ = shapes
    for kind in ("ours", "by hand"):
        grown = sum(totals[kind, big].values()) / sum(totals[kind, small].values())
        print(f"{kind}: {SIZES[1] / SIZES[0]:.0f} times the steps take {grown:.1f} times as long")
    for shape in shapes:
        ratio = sum(totals["ours", shape].values()) / sum(totals["by hand", shape].values())
        print(f"{shape}: ours takes {ratio:.2f} of what assets by hand take")


if __name__ == "__main__":
    main()

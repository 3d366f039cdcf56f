"""The week on one page: a self-contained HTML file, which needs no network to open."""

import json
from html import escape
from pathlib import Path
from string import Template

PAGE = Template((Path(__file__).parent / "report.html").read_text("utf-8"))


def report(
    *,
    events,
    regions,
    days,
    summary,
    strongest,
    quarantine,
    land,
    target,
    pipeline,
    execution,
    created,
    context,
):
    """Write the report and return where it is."""
    largest = strongest[0]
    rings = json.loads(Path(context.directory, land).read_text("utf-8"))
    page = PAGE.substitute(
        title=escape(f"Earthquakes: {pipeline}"),
        headline=escape(
            f"{events.height:,} earthquakes, "
            f"the strongest of magnitude {largest['magnitude']}: {largest['place']}"
        ),
        span=" to ".join(
            f"{time:%d %B %Y, %H:%M}" for time in (events["time"].min(), events["time"].max())
        )
        + " UTC",
        world=_world(events, rings),
        days=_days(days),
        strongest=_table(strongest, ["time", "magnitude", "place", "depth_km", "felt_reports"]),
        regions=_table(regions.to_dicts(), regions.columns),
        reasons=_table(
            [{"reason": reason, "events": n} for reason, n in quarantine["reasons"].items()],
            ["reason", "events"],
        ),
        refused=quarantine["refused"],
        events=f"{quarantine['events']:,}",
        rarer=round(10 ** summary["b_value"], 1),
        pipeline=escape(pipeline),
        execution=escape(execution),
        created=escape(created),
        b_value=f"{summary['b_value']:.2f}",
        b_uncertainty=f"{summary['b_uncertainty']:.2f}",
        complete_from=summary["complete_from"],
    )
    path = Path(context.directory, target)
    path.write_text(page, "utf-8")
    context.artifacts.set("report", str(path))
    return {"path": str(path), "folder": str(path.parent), "bytes": path.stat().st_size}


def _world(events, rings):
    """Draw the events on an equirectangular map, the small ones below the large ones."""
    land = "".join(
        "M" + "L".join(f"{lon + 180:g} {90 - lat:g}" for lon, lat in ring) + "Z" for ring in rings
    )
    dots = []
    for event in events.sort("magnitude").iter_rows(named=True):
        depth = event["depth_km"]
        layer = "shallow" if depth < 70 else "middle" if depth < 300 else "deep"
        radius = 0.5 + max(event["magnitude"], 0) ** 2.2 / 14
        label = escape(f"M {event['magnitude']} {event['place']}, {event['time']:%d %b %H:%M}")
        dots.append(
            f'<circle class="{layer}" cx="{event["longitude"] + 180:.1f}" '
            f'cy="{90 - event["latitude"]:.1f}" r="{radius:.1f}"><title>{label}</title></circle>'
        )
    return (
        '<svg viewBox="0 5 360 155" role="img" aria-label="Map of the earthquakes">'
        f'<path class="land" d="{land}"/>{"".join(dots)}</svg>'
    )


def _days(days):
    width, height = 900, 180
    slot = width / days.height
    scale = (height - 60) / days["earthquakes"].max()
    bars = []
    for index, day in enumerate(days.iter_rows(named=True)):
        middle, tall = (index + 0.5) * slot, day["earthquakes"] * scale
        top = height - 40 - tall
        texts = [
            (top - 5, day["earthquakes"]),
            (height - 24, f"{day['day']:%a %d}"),
            (height - 8, f"{day['terajoules']:,.1f} TJ"),
        ]
        bars.append(
            f'<rect class="middle" x="{middle - slot * 0.3:.1f}" y="{top:.1f}" '
            f'width="{slot * 0.6:.1f}" height="{tall:.1f}"/>'
        )
        bars.extend(
            f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>'
            for y, text in texts
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Earthquakes a day">'
        f"{''.join(bars)}</svg>"
    )


def _table(rows, columns):
    def cell(tag, value):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = f"{value:,}" if number else str(value)
        return f"<{tag}{' class=number' if number else ''}>{escape(text)}</{tag}>"

    def heading(column):
        text = escape(column.replace("_km", " (km)").replace("_", " "))
        number = rows and isinstance(rows[0][column], (int, float))
        return f"<th{' class=number' if number else ''}>{text}</th>"

    head = "".join(heading(column) for column in columns)
    body = "".join(
        f"<tr>{''.join(cell('td', row[column]) for column in columns)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"

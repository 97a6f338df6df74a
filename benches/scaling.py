"""Speed by the number of rows."""

import os
from collections.abc import Callable
from copy import copy

import data as datasets
from contender import Contender, build, connect, contenders
from timing import recall, timed

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
WANTED = 0.95


def measure(present: list[Contender], data: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """Adds a point to each contender's `scaling` for each size that it does not have yet: ours, and pgvector's
    indexes up to PEER rows. Sizes beyond the data's are filled with mixtures."""
    largest, peer = int(os.environ.get("LARGEST") or len(data.rows)), int(os.environ.get("PEER") or 0)
    sizes = sorted({*(n for n in SIZES if n < largest), largest})
    names = {c.name for c in present}
    for name in names:
        results.setdefault(name, {})
    rows = None
    for size in sizes:
        missing = [c for c in contenders(size) if c.name in names and (c.schema == "ours" or size <= peer)
                   and all(p["rows"] != size for p in results[c.name].get("scaling", []))]
        if not missing:
            continue
        rows = datasets.enlarged(data.rows, largest) if rows is None else rows
        part = datasets.part(data, rows[:size])
        for contender in missing:
            print(f"scaling: {contender.name}, {size} rows", flush=True)
            point = {"rows": size, "mixtures": max(size - len(data.rows), 0), **one(contender, part)}
            points = [*results[contender.name].get("scaling", []), point]
            results[contender.name]["scaling"] = sorted(points, key=lambda p: p["rows"])
            save()


def one(contender: Contender, data: datasets.Data) -> dict:
    """An index's build, and its search until it finds enough."""
    contender = copy(contender)
    contender.table = f"{contender.schema}.scaling_items"
    built = build(contender, data)
    connection = connect(contender.schema)
    connection.execute(f"SELECT count(e) FROM {contender.table}")
    print(f"  built in {built['build_seconds']:.1f} s", flush=True)
    points: list[dict] = []
    for effort in contender.efforts:
        asked = timed(contender, data, [f"{contender.setting} = {effort}", "enable_seqscan = off"], "",
                      len(data.queries))
        points.append({"effort": effort, "recall": recall(data, asked.found, data.farthest), **asked.summary()})
        print(f"  {effort}: recall {points[-1]['recall']:.4f}, {points[-1]['qps']:.0f} queries/s, "
              f"p50 {points[-1]['p50_ms']:.2f} ms", flush=True)
        # Efforts of our index are recall targets and must reach WANTED, too; pgvector's are all above 1.
        if min(points[-1]["recall"], effort) >= WANTED:
            break
    connection.execute(f"DROP TABLE {contender.table}")
    return {**built, "search": points}

"""Measures vector_search and pgvector on the server that libpq's variables name."""

import json
import os
import platform
import re
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg

import data as datasets
import grow
import pressure
import report
import scale
import scaling
import sparse
import steps
import tokens
from contender import build, contenders
from functions import types
from plans import plans

# Rounds of each search, all contenders in turn, because the load of the machine changes within minutes.
ROUNDS = 3
STEPS = os.environ.get("STEPS", "build,memory,exact,cold,floor,search,filter,insert,vacuum").split(",")
FUNCTIONS = {"build": build, "cold": steps.cold, "floor": steps.floor, "filter": steps.filtered,
             "vacuum": steps.vacuum}
# Steps that measure our index only.
OURS = {"memory": steps.memory, "exact": steps.exact, "plans": plans, "column_cost": steps.column_cost,
        "join": steps.join, "join_by_distance": steps.join_by_distance,
        "graph": steps.graph, "tokens": tokens.measure, "types": types}
# Steps that measure all contenders together. What the record already has is not measured again.
TOGETHER = {"scaling": scaling.measure, "grow": grow.measure, "scale": scale.measure, "pressure": pressure.measure,
            "sparse": sparse.measure}


def machine() -> dict:
    described = Path("/proc/cpuinfo").read_text()
    cpu = next((line.split(":")[1].strip() for line in described.splitlines() if line.startswith("model name")),
               platform.machine())
    flags = set(re.findall(r"\b(?:avx2|avx512vbmi|avx512_vnni|asimd)\b", described))
    with psycopg.connect(autocommit=True) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0]
        extensions = dict(connection.execute(
            "SELECT extname, extversion FROM pg_extension WHERE extname LIKE 'vector%'").fetchall())
        memory = connection.execute("SHOW maintenance_work_mem").fetchone()[0]
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "flags": sorted(flags), "cores": os.cpu_count(), "memory_gib": round(gib),
            "postgres": version, "extensions": extensions, "maintenance_work_mem": memory}


def search_in_turn(present: list, data: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """The search of each contender, an effort of each in turn, in several rounds; what an earlier run has of a round is
    measured again."""
    waiting = [c for c in present if results.setdefault(c.name, {}).get("search") is None]
    points: dict[str, dict[float, list[dict]]] = {c.name: {} for c in waiting}
    for number in range(1, ROUNDS + 1):
        print(f"search: round {number} of {ROUNDS}", flush=True)
        running = {c.name: steps.search(c, data, {e: of[0]["recall"] for e, of in points[c.name].items()}) for c in waiting}
        while running:
            for name, search in list(running.items()):
                point = next(search, None)
                if point is None:
                    del running[name]
                else:
                    points[name].setdefault(point["effort"], []).append(point)
    for name, efforts in points.items():
        results[name]["search"] = [steps.median(of) for of in efforts.values()]
    save()


def main() -> None:
    data = datasets.load()
    out = datasets.ROOT / "docs" / "benchmarks" / f"{date.today()}-{data.name}"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    # Steps that an interrupted run has finished are kept.
    results = json.loads(path.read_text()) if path.exists() else {}
    described = {"name": data.name, "about": data.about, "rows": len(data.rows), "dimensions": data.rows.shape[1],
                 "queries": len(data.queries), "metric": data.metric} | ({} if data.kind == "vector" else {"type": data.kind})
    if results.get("data", described) != described:
        print(f"{path} is of other data: measured anew", flush=True)
        results = {}
    everybody = contenders(len(data.rows))
    with psycopg.connect(autocommit=True) as connection:
        available = {r[0] for r in connection.execute("SELECT name FROM pg_available_extensions")}
        for schema, extension in (("ours", "vector_search"), ("theirs", "vector")):
            if extension not in available:
                print(f"{extension} is not installed in this server: measured without", flush=True)
                continue
            if schema == "ours" and "build" not in results.get(everybody[0].name, {}):
                # An earlier run may have left objects of an older version of the extension.
                connection.execute(f"DROP EXTENSION IF EXISTS {extension} CASCADE")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA {schema}")
    results |= {"machine": machine(), "data": described}
    present = [c for c in everybody if c.schema == "ours" or "vector" in available]

    def save() -> None:
        path.write_text(json.dumps(results, indent=1))

    for step in STEPS:
        if step in TOGETHER:
            TOGETHER[step](present, data, results, save)
            continue
        if step == "search":
            search_in_turn(present, data, results, save)
            continue
        if step == "insert":
            waiting = [c for c in present if results.setdefault(c.name, {}).get("insert") is None]
            if waiting:
                print(f"insert: {', '.join(c.name for c in waiting)}, in turn", flush=True)
                for name, rate in steps.inserts(waiting, data).items():
                    results[name]["insert"] = rate
                save()
            continue
        for contender in present[:1] if step in OURS else present:
            kept = results.setdefault(contender.name, {})
            if kept.get(step) is not None:
                continue
            print(f"{step}: {contender.name}", flush=True)
            began = time.perf_counter()
            kept[step] = (FUNCTIONS | OURS)[step](contender, data)
            print(f"{step}: {contender.name}: {time.perf_counter() - began:.0f} s", flush=True)
            save()
    print(report.write(out, results))


if __name__ == "__main__":
    main()

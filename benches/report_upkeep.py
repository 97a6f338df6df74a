"""The tables and curves of the steps `grow`, `scale`, `pressure` and `sparse`."""

import math

import plot

ABOUT = {"empty": "index on the empty table", "random": "small build, random inserts",
         "sorted": "small build, inserts sorted by the first principal component",
         "topics": "small build, cluster after cluster", "refill": "nine of ten rows deleted, and inserted again",
         "churn": "ten rounds, each replaces a fifth by another topic"}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def grow(results: dict[str, dict]) -> list[str]:
    """What became of indexes that were used, beside fresh builds."""
    runs = [(name, scenario, of) for name, r in results.items() for scenario, of in r.get("grow", {}).items()]
    if not runs:
        return []
    naptime = runs[0][2]["naptime"]
    but = "" if naptime == "default" else f", but for `autovacuum_naptime = {naptime}s`"
    rate = runs[0][2].get("rate")
    fast = f", {rate:,.0f} a second at most" if rate else " as fast as it goes"
    out = ["## Growth", "",
           f"Autovacuum is as Postgres has it{but}. Rows come in transactions of 1,000{fast}; another connection asks "
           "all the time. Each index is then compared with a fresh build on a copy of its table, both asked in turn "
           "(target .95; HNSW: the smallest `ef_search` with recall .95). `×`: by the fresh build's.", ""]
    out += table(["", "rows", "lists", "codes", "×", "queries/s", "×", "recall", "fresh", "file, MB", "×"],
                 [compared(*label(name, scenario), of["compared"], of["rows"]) for name, scenario, of in runs]
                 + [compared("after deleting nine of ten, VACUUM twice", "", of["shrunk"], of["rows"] // 10)
                    for _, scenario, of in runs if scenario == "refill"])
    out += ["While they grow. *Untended*: the same inserts, without autovacuum, while the fresh index is asked. WAL is "
            "the index's alone. Maintenance: rows that went to new lists (of the last time in a vacuum), by the seconds "
            "that autovacuum, with its cost delay, was at the index; asleep: the share of them that was this delay.", ""]
    out += table(["", "inserts/s", "untended", "WAL, bytes/row", "untended", "p50, ms", "p99, ms", "worst, ms",
                  "p99 fresh, untended", "p99 fresh, alone", "settled after, s", "vacuums with new lists",
                  "maintained rows/s", "asleep"],
                 [growing(*label(name, scenario), of) for name, scenario, of in runs if "growth" in of])
    out += table(["", "inserts/s", "settled after, s", "vacuums with new lists", "maintained rows/s",
                  "largest file in between, MB"],
                 [kept(*label(name, scenario), of) for name, scenario, of in runs if scenario in ("refill", "churn")])
    out += table(["VACUUM of the untended index", "rows", "s", "rows/s", "WAL, bytes/row", "file after, MB",
                  "VACUUM again, s", "WAL, MB", "file, MB", "codes before, ×"],
                 [vacuumed(*label(name, scenario), of) for name, scenario, of in runs if "untended" in of])
    return out


def label(name: str, scenario: str) -> tuple[str, str]:
    return ABOUT[scenario], "" if name.startswith("vector_search") else f" ({name})"


def text(value: float | None, form: str = "{:,.0f}") -> str:
    return "–" if value is None else form.format(value)


def compared(about: str, whose: str, of: dict, rows: int) -> list[str]:
    ours, fresh = of["grown"], of["fresh"]

    def by(key: str) -> str:
        return text(ours[key] / fresh[key], "{:.2f}") if fresh.get(key) else "–"

    return [about + whose, f"{rows:,}", text(ours.get("lists")), text(ours.get("codes")), by("codes"),
            text(ours["qps"]), by("qps"), f"{ours['recall']:.3f}", f"{fresh['recall']:.3f}",
            text(ours["index_bytes"] / 1e6), by("index_bytes")]


def growing(about: str, whose: str, of: dict) -> list[str]:
    now, alone, without = of["growth"], of["fresh_alone"], of.get("untended", {})
    during, beside = now["latencies"], without.get("latencies", {})
    return [about + whose, text(now["rows_per_second"]), text(without.get("rows_per_second")),
            text(now["index_wal_per_row"]), text(without.get("index_wal_per_row")), f"{during['p50_ms']:.2f}",
            f"{during['p99_ms']:.2f}", f"{during['worst_ms']:.0f}", text(beside.get("p99_ms"), "{:.2f}"),
            f"{alone['p99_ms']:.2f}", text(now["settled_seconds"]), text(now["upkeep"]["renewals"]),
            text(now["upkeep"]["rows_per_second"]), asleep(now["upkeep"]["vacuums"])]


def asleep(vacuums: list[dict]) -> str:
    """The share of vacuums that was cost-based delay, which PostgreSQL 18 knows."""
    known = [v for v in vacuums if "asleep_seconds" in v]
    spent = sum(v["ended"] - v["began"] for v in known)
    return text(sum(v["asleep_seconds"] for v in known) / spent if spent else None, "{:.0%}")


def kept(about: str, whose: str, of: dict) -> list[str]:
    inserted = of.get("rows_per_second") or sum(r["rows_per_second"] for r in of["rounds"]) / len(of["rounds"])
    sizes = [r["index_bytes"] for r in [*of.get("rounds", []), *of["upkeep"]["vacuums"]]]
    return [about + whose, text(inserted), text(of["settled_seconds"]), text(of["upkeep"]["renewals"]),
            text(of["upkeep"]["rows_per_second"]), text(max(sizes) / 1e6 if sizes else None)]


def vacuumed(about: str, whose: str, of: dict) -> list[str]:
    first, again = of["untended"]["vacuum"], of["untended"]["vacuum_again"]
    rows = first["renewed_rows"]
    return [about + whose, text(rows), f"{first['seconds']:.1f}", text(rows / first["seconds"] if rows else None),
            text(first["wal_bytes"] / rows if rows else None), text(first["index_bytes"] / 1e6),
            f"{again['seconds']:.1f}", text(again["wal_bytes"] / 1e6), text(again["index_bytes"] / 1e6),
            f"{of['untended']['codes'] / of['compared']['fresh']['codes']:.1f}"]


def growth_curve(ours: dict) -> str | None:
    """Codes by those of a fresh build on the same rows, while the index grows."""
    lines = {}
    for scenario, of in ours.get("grow", {}).items():
        if fresh := dict(of.get("fresh_codes", [])):
            lines[ABOUT[scenario]] = [(rows, codes / fresh[rows]) for rows, codes in of["growth"]["codes"]
                                      if fresh.get(rows)]
    return plot.curves(lines, ("rows", "codes read, by those of a fresh build"), log_x=True)


def scale(ours: dict) -> list[str]:
    """Fresh builds by the number of rows."""
    points = ours.get("scale", [])
    if not points:
        return []
    efforts = [p["effort"] for p in points[0]["search"]]
    rows = []
    for p in points:
        usual = next(s for s in p["search"] if s["effort"] == 0.95)
        # What a query of one list takes above the floor is routing and more.
        routing = max(p["one_list_ms"] - p["floor_ms"], 0) / usual["p50_ms"]
        rows.append([f"{p['rows']:,}", f"{p['build_seconds']:.1f}", f"{p['rows'] / p['build_seconds']:,.0f}",
                     f"{p['peak_mb']:.0f}", f"{p['lists']:,}", f"{p['imbalance']:.1f}",
                     f"{p['index_bytes'] / 1e6:,.0f}", *[f"{s['recall']:.3f}" for s in p["search"]],
                     f"{usual['codes']:,.0f}", f"{usual['p50_ms']:.2f}",
                     f"{routing:.0%}", f"{p['directory_bytes'] / 1e6:.1f}", f"{p['backend_kb'] / 1e3:.1f}",
                     f"{p['first_query_ms']:.1f}"])
    out = ["## Scale", "",
           "Fresh builds of our index. Routing is at most the share given: what a query that reads one list takes "
           "above the floor, by a query at .95. The directory is what each backend keeps for it; a backend's memory is "
           "what 200 queries add to it.", "",
           *table(["rows", "build, s", "rows/s", "memory, MB", "lists", "largest by mean", "file, MB",
                   *[f"recall at {e:g}" for e in efforts], "codes at .95", "p50 at .95, ms", "routing ≤",
                   "directory, MB", "backend, MB", "first query, ms"], rows)]
    if len(points) > 1:
        first, last = points[0], points[-1]

        def codes(p: dict) -> float:
            return next(s["codes"] for s in p["search"] if s["effort"] == 0.95)

        slope = math.log(codes(last) / codes(first)) / math.log(last["rows"] / first["rows"])
        out += [f"Codes read at .95 grow as rows^{slope:.2f}.", ""]
    if mixtures := points[-1]["mixtures"]:
        out += [f"{mixtures:,} of the largest table's rows are mixtures of real ones (benches/data.py); the queries "
                "are real.", ""]
    return out


def pressure(results: dict[str, dict]) -> list[str]:
    """Indexes on a server with little memory."""
    found = {name: r["pressure"] for name, r in results.items() if "pressure" in r}
    if not found:
        return []
    first = next(iter(found.values()))
    out = ["## Little memory", "",
           f"{first['rows']:,} rows; the table has {first['table_bytes'] / 1e6:,.0f} MB. A memory control group gives the "
           f"server's buffers, its processes and the operating system's cache of its files {first['limit_bytes'] / 1e6:,.0f} "
           "MB together, a fifth of it `shared_buffers`. Each line after a start of the server with an empty cache: one half of "
           "the queries fills it, the other half is timed; no query comes twice.", ""]
    out += table(["", "setting", "recall", "queries/s", "p50, ms", "p99, ms"],
                 [[name, f"{p['effort']:g}", f"{p['recall']:.3f}", text(p["qps"]), f"{p['p50_ms']:.2f}", f"{p['p99_ms']:.2f}"]
                  for name, of in found.items() for p in of["search"]])
    return out


def sparse(results: dict[str, dict]) -> list[str]:
    """Indexes over sparse vectors."""
    found = {name: r["sparse"] for name, r in results.items() if "sparse" in r}
    if not found:
        return []
    first = next(iter(found.values()))
    out = ["## Sparse vectors", "",
           f"{first['rows']:,} passages of real texts with BM25 weights: {first['dimensions']:,} dimensions, "
           f"{first['terms']:.0f} of which are not zero on average; 200 held-out passages as queries.", ""]
    out += table(["", "metric", "build, s", "index, MB", "setting", "recall", "queries/s", "p50, ms", "p99, ms"],
                 [[name, metric, f"{one['build_seconds']:.1f}", f"{one['index_bytes'] / 1e6:.0f}", f"{p['effort']:g}",
                   f"{p['recall']:.3f}", text(p["qps"]), f"{p['p50_ms']:.2f}", f"{p['p99_ms']:.2f}"]
                  for name, of in found.items() for metric, one in of["metrics"].items() for p in one["search"]])
    return out

"""The report of a run: a table with ratios, and the curves as SVG."""

import math
from pathlib import Path

import plot
import report_upkeep
from functions import ROUNDS

# Shares of the rows that a filter lets pass.
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)


def at_recall(points: list[dict], wanted: float, key: str) -> float | None:
    """Queries per second at a recall, interpolated between the measured points (log scale)."""
    points = sorted(points, key=lambda p: p["recall"])
    for low, high in zip(points, points[1:]):
        if low["recall"] <= wanted <= high["recall"]:
            share = (wanted - low["recall"]) / max(high["recall"] - low["recall"], 1e-9)
            return math.exp(math.log(low[key]) * (1 - share) + math.log(high[key]) * share)
    return points[0][key] if points and points[0]["recall"] > wanted else None


def number(value: float | None, form: str = "{:.0f}") -> str:
    return "–" if value is None else form.format(value)


def quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def ratio(a: float | None, b: float | None) -> str:
    return number(quotient(a, b), "{:.1f}×")


def write(out: Path, results: dict) -> str:
    # Our index comes first, in whatever order they were measured.
    names = sorted((n for n in results if n not in ("machine", "data")), key=lambda n: not n.startswith("vector_search"))
    ours, rivals = names[0], names[1:]
    rows = []

    def line(label: str, value, form: str = "{:.0f}", smaller: bool = False, compared: bool = True) -> None:
        values = [value(results[n]) for n in names]
        if all(v is None for v in values):
            return
        ratios = [(ratio(v, values[0]) if smaller else ratio(values[0], v)) if compared else "" for v in values[1:]]
        rows.append([label, *[number(v, form) for v in values], *ratios])

    line("build, s", lambda r: r.get("build", {}).get("build_seconds"), "{:.1f}", True)
    line("build, MB of memory", lambda r: r.get("build", {}).get("peak_mb"), "{:.0f}", True)
    line("index, MB", lambda r: r["build"]["index_bytes"] / 1e6 if "build" in r else None, "{:.0f}", True)
    for wanted in (0.9, 0.95, 0.99):
        line(f"queries/s at recall {wanted}", lambda r: at_recall(r.get("search", []), wanted, "qps"))
    for wanted in (0.95, 0.99):
        line(f"p50 at recall {wanted}, ms", lambda r: at_recall(r.get("search", []), wanted, "p50_ms"), "{:.2f}", True)
        line(f"p99 at recall {wanted}, ms", lambda r: at_recall(r.get("search", []), wanted, "p99_ms"), "{:.2f}", True)
    line("queries/s, ten rows by primary key (the floor)", lambda r: r.get("floor", {}).get("qps"))
    for wanted in (0.95, 0.99):
        def above(r: dict) -> float | None:
            p50 = at_recall(r.get("search", []), wanted, "p50_ms")
            return p50 - r["floor"]["p50_ms"] if p50 and r.get("floor") else None

        line(f"p50 at recall {wanted} above the floor's, ms", above, "{:.2f}", True)
    if many := {p["connections"] for n in names for p in results[n].get("search", [])}:
        label = f"{many.pop()} connections"
        for wanted in (0.95, 0.99):
            line(f"queries/s, {label}, {wanted}", lambda r: at_recall(r.get("search", []), wanted, "qps_n"))
        line(f"queries/s of {label} by those of one, 0.95", lambda r: quotient(
            *[at_recall(r.get("search", []), 0.95, key) for key in ("qps_n", "qps")]), "{:.2f}", compared=False)
    line("first query after a restart, p50, ms", lambda r: r.get("cold", {}).get("p50_ms"), "{:.0f}", True)
    for column, btree, label in ((c, b, l + s) for b, s in ((False, ""), (True, ", B-tree"))
                                 for c, l in (("bucket", "filtered"), ("topic", "filtered, correlated"))):
        for share in SELECTIVITIES:
            def best(r: dict) -> dict:
                return best_filtered(r, (column, btree), share, by_default=r is results[ours])

            line(f"{label}, {share:.1%} pass: queries/s", lambda r: best(r).get("qps"))
            line(f"{label}, {share:.1%} pass: recall", lambda r: best(r).get("recall"), "{:.3f}")
    line("inserted rows/s", lambda r: r.get("insert"))
    line("VACUUM after deleting 10 %, s", lambda r: r.get("vacuum"), "{:.2f}", True)
    header = ["", *names, *[f"{ours.split()[0]} : {n}" for n in rivals]]
    table = ["| " + " | ".join(r) + " |" for r in [header, ["---"] * len(header), *rows]]
    m, d = results["machine"], results["data"]
    text = "\n".join([
        f"# {d['name']}", "",
        *([f"Data: {d['about']}.", ""] if d.get("about") else []),
        f"{d['rows']} rows × {d['dimensions']} dimensions, {d['queries']} held-out queries, {d.get('type', 'vector')}, {d['metric']}; "
        f"{m['cpu']} ({', '.join(m.get('flags', []))}), {m['cores']} cores, "
        f"{m.get('memory_gib', '?')} GiB; PostgreSQL {m['postgres']}, {m['extensions']} (pgvector as "
        "the embedded server's wheel has it: a portable build). One server, one run, warm (searches: the median of three rounds, all in turn), prepared statements with "
        "binary parameters and results by libpq (the client of one connection does not sleep while it waits, those of several do), JIT off, "
        f"`maintenance_work_mem` {m.get('maintenance_work_mem', '1GB')}, one parallel maintenance worker. A build's memory is "
        "that of the backend and its workers at once, and what they touched of the memory that they share.", "",
        "vector_search with its defaults (search: `ivf.recall_target` from .8 to .995); HNSW m 16, ef_construction 64, "
        "`ef_search` 10 to 800; IVFFlat rows/1000 lists. Filtered (by a number that has nothing to do with the vectors; "
        "correlated: by one that goes with the direction in which they differ most): vector_search's defaults with the "
        "columns in its index; HNSW with ef_search 40, 80 or 200 and strict iterative scan, IVFFlat with 10, 20 or 80 "
        "probes and relaxed iterative scan, whichever is fastest at recall .95; the planner chooses, where a line says so "
        "with a B-tree on the filter's column at hand.", "",
        *table, "", *notes(results[ours]), *beside({n: results[n] for n in names}),
        *report_upkeep.grow({n: results[n] for n in names}), *report_upkeep.scale(results[ours]),
        *report_upkeep.pressure({n: results[n] for n in names}), *report_upkeep.sparse({n: results[n] for n in names}),
        *figures(out, {n: results[n] for n in names})])
    (out / "report.md").write_text(text)
    if cells := results[ours].get("plans"):
        (out / "plans.md").write_text(plans(cells))
    if calls := results[ours].get("types"):
        (out / "types.md").write_text(types(calls))
    return text


def of_filter(result: dict, column: str, btree: bool, share: float) -> list[dict]:
    """The measurements with a filter. Earlier versions of the benchmark always had B-trees."""
    return [p for p in result.get("filter", [])
            if p["share"] == share and p["column"] == column and p.get("btree", True) == btree]


def best_filtered(result: dict, of: tuple[str, bool], share: float, by_default: bool) -> dict:
    """The fastest setting that reaches the recall, else the one with most recall; ours with its default."""
    points = of_filter(result, *of, share)
    if by_default:
        points = [p for p in points if p["effort"] == 0.95]
    enough = [p for p in points if p["recall"] >= 0.95] or sorted(points, key=lambda p: p["recall"])[-1:]
    return max(enough, key=lambda p: p["qps"], default={})


def plans(cells: list[dict]) -> str:
    """The table of the planner's choices."""
    good = sum(c["ratio"] <= 1.5 for c in cells)
    names = list(cells[0]["ms"])
    lines = ["# The planner's choice", "",
             "Median milliseconds of a query, by the plan that the planner chose and by the others, forced. Indexes: "
             "`USING ivf (e, bucket)` and a B-tree on `bucket`; for documents `ivf (e, (meta ->> 'tag'))`. The last column is the "
             f"chosen one by the best. {good} of {len(cells)} are within 1.5.", "",
             "| rows | question | " + " | ".join(names) + " | ratio |", "|" + " --- |" * (len(names) + 3)]
    for c in cells:
        ms = " | ".join(f"{c['ms'][n]:.2f}" for n in names)
        lines.append(f"| {c['rows']} | {c['question']} | {ms} | {c['ratio']:.2f} |")
    return "\n".join([*lines, ""])


def types(calls: list[dict]) -> str:
    """The table of the types' functions."""
    sizes = sorted({c["dims"] for c in calls})
    lines = ["# The types' functions", "",
             "Nanoseconds of a call by SQL, ours and pgvector's (a portable build), and how many times as fast ours is. What the "
             f"same statement takes without the calls is taken off; processor time, of {ROUNDS} rounds in turn that which a sixth "
             "of them fall short of.", "",
             "| call | " + " | ".join(f"{n} dimensions" for n in sizes) + " |", "|" + " --- |" * (len(sizes) + 1)]
    for name in dict.fromkeys(c["call"] for c in calls):
        cells = [next((c for c in calls if c["call"] == name and c["dims"] == n), None) for n in sizes]
        times = " | ".join(f"{c['ours']:.3g} : {c['theirs']:.3g} = {c['theirs'] / c['ours']:.2f}×" if c else "" for c in cells)
        lines.append(f"| `{name}` | {times} |")
    return "\n".join([*lines, ""])


def figures(out: Path, results: dict[str, dict]) -> list[str]:
    """Draws what was measured; the lines that show it."""
    lines = []

    def draw(name: str, title: str, svg: str | None) -> None:
        if svg:
            (out / f"{name}.svg").write_text(svg)
            lines.extend([f"![{title}]({name}.svg)", ""])

    searches = {name: [(p["recall"], p["qps"]) for p in r.get("search", [])] for name, r in results.items()}
    draw("recall-qps", "recall and queries per second",
         plot.curves(searches, ("recall@10", "queries per second, one connection"), log_y=True))
    for share in SELECTIVITIES:
        for btree in (False, True):
            points = {name: [(p["recall"], p["qps"]) for p in of_filter(r, "bucket", btree, share)]
                      for name, r in results.items()}
            having = ", B-tree" if btree else ""
            draw(f"filtered-{share:g}{'-btree' if btree else ''}",
                 f"filtered{having}: recall and queries per second, {share:.1%} pass",
                 plot.curves(points, ("recall@10", f"queries per second, {share:.1%} of the rows pass{having}"),
                             log_y=True))
    ours = next(iter(results.values()))
    asked = [(p["effort"], p["recall"]) for p in ours.get("search", []) if p["effort"] <= 0.99]
    draw("targets", "recall asked and achieved",
         plot.curves({"achieved": asked, "asked": [(t, t) for t, _ in asked]}, ("recall asked for", "recall achieved")))
    sizes = [(p["rows"], by_default(p)["p50_ms"]) for p in ours.get("scaling", [])]
    root = [(n, sizes[0][1] * math.sqrt(n / sizes[0][0])) for n, _ in sizes]
    draw("scaling", "rows and median time",
         plot.curves({"vector_search ivf": sizes, "square root of the rows": root}, ("rows", "median of a query, ms"),
                     log_x=True, log_y=True))
    speeds = {name: [(p["rows"], qps) for p in r.get("scaling", []) if (qps := at_recall(p["search"], 0.95, "qps"))]
              for name, r in results.items()}
    draw("grow", "codes read while an index grows, by those of a fresh build", report_upkeep.growth_curve(ours))
    draw("scaling-qps", "rows and queries per second at recall .95",
         plot.curves(speeds, ("rows", "queries per second at recall .95"), log_x=True, log_y=True))
    return lines


def by_default(point: dict) -> dict:
    """The search of our index with its default target."""
    return next(p for p in point["search"] if p["effort"] == 0.95)


def beside(results: dict[str, dict]) -> list[str]:
    """By number of rows: what each build takes, and the speed of each index at recall .95."""
    points = {name: {p["rows"]: p for p in r.get("scaling", [])} for name, r in results.items()}
    ours, *rivals = [name for name, by_rows in points.items() if by_rows] or [""]
    if not rivals:
        return []
    lines = ["Queries/s at recall .95 and, after the stroke, seconds of the build; then how many times as fast ours is.", "",
             "| rows | " + " | ".join([ours, *rivals, *rivals]) + " |", "|" + " --- |" * (2 + 2 * len(rivals))]
    for rows in points[ours]:
        both = {n: (at_recall(p["search"], 0.95, "qps"), p["build_seconds"])
                for n in (ours, *rivals) if (p := points[n].get(rows))}
        cells = [f"{number(both[n][0])} / {both[n][1]:.1f}" if n in both else "–" for n in (ours, *rivals)]
        ratios = [f"{ratio(both[ours][0], both[n][0])} / {ratio(both[n][1], both[ours][1])}" if n in both else "–"
                  for n in rivals]
        lines.append("| " + " | ".join([str(rows), *cells, *ratios]) + " |")
    return [*lines, ""]


def notes(ours: dict) -> list[str]:
    """The measurements of our index only."""
    out = []
    if targets := [p for p in ours.get("search", []) if p["effort"] <= 0.99]:
        out += ["Recall asked for and achieved on held-out queries: "
                + ", ".join(f"{p['effort']:g} → {p['recall']:.3f}" for p in targets)
                + f". Least margin: {min(p['recall'] - p['effort'] for p in targets):+.3f}.", ""]
    if small := ours.get("memory"):
        out += [f"Build at `maintenance_work_mem` 64 MB: {small['build_seconds']:.1f} s, "
                f"{small['peak_mb']:.0f} MB of anonymous memory at most.", ""]
    if cost := ours.get("column_cost"):
        out += [f"A filter column of 4 bytes: {cost['bytes_per_row']:.1f} bytes per row, {cost['qps_ratio']:.2f} times the "
                "queries/s of an index without it.", ""]
    if joined := ours.get("join"):
        out += [f"Many queries in one statement (LATERAL): {joined['join']:.0f} a second, {joined['ratio']:.2f} times single "
                "prepared ones.", ""]
    if none := [p for p in ours.get("filter", []) if p["share"] == 0]:
        out += [f"No row passes: {none[0]['p50_ms']:.2f} ms by the index, {none[0]['p99_ms']:.2f} ms at p99.", ""]
    if cold := ours.get("cold"):
        emptied = "was emptied" if cold["os_cache_emptied"] else "could not be emptied"
        out += [f"First queries: eight, each on a new connection after a restart of its own; the operating system's cache {emptied}.", ""]
    if points := ours.get("scaling"):
        out += ["| rows | build, s | index, MB | recall | queries/s | p50, ms | p99, ms |", "|" + " --- |" * 7]
        for p in points:
            usual = by_default(p)
            out.append(f"| {p['rows']} | {p['build_seconds']:.1f} | {p['index_bytes'] / 1e6:.0f} | {usual['recall']:.3f} | "
                       f"{usual['qps']:.0f} | {usual['p50_ms']:.2f} | {usual['p99_ms']:.2f} |")
        first, last = points[0], points[-1]
        out.append("")
        if len(points) > 1:
            slope = (math.log(by_default(last)["p50_ms"] / by_default(first)["p50_ms"])
                     / math.log(last["rows"] / first["rows"]))
            out += [f"The median time of a query grows as rows^{slope:.2f}.", ""]
        if last["mixtures"]:
            out += ["Rows beyond the data's are mixtures of real ones (benches/data.py), and the queries are real: unlike most "
                    "rows, by which the index calibrates itself, so that recall falls below the target.", ""]
    return out

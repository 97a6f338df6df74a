// Index: what it weighs, recall against speed, and a text that is found at once.

import {during, get, loading, post, stream} from "./api.js";
import {$, bytes, count, el, figures, ms, plural, section, statements} from "./dom.js";
import {curve} from "./curve.js";

let about,
    facts,
    points = [],
    exact = null;

export function start(given) {
    about = given;
    for (const each of about.categories) $("insert-categories").append(el("option", {value: each.category}));
    Object.entries(about.insert).forEach(([name, value]) => {
        $(`insert-${name}`).value = value;
    });
    $("curve-run").addEventListener("click", measure);
    $("insert-form").addEventListener("submit", event => {
        event.preventDefault();
        insert();
    });
    load();
}

const load = () => loading($("curve-status"), async () => show(await get("/api/index")));

function show(now) {
    facts = now;
    $("index-facts").replaceChildren(
        figures(
            [
                [count(now.rows), "rows", "rows"],
                [count(now.lists), "lists", "lists"],
                [
                    bytes(now.index_size),
                    `index, ${((100 * now.index_size) / now.table_size).toFixed(0)} % of the table`,
                    "index_size",
                ],
                [bytes(now.table_size), "table", "table_size"],
                [
                    `${now.bytes_per_row.toFixed(0)} bytes`,
                    `a row in the index, ${now.bits} bits a dimension`,
                    "bytes_per_row",
                ],
            ],
            "The index",
        ),
        statements(now.statements),
    );
    if (!points.length)
        $("curve-note").textContent =
            `${plural(now.questions, "question")} made of words of the texts, ` +
            `at ${now.targets.length} recall targets, compared with a sequential scan. It takes some seconds.`;
    $("index-written").replaceChildren(
        ...(now.written.length
            ? [
                  section(
                      "Written here",
                      {},
                      el(
                          "ul",
                          {class: "rows"},
                          now.written.map(each =>
                              el(
                                  "li",
                                  {},
                                  el(
                                      "h3",
                                      {},
                                      each.title,
                                      each.category && el("span", {class: "about"}, each.category),
                                  ),
                                  el("p", {}, each.body),
                                  el(
                                      "button",
                                      {
                                          type: "button",
                                          class: "plain",
                                          "aria-label": `Remove ${each.title}`,
                                          onclick: event => remove(each.id, event.currentTarget),
                                      },
                                      "Remove",
                                  ),
                              ),
                          ),
                      ),
                  ),
              ]
            : []),
    );
}

function measure() {
    const bar = $("curve-progress");
    during($("curve-status"), $("curve-run"), "Measuring…", async () => {
        points = [];
        exact = null;
        bar.hidden = false;
        try {
            await stream("/api/index/curve", {}, each => {
                if (each.error) throw new Error(each.error);
                if (each.done !== undefined) {
                    Object.assign(bar, {max: each.of, value: each.done});
                    $("curve-status").textContent = each.what === "done" ? "" : `Measuring: ${each.what}`;
                }
                if (each.exact) exact = each.exact;
                if (each.point) {
                    const place = points.findIndex(known => known.target === each.point.target);
                    points[place < 0 ? points.length : place] = each.point;
                    draw();
                }
            });
        } finally {
            bar.hidden = true;
        }
        $("curve-run").textContent = "Measure again";
    });
}

let target = null; // the chosen one; at first the session's own

function draw() {
    target ??= facts.recall_target;
    const place = points.findIndex(each => each.target === target);
    const slider = el("input", {
        type: "range",
        min: 0,
        max: points.length - 1,
        id: "curve-slider",
        "aria-label": "Recall target",
        value: place < 0 ? points.length - 1 : place,
    });
    const picture = el("figure"),
        said = el("div");
    const choose = () => {
        const each = points[slider.value];
        slider.setAttribute("aria-valuetext", String(each.target));
        picture.replaceChildren(
            curve(points, exact, Number(slider.value), Math.min($("curve").clientWidth, 736)),
        );
        said.replaceChildren(
            figures(
                [
                    [each.recall.toFixed(3), `recall, measured; the target is ${each.target}`, "recall"],
                    [ms(each.ms), "a query, on average", "ms"],
                    [
                        `${(exact.ms / each.ms).toFixed(1)}×`,
                        `as fast as a sequential scan (${ms(exact.ms)})`,
                        "ratio",
                    ],
                ],
                "At this target",
            ),
            el(
                "pre",
                {class: "sql", tabindex: "0"},
                el("code", {}, `SET ivf.recall_target = ${each.target};\n${exact.sql}\n-- ${each.read}`),
            ),
        );
    };
    slider.addEventListener("input", () => {
        target = points[slider.value].target;
        choose();
    });
    $("curve").replaceChildren(
        picture,
        el(
            "label",
            {class: "slider full"},
            el("span", {}, "Faster", el("span", {}, "Recall target"), "Exact"),
            slider,
        ),
        said,
    );
    choose();
    $("curve-note").textContent =
        `${plural(exact.questions, "question")}. A point is the mean over them, each in the ` +
        `fastest of ${exact.rounds} rounds (sequential scans: of ${exact.exact_rounds}), at the client.`;
}

function insert() {
    const text = $("insert-text").value.trim(),
        title = $("insert-name").value.trim();
    during(
        $("insert-status"),
        $("insert-form").querySelector("button"),
        "Writing and searching…",
        async () => {
            const result = await post("/api/index/insert", {
                title,
                text,
                category: $("insert-category").value,
                question: $("insert-question").value,
            });
            const {timings, place} = result;
            $("insert-result").replaceChildren(
                figures(
                    [
                        [
                            place ? `No. ${place}` : "–",
                            place ? "of the nearest, for the question" : "not among the nearest five",
                            "place",
                        ],
                        [ms(timings.insert_ms), "to insert text and vectors", "insert_ms"],
                        [ms(timings.find_ms), "the query that found it", "find_ms"],
                        [ms(timings.embed_ms), "embedding of the text", "embed_ms"],
                    ],
                    "Measured now",
                ),
                el(
                    "ol",
                    {class: "sources"},
                    result.rows.map(each =>
                        el(
                            "li",
                            {"data-passage": each.id, class: each.id === result.passage ? "own" : null},
                            el("h3", {}, each.title),
                            el("p", {}, each.body),
                            el("p", {class: "note"}, `distance ${each.distance.toFixed(3)}`),
                        ),
                    ),
                ),
                statements(result.statements),
            );
            show(await get("/api/index"));
        },
    );
}

const remove = (document, button) =>
    during($("insert-status"), button, "Removing…", async () => {
        await post("/api/index/remove", {document});
        show(await get("/api/index"));
    });

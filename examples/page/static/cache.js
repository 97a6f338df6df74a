// Cache: ask in other words; what was hit, how near, what it saved.

import {during, get, loading, post} from "./api.js";
import {$, ago, chips, count, el, figures, ms, plural, section, statements} from "./dom.js";

export function start() {
    $("cache-form").addEventListener("submit", event => {
        event.preventDefault();
        run();
    });
    $("cache-rate").addEventListener("change", () => {
        const rate = Number($("cache-rate").value);
        during($("cache-status"), $("cache-rate"), "Choosing…", async () =>
            state(await post("/api/cache/threshold", {rate})),
        );
    });
    loading($("cache-status"), async () => state(await get("/api/cache"), true));
}

function state(now, first = false) {
    const percent = rate => `${(100 * rate).toFixed(rate < 0.01 ? 1 : 0)} %`;
    const current = now.rates.filter(
        each => each.threshold !== null && Math.abs(each.threshold - now.threshold) < 1e-9,
    );
    $("cache-rate").replaceChildren(
        !current.length && el("option", {value: "", disabled: true, selected: true}, "none chosen"),
        ...now.rates.map(each =>
            el(
                "option",
                {value: each.rate, disabled: each.threshold === null, selected: current.at(-1) === each},
                percent(each.rate) + (each.threshold === null ? " (too few lookups)" : ""),
            ),
        ),
    );
    $("cache-threshold").textContent =
        `A question is a hit within cosine distance ${now.threshold.toFixed(4)}, ` +
        (current.length
            ? `chosen by ${count(now.labelled)} labelled lookups: within this distance ` +
              `${(100 * current.at(-1).false_hit_rate).toFixed(2)} % of them got a wrong answer.`
            : `set by hand: ${count(now.labelled)} labelled lookups are too few to choose one.`);
    const lookups = Object.fromEntries(now.statistics.map(each => [each.outcome, each]));
    const saved = now.statistics.reduce((sum, each) => sum + each.saved_ms, 0);
    $("cache-state").replaceChildren(
        figures(
            [
                [count(lookups.exact.lookups), "hits, same words", "exact"],
                [count(lookups.near.lookups), "hits, other words", "near"],
                [count(lookups.miss.lookups), "misses", "miss"],
                [ms(saved), "saved in total", "saved"],
                [count(now.entries), "answers stored", "entries"],
            ],
            "Counters",
        ),
        section(
            "Stored last",
            {},
            el(
                "ul",
                {class: "rows compact"},
                now.recent.map(each =>
                    el(
                        "li",
                        {},
                        el(
                            "button",
                            {type: "button", class: "plain", onclick: () => ask(each.question)},
                            each.question,
                        ),
                        el("span", {class: "note"}, `took ${ms(each.saved_ms)} · ${ago(each.created_at)}`),
                    ),
                ),
            ),
        ),
    );
    if (first) examples(now.recent);
}

function examples(recent) {
    const words = recent
        .map(each => /^What does (.+) mean\?$/.exec(each.question)?.[1])
        .filter(Boolean)
        .slice(0, 3);
    const phrases = [
        word => `define ${word}`,
        word => `What is the meaning of ${word}?`,
        word => `what does  ${word} MEAN?`,
    ];
    $("cache-result").replaceChildren(
        el(
            "div",
            {class: "empty"},
            el(
                "p",
                {},
                "The cache has answers to questions such as those below. Ask for one in other words:",
            ),
            chips(
                words.map((word, i) => phrases[i](word)),
                ask,
            ),
        ),
    );
}

function ask(question) {
    $("cache-question").value = question;
    $("cache-question").scrollIntoView({block: "nearest"});
    run();
}

function run() {
    const question = $("cache-question").value.trim();
    if (!question) return;
    during($("cache-status"), $("cache-form").querySelector("button"), "Looking…", async () => {
        const result = await post("/api/cache/ask", {question});
        $("cache-result").replaceChildren(...shown(result));
        state(await get("/api/cache"));
    });
}

const OUTCOMES = {exact: "Hit: the same words", near: "Hit: other words", miss: "Miss: computed and stored"};

function shown(result) {
    const {timings} = result;
    const why = {
        exact: () => "Found by its hash. No embedding was needed.",
        near: () =>
            `“${result.question}” was asked ${ago(result.created_at)}, at distance ${result.distance.toFixed(4)} ` +
            `(threshold ${result.threshold.toFixed(4)}).`,
        miss: () =>
            result.nearest
                ? `The nearest, “${result.nearest.question}”, is at distance ` +
                  `${result.nearest.distance.toFixed(4)}, beyond the threshold ${result.threshold.toFixed(4)}.`
                : "The cache was empty.",
    }[result.outcome]();
    const lookup = timings.exact_ms + (timings.near_ms ?? 0);
    return [
        el(
            "section",
            {class: "answer", "aria-label": "Answer", "data-outcome": result.outcome, "data-id": result.id},
            el("p", {class: `badge ${result.outcome}`}, OUTCOMES[result.outcome]),
            el("p", {class: "why"}, why),
            el(
                "div",
                {class: "sentences"},
                result.answer.split("\n").map(line => el("p", {}, line)),
            ),
            el(
                "div",
                {class: "origin"},
                el("span", {class: "note"}, "Made from "),
                result.sources.map(source =>
                    el(
                        "button",
                        {
                            type: "button",
                            class: "source",
                            title: "This source has changed: " + "remove every answer made from it",
                            onclick: () => invalidate(source),
                        },
                        source,
                        el("span", {"aria-hidden": "true"}, " ×"),
                    ),
                ),
            ),
        ),
        figures(
            [
                [ms(lookup), "lookup in the cache", "lookup_ms"],
                timings.embed_ms !== undefined && [
                    ms(timings.embed_ms),
                    "embedding of the question",
                    "embed_ms",
                ],
                result.outcome === "miss"
                    ? [ms(timings.compute_ms), "to compute the answer, without embedding", "compute_ms"]
                    : [ms(result.saved_ms), "saved: what the answer took", "saved_ms"],
            ].filter(Boolean),
            "Measured now",
        ),
        statements(result.statements),
    ];
}

function invalidate(source) {
    during($("cache-status"), $("cache-form").querySelector("button"), "Forgetting…", async () => {
        const now = await post("/api/cache/invalidate", {source});
        $("cache-result").replaceChildren(
            el(
                "p",
                {class: "empty"},
                `${plural(now.gone, "answer")} made from “${source}” ${now.gone === 1 ? "is" : "are"} gone.`,
            ),
        );
        state(now);
    });
}

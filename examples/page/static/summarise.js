// Summarise: the sentences that stand for a text, shown where they are in it.

import {get, latest, loading, post} from "./api.js";
import {$, el, figures, ms, plural, section, statements} from "./dom.js";

export function start() {
    for (const name of ["most", "relevance"]) $(`summarise-${name}`).addEventListener("input", shown);
    for (const name of ["most", "relevance", "text"])
        $(`summarise-${name}`).addEventListener("change", () => {
            chosen();
            if (ready()) run();
        });
    $("summarise-question").addEventListener("change", () => {
        $("summarise-relevance").value = $("summarise-question").value.trim() ? 70 : 60;
        shown();
    });
    $("summarise-form").addEventListener("submit", event => {
        event.preventDefault();
        run();
    });
    shown();
    loading($("summarise-status"), async () => {
        const {texts} = await get("/api/summarise");
        $("summarise-text").append(
            ...texts.map(each =>
                el("option", {value: each.id}, `${each.title} (${plural(each.sentences, "sentence")})`),
            ),
        );
        empty();
    });
}

const button = () => $("summarise-form").querySelector("button");
const ready = () => $("summarise-text").value || $("summarise-pasted").value.trim();

function empty() {
    $("summarise-result").replaceChildren(
        el(
            "p",
            {class: "empty"},
            "Choose a text above, or paste one. " +
                "The summary is made of its own sentences: those that cover it best without repeating each other.",
        ),
    );
}

function chosen() {
    $("summarise-pasted").hidden = Boolean($("summarise-text").value);
    if (!ready()) empty();
}

function shown() {
    $("summarise-most-shown").textContent = $("summarise-most").value;
    const share = Number($("summarise-relevance").value);
    $("summarise-relevance-shown").textContent = `${100 - share} : ${share}`;
    $("summarise-relevance").setAttribute(
        "aria-valuetext",
        `${share} percent relevant, ${100 - share} percent varied`,
    );
}

function run() {
    const document = Number($("summarise-text").value) || null;
    latest(
        $("summarise-status"),
        button(),
        document ? "Summarising…" : "Embedding the sentences, then summarising…",
        async () => {
            const result = await post("/api/summarise", {
                document,
                text: document ? "" : $("summarise-pasted").value,
                question: $("summarise-question").value,
                most: Number($("summarise-most").value),
                relevance: Number($("summarise-relevance").value) / 100,
            });
            $("summarise-result").replaceChildren(...view(result));
        },
    );
}

function view(result) {
    const chosen = new Set(result.summary.map(each => each.position));
    const {quality, first, timings} = result;
    const number = value => value?.toFixed(2) ?? "–";
    return [
        section(
            "Summary",
            {class: "answer"},
            el(
                "ol",
                {class: "sentences"},
                result.summary.map(each =>
                    el(
                        "li",
                        {"data-position": each.position},
                        each.body,
                        "\u00a0",
                        el(
                            "a",
                            {class: "cite", href: `#sentence-${each.position}`, onclick: go},
                            `[${each.position}]`,
                        ),
                    ),
                ),
            ),
            el(
                "p",
                {class: "note"},
                "Extractive: sentences of the text in their order. No language model wrote this.",
            ),
        ),
        figures(
            [
                [
                    number(quality.coverage),
                    `coverage; the first ${result.summary.length}: ${number(first.coverage)}`,
                    "coverage",
                ],
                [
                    number(quality.redundancy),
                    `redundancy; the first ${result.summary.length}: ${number(first.redundancy)}`,
                    "redundancy",
                ],
                [ms(timings.select_ms), "to choose the sentences", "select_ms"],
                timings.embed_ms > 0 && [ms(timings.embed_ms), "embeddings", "embed_ms"],
            ].filter(Boolean),
            "Measured now",
        ),
        el(
            "p",
            {class: "note"},
            "Coverage: mean similarity of each sentence of the text to the nearest chosen one. " +
                "Redundancy: similarity of each chosen one to the most similar other.",
        ),
        el(
            "section",
            {"aria-label": "The whole text"},
            el("h2", {}, `The whole text, ${plural(result.sentences.length, "sentence")}`),
            el(
                "div",
                {class: "text", tabindex: "0"},
                result.sentences.map(each =>
                    chosen.has(each.position)
                        ? [el("mark", {id: `sentence-${each.position}`, tabindex: "-1"}, each.body), " "]
                        : `${each.body} `,
                ),
            ),
        ),
        statements(result.statements),
    ];
}

function go(event) {
    event.preventDefault();
    const target = document.getElementById(event.currentTarget.getAttribute("href").slice(1));
    target.scrollIntoView({block: "center"});
    target.focus();
}

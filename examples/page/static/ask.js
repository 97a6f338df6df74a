// Ask: a question, its answer with sources, and how it was found.

import {latest, post} from "./api.js";
import {$, chips, count, el, figures, ms, statements} from "./dom.js";

let about;

export function start(given) {
  about = given;
  for (const each of about.categories)
    $("ask-category").append(el("option", {value: each.category}, `${each.category} (${count(each.passages)})`));
  $("ask-since-label").hidden = !about.first;
  if (about.first) Object.assign($("ask-since"), {min: about.first, max: about.last});
  $("ask-meaning").addEventListener("input", meaning);
  $("ask-form").addEventListener("submit", event => { event.preventDefault(); run(); });
  for (const field of ["ask-category", "ask-since", "ask-meaning"])
    $(field).addEventListener("change", () => { if ($("ask-question").value.trim()) run(); });
  meaning();
  empty();
}

function meaning() {
  const share = Number($("ask-meaning").value);
  $("ask-meaning-shown").textContent = `${100 - share} : ${share}`;
  $("ask-meaning").setAttribute("aria-valuetext", `${100 - share} percent words, ${share} percent meaning`);
}

function empty() {
  $("ask-result").replaceChildren(el("div", {class: "empty"}, el("p", {}, "For example:"),
    chips(about.examples, text => { $("ask-question").value = text; run(); })));
}

function run() {
  const question = $("ask-question").value.trim();
  if (!question) return empty();
  latest($("ask-status"), $("ask-form").querySelector("button"), "Searching, and measuring the search…", async () => {
    const result = await post("/api/ask", {question, category: $("ask-category").value || null,
      since: $("ask-since").value || null, meaning: Number($("ask-meaning").value) / 100});
    $("ask-result").replaceChildren(...shown(result));
  });
}

function shown(result) {
  if (result.sources.length === 0)
    return [el("p", {class: "empty"}, "No passage passes these filters.")];
  const {timings} = result;
  return [
    el("section", {class: "answer", "aria-label": "Answer"}, el("h2", {}, "Answer"),
      result.far && el("p", {class: "warning"},
        `Nothing in the texts is near this question (distance ${result.nearest.toFixed(2)}). The nearest are:`),
      answer(result),
      el("p", {class: "note"}, "Extractive: sentences of the texts, chosen by SQL. No language model wrote this.")),
    figures([
      [ms(timings.index_ms), "nearest 10, by the index", "index_ms"],
      [ms(timings.exact_ms), "the same, by an exact scan", "exact_ms"],
      [`${timings.found} of ${timings.of}`, "of the true nearest, found", "recall"],
      [ms(timings.search_ms), "hybrid search and answer", "search_ms"],
      [ms(timings.embed_ms), "embedding of the question", "embed_ms"],
    ], "Measured now"),
    el("p", {class: "note"}, "Measured just now on this machine: medians of five runs each, at the client."),
    el("section", {"aria-label": "Sources"}, el("h2", {}, "Sources"),
      el("ol", {class: "sources"}, result.sources.map(source))),
    statements(result.statements),
  ];
}

function answer(result) {
  const bodies = new Map(result.sources.map(each => [each.number, each]));
  return el("div", {class: "sentences"}, result.answer.map(each => {
    const from = bodies.get(each.number);
    const alone = from.body === each.body;
    return el("p", {"data-passage": each.passage, "data-position": each.position},
      alone && el("b", {}, `${from.title}: `), each.body, "\u00a0",
      el("a", {href: `#source-${each.number}`, class: "cite", onclick: go}, `[${each.number}]`));
  }));
}

function go(event) {
  event.preventDefault();
  const target = document.getElementById(event.currentTarget.getAttribute("href").slice(1));
  target.scrollIntoView({block: "center"});
  target.focus();
}

function source(each) {
  const about = [each.section, each.category, each.published].filter(Boolean).join(" · ");
  return el("li", {id: `source-${each.number}`, tabindex: "-1", "data-passage": each.passage},
    el("h3", {}, each.title, about && el("span", {class: "about"}, about)),
    el("p", {}, each.body),
    el("p", {class: "note"}, `${each.source} · distance ${each.distance.toFixed(3)} · score ${each.score.toFixed(4)}`));
}

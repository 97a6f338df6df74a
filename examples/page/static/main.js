// Tabs, keys, and what all views share.

import {get} from "./api.js";
import {$, count} from "./dom.js";
import * as ask from "./ask.js";
import * as cache from "./cache.js";
import * as chat from "./chat.js";
import * as index from "./index.js";
import * as summarise from "./summarise.js";

const views = {ask, chat, summarise, cache, index};
const tabs = [...document.querySelectorAll("[role=tab]")];
const started = new Set();
let about = null;

function show(name, focus = false) {
    for (const tab of tabs) {
        const chosen = tab.getAttribute("aria-controls") === name;
        tab.setAttribute("aria-selected", chosen);
        tab.tabIndex = chosen ? 0 : -1;
        $(tab.getAttribute("aria-controls")).hidden = !chosen;
        if (chosen) document.title = `${tab.textContent} · vector_search`;
        if (chosen && focus) tab.focus();
    }
    if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
    if (about && views[name] && !started.has(name)) {
        started.add(name);
        views[name].start(about);
    }
    views[name]?.shown?.();
}

const wanted = () =>
    tabs.some(tab => tab.getAttribute("aria-controls") === location.hash.slice(1))
        ? location.hash.slice(1)
        : "ask";

tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => show(tab.getAttribute("aria-controls")));
    tab.addEventListener("keydown", event => {
        const to = {ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1}[event.key];
        if (to === undefined) return;
        event.preventDefault();
        show(tabs[(to + tabs.length) % tabs.length].getAttribute("aria-controls"), true);
    });
});

document.addEventListener("keydown", event => {
    const writing = event.target.matches("input:not([type=range]), textarea, select");
    if (event.key === "Escape" && writing) event.target.blur();
    if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key >= "1" && event.key <= String(tabs.length))
        show(tabs[event.key - 1].getAttribute("aria-controls"), true);
    if (event.key === "/") {
        event.preventDefault();
        document.querySelector("[role=tabpanel]:not([hidden]) [data-first]")?.focus();
    }
});
window.addEventListener("hashchange", () => show(wanted()));

async function start() {
    try {
        about = await get("/api/about");
        $("about").textContent = `${count(about.passages)} passages · ${about.name}`;
    } catch (error) {
        $("about").textContent = error.message;
        $("about").className = "error";
        setTimeout(start, 3000);
        return;
    }
    $("about").className = "";
    if (about.model)
        $("where").textContent = `All but the language model, ${about.model}, runs on this machine.`;
    show(wanted());
}

show(wanted());
start();

// Small helpers. Text is always set as text, never as HTML.

export const $ = id => document.getElementById(id);

/** An element: el("p", {class: "note"}, "text", child, …). Properties named "on…" are listeners. */
export function el(tag, properties = {}, ...children) {
    const made = tag.startsWith("svg:")
        ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
        : document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
        else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat(3).filter(each => each !== null && each !== undefined && each !== false));
    return made;
}

/** A section with a heading, which is its name for screen readers too. */
export const section = (title, properties, ...children) =>
    el("section", {"aria-label": title, ...properties}, el("h2", {}, title), ...children);

/** Milliseconds as people read them. */
export function ms(value) {
    if (value === 0) return "0 ms";
    if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
    return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

export const count = value => Number(value).toLocaleString("en");

export function bytes(value) {
    for (const [unit, size] of [
        ["GB", 1e9],
        ["MB", 1e6],
        ["kB", 1e3],
    ])
        if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
    return `${value} bytes`;
}

export const plural = (number, one, many = one + "s") =>
    `${count(number)} ${Number(number) === 1 ? one : many}`;

/** How long ago, roughly. */
export function ago(time) {
    const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
    for (const [unit, length] of [
        ["year", 31557600],
        ["month", 2629800],
        ["day", 86400],
        ["hour", 3600],
        ["minute", 60],
    ])
        if (seconds >= length) return `${plural(Math.floor(seconds / length), unit)} ago`;
    return "just now";
}

/** A row of figures: [[value, what it is], …] */
export function figures(pairs, label) {
    return el(
        "dl",
        {class: "figures", "aria-label": label},
        pairs.map(([value, what, key]) =>
            el("div", {"data-key": key}, el("dt", {}, what), el("dd", {}, value)),
        ),
    );
}

let copies = 0;

/** The statements that ran: SQL, parameters, plan. */
export function statements(list, open = false) {
    return el(
        "section",
        {class: "statements", "aria-label": "SQL"},
        el("h2", {}, "The SQL that ran"),
        list.map(each => {
            const said = el("span", {class: "copied", role: "status", id: `copied-${++copies}`});
            const copy = async () => {
                try {
                    await navigator.clipboard.writeText(each.psql);
                    said.textContent = "Copied";
                } catch {
                    said.textContent = "The browser does not allow it";
                }
                setTimeout(() => {
                    said.textContent = "";
                }, 2000);
            };
            return el(
                "details",
                {open, "data-psql": each.psql},
                el(
                    "summary",
                    {},
                    el("span", {}, each.name),
                    el("span", {class: "ms"}, `${plural(each.rows, "row")}, ${ms(each.milliseconds)}`),
                ),
                el("pre", {class: "sql", tabindex: "0"}, el("code", {}, each.sql)),
                each.parameters.length > 0 &&
                    el(
                        "ol",
                        {class: "parameters"},
                        each.parameters.map((value, i) =>
                            el(
                                "li",
                                {},
                                el("span", {}, `$${i + 1}`),
                                el("code", {}, value === "" ? "''" : value),
                            ),
                        ),
                    ),
                each.plan && el("h3", {}, "EXPLAIN (ANALYZE)"),
                each.plan && el("pre", {class: "plan", tabindex: "0"}, each.plan.map(planLine)),
                el(
                    "p",
                    {class: "copy"},
                    el("button", {type: "button", onclick: copy}, "Copy for psql"),
                    said,
                ),
            );
        }),
    );
}

/** A line of a plan; what the index says of its scan stands out. */
function planLine(line) {
    const said = line.search(/IVF:|ivf_last_scan/);
    return said < 0 ? line + "\n" : [line.slice(0, said), el("mark", {}, line.slice(said)), "\n"];
}

/** Chips that fill a field. */
export function chips(texts, choose) {
    return el(
        "ul",
        {class: "chips"},
        texts.map(text => el("li", {}, el("button", {type: "button", onclick: () => choose(text)}, text))),
    );
}

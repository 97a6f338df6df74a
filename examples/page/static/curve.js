// The curve of recall and speed, an SVG made of measured points.

import {el, ms} from "./dom.js";

const HEIGHT = 300,
    LEFT = 56,
    RIGHT = 20,
    TOP = 28,
    BOTTOM = 44;

/** Round numbers between two values, about four. */
function ticks(low, high) {
    const raw = (high - low) / 4 || 1;
    const step =
        10 ** Math.floor(Math.log10(raw)) *
        [1, 2, 5, 10].find(each => each * 10 ** Math.floor(Math.log10(raw)) >= raw);
    const first = Math.ceil(low / step) * step;
    return Array.from({length: Math.floor((high - first) / step + 1e-9) + 1}, (_, i) => first + i * step);
}

/** @param points measured: {target, recall, ms, per_second}; chosen: the place of the one that stands out;
 *  WIDTH: in pixels. */
export function curve(points, exact, chosen, WIDTH) {
    const low = Math.min(0.995, ...points.map(each => each.recall));
    const from = Math.floor(low * 100 - 0.5) / 100;
    const high = Math.max(...points.map(each => each.per_second)) * 1.08;
    const x = recall => LEFT + ((recall - from) / (1 - from)) * (WIDTH - LEFT - RIGHT);
    const y = speed => HEIGHT - BOTTOM - (speed / high) * (HEIGHT - TOP - BOTTOM);
    const ordered = [...points].sort((a, b) => a.recall - b.recall || b.per_second - a.per_second);
    const text = (at, down, words, anchor = "middle") =>
        el("svg:text", {x: at, y: down, "text-anchor": anchor}, words);
    return el(
        "svg:svg",
        {
            viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
            role: "img",
            class: "curve",
            "aria-label": `Recall and queries per second: ${points.map(point => described(point)).join(", ")}`,
        },
        ticks(0, high).map(speed => [
            el("svg:line", {x1: LEFT, x2: WIDTH - RIGHT, y1: y(speed), y2: y(speed), class: "grid"}),
            text(LEFT - 8, y(speed) + 4, speed.toLocaleString("en"), "end"),
        ]),
        ticks(from, 1).map(recall =>
            text(
                x(recall),
                HEIGHT - BOTTOM + 18,
                recall.toFixed((recall * 100) % 1 > 0.001 && 1 - from < 0.02 ? 3 : 2),
            ),
        ),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "recall of the nearest ten"),
        text(0, 12, "queries per second", "start"),
        exact &&
            el("svg:line", {
                x1: LEFT,
                x2: WIDTH - RIGHT,
                y1: y(1000 / exact.ms),
                y2: y(1000 / exact.ms),
                class: "exact",
            }),
        exact &&
            text(
                LEFT + 6,
                y(1000 / exact.ms) - 6,
                `sequential scan: ${(1000 / exact.ms).toFixed(0)} per second`,
                "start",
            ),
        el("svg:polyline", {
            points: ordered.map(each => `${x(each.recall)},${y(each.per_second)}`).join(" "),
            class: "line",
        }),
        points.map((each, place) =>
            el(
                "svg:circle",
                {
                    cx: x(each.recall),
                    cy: y(each.per_second),
                    r: place === chosen ? 6.5 : 3.5,
                    class: place === chosen ? "chosen" : "point",
                    "data-target": each.target,
                },
                el(
                    "svg:title",
                    {},
                    `target ${each.target}: recall ${each.recall.toFixed(4)}, ${ms(each.ms)}`,
                ),
            ),
        ),
    );
}

const described = point => `${point.recall.toFixed(3)}: ${point.per_second.toFixed(0)}`;

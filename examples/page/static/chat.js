// Chat: what one says, and which earlier messages are remembered for it, and why.

import {during, get, loading, post, stream} from "./api.js";
import {$, ago, chips, count, el, ms, plural, statements} from "./dom.js";

const HALVES = [1, 3, 7, 30, 90, 365, 3650]; // days
let about,
    conversation = null;

const person = () => $("chat-person").value;

export function start(given) {
    about = given;
    $("chat-person").append(...about.people.map(name => el("option", {value: name}, name)));
    $("chat-person").addEventListener("change", () => choosePerson());
    $("chat-conversation").addEventListener("change", () => open($("chat-conversation").value));
    $("chat-half").addEventListener("input", half);
    $("chat-form").addEventListener("submit", event => {
        event.preventDefault();
        say();
    });
    half();
    choosePerson();
}

function half() {
    const days = HALVES[$("chat-half").value];
    const shown = days >= 365 ? plural(Math.round(days / 365), "year") : plural(days, "day");
    $("chat-half-shown").textContent = shown;
    $("chat-half").setAttribute("aria-valuetext", shown);
}

const button = () => $("chat-form").querySelector("button");

function choosePerson() {
    offer([]);
    return loading($("chat-status"), async () => {
        await list();
        await messages("");
    });
}

async function list(chosen = "") {
    const {conversations} = await get(`/api/chat?person=${encodeURIComponent(person())}`);
    offer(conversations);
    $("chat-conversation").value = chosen;
}

function offer(conversations) {
    $("chat-conversation").replaceChildren(
        el("option", {value: ""}, "A new conversation"),
        ...conversations.map(each =>
            el(
                "option",
                {value: each.conversation},
                `${ago(each.last)}, ${plural(each.messages, "message")}: ${each.longest.slice(0, 60)}`,
            ),
        ),
    );
}

const open = id => loading($("chat-status"), () => messages(id));

async function messages(id) {
    conversation = id ? Number(id) : null;
    $("chat-sql").replaceChildren();
    if (conversation === null) {
        $("chat-messages").replaceChildren(
            el(
                "li",
                {class: "empty"},
                `Say something to ${person()}’s memory. Nothing of another person is in it.`,
                chips(about.openers, text => {
                    $("chat-text").value = text;
                    say();
                }),
            ),
        );
        $("chat-memory").replaceChildren(
            el("h2", {}, "Remembered"),
            el("p", {class: "empty"}, "What was said before and matters now will be shown here, and why."),
        );
        return;
    }
    const result = await get(
        `/api/chat/messages?person=${encodeURIComponent(person())}&conversation=${conversation}`,
    );
    $("chat-messages").replaceChildren(...result.messages.map(message));
    $("chat-memory").replaceChildren(...summary(result.summary));
    toEnd();
}

function toEnd() {
    $("chat-messages").scrollTop = $("chat-messages").scrollHeight;
}

function message(each) {
    return el(
        "li",
        {class: each.sender === person() ? "own" : null, "data-id": each.id},
        el("span", {class: "note"}, `${each.sender} · ${ago(each.sent_at)}`),
        el("p", {}, each.body),
    );
}

function say() {
    const text = $("chat-text").value.trim();
    if (!text) return $("chat-text").focus();
    const speaker = person(); // who may be another one when the answer comes
    during($("chat-status"), button(), "Remembering…", async () => {
        const result = await post("/api/chat/say", {
            person: speaker,
            conversation,
            text,
            half_life: HALVES[$("chat-half").value],
        });
        const isNew = conversation === null;
        conversation = result.message.conversation;
        if (isNew) $("chat-messages").replaceChildren();
        $("chat-text").value = "";
        $("chat-messages").append(message(result.message));
        $("chat-memory").replaceChildren(...remembered(result), ...summary(result.summary));
        $("chat-sql").replaceChildren(
            el(
                "details",
                {class: "context"},
                el(
                    "summary",
                    {},
                    el("span", {}, "What a language model would be given"),
                    el("span", {class: "ms"}, `${count(result.context.length)} characters`),
                ),
                el("pre", {tabindex: "0"}, result.context),
            ),
            statements(result.statements),
        );
        await reply(result, speaker, text);
        toEnd();
        if (isNew) await list(String(conversation));
    });
}

/** Generated if there is a language model; otherwise what was remembered, and that it is that. */
async function reply(result, speaker, text) {
    if (about.model) {
        const body = el("p"),
            made = el("li", {}, el("span", {class: "note"}, `${about.model} · generated`), body);
        $("chat-messages").append(made);
        try {
            await stream("/api/chat/generate", {person: speaker, conversation, text}, each => {
                if (each.error) throw new Error(each.error);
                if (each.text) {
                    body.textContent += each.text;
                    toEnd();
                }
                if (each.message) made.dataset.id = each.message.id;
            });
            return;
        } catch (error) {
            made.remove();
            $("chat-messages").append(
                el("li", {class: "failed"}, el("p", {class: "warning"}, error.message)),
            );
        }
    }
    const best = [...result.recalled].sort((a, b) => b.score - a.score)[0];
    $("chat-messages").append(
        el(
            "li",
            {class: "extract"},
            el("span", {class: "note"}, "from memory · extractive, no language model"),
            el(
                "p",
                {},
                result.remembers
                    ? `${ago(best.sent_at)}, ${best.sender} said: “${best.body}”`
                    : "I remember nothing about that.",
            ),
        ),
    );
}

function remembered(result) {
    return [
        el("h2", {}, "Remembered"),
        result.recalled.length === 0 && el("p", {class: "empty"}, "Nothing yet: this memory is empty."),
        el(
            "ol",
            {class: "memories"},
            result.recalled.map(each =>
                el(
                    "li",
                    {"data-id": each.id},
                    el("p", {}, each.body),
                    el("p", {class: "note"}, `${each.sender} · ${ago(each.sent_at)}`),
                    el(
                        "div",
                        {
                            class: "why",
                            role: "img",
                            "aria-label":
                                `similarity ${each.similarity.toFixed(2)} times weight of age ` +
                                `${each.weight.toFixed(2)} is score ${each.score.toFixed(2)}`,
                        },
                        bar("similar", each.similarity),
                        bar("recent", each.weight),
                        bar("score", each.score),
                    ),
                ),
            ),
        ),
        el(
            "p",
            {class: "note"},
            `Score = similarity × weight of age. Recalled in ${ms(result.timings.recall_ms)}.`,
        ),
    ].filter(Boolean);
}

function bar(name, value) {
    const meter = el(
        "svg:svg",
        {viewBox: "0 0 100 4", preserveAspectRatio: "none", class: "meter"},
        el("svg:rect", {width: 100, height: 4, class: "rest"}),
        el("svg:rect", {width: Math.max(0, Math.min(1, value)) * 100, height: 4, class: "part"}),
    );
    return el(
        "div",
        {class: name},
        el("span", {}, name),
        el("span", {class: "number"}, value.toFixed(2)),
        meter,
    );
}

function summary(rows) {
    return rows.length
        ? [
              el("h2", {}, "Running summary"),
              el(
                  "ul",
                  {class: "summary"},
                  rows.map(each =>
                      el("li", {"data-id": each.id}, el("b", {}, `${each.sender}: `), each.body),
                  ),
              ),
          ]
        : [];
}

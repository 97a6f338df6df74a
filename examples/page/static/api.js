// Requests, and what is shown while they run and when they fail.

async function failure(response) {
    try {
        return (await response.json()).error;
    } catch {
        return `The server answers ${response.status}.`;
    }
}

async function send(path, body) {
    const options =
        body === undefined
            ? {}
            : {
                  method: "POST",
                  headers: {"Content-Type": "application/json"},
                  body: JSON.stringify(body),
              };
    let response;
    try {
        response = await fetch(path, options);
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Error("The page's server does not answer. Is it running? make demo starts it.");
    }
    if (!response.ok) throw new Error(await failure(response));
    return response;
}

export const get = async path => (await send(path)).json();
export const post = async (path, body) => (await send(path, body)).json();

/** The lines of an answer that comes bit by bit, each a JSON value. */
export async function stream(path, body, each) {
    const reader = (await send(path, body)).body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        lines.filter(Boolean).forEach(line => each(JSON.parse(line)));
    }
}

const next = new WeakMap();

/** As during, for work that a change of a field starts: the last change made meanwhile is done after it. */
export async function latest(status, button, words, work) {
    if (button.disabled) return next.set(button, [status, words, work]);
    await during(status, button, words, work);
    const waiting = next.get(button);
    next.delete(button);
    if (waiting) await latest(waiting[0], button, waiting[1], waiting[2]);
}

const running = new WeakMap();

/**
 * Runs work with a note that it runs, a button that cannot be pressed twice, and errors in words. Pieces of work
 * with the same status run one after another.
 */
export async function during(status, button, words, work) {
    if (button?.disabled) return;
    if (button) button.disabled = true;
    const turn = inTurn(running.get(status), status, button, words, work);
    running.set(status, turn);
    await turn;
}

/** Runs the work that a view begins with. No button waits: what is asked meanwhile is done afterwards. */
export const loading = (status, work) => during(status, null, "Loading…", work);

async function inTurn(before, status, button, words, work) {
    await before;
    status.className = "status busy";
    status.textContent = words;
    try {
        await work();
        status.className = "status";
        status.textContent = "";
    } catch (error) {
        status.className = "status error";
        status.setAttribute("role", "alert");
        status.textContent = error.message;
    } finally {
        if (button) button.disabled = false;
    }
}

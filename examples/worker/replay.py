"""Replays chat messages with duplicates, edits and deletes into a watched table, and checks that no text is lost and
none is embedded twice; then once more while workers and the server are killed. The model is stub.py.

    replay.py MESSAGES KILLS COMMAND...

COMMAND starts the server, which PG* variables name, after it was killed."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable

import numpy as np
import psycopg

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import corpora
from stub import DIMENSIONS, KEY, POISON, Stub, vector

logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # of pipelines that ended with the server
BATCH = 64
CHUNK = 100


def check(right: bool, what: str) -> None:
    if not right:
        raise SystemExit(f"error: {what}")


def connect() -> psycopg.Connection:
    """Waits for a server that is being started again."""
    while True:
        try:
            return psycopg.connect(autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)


def ask(sql: str, *values: object) -> list[tuple]:
    with connect() as db:
        return db.execute(sql, values).fetchall()


class Workers:
    """Processes of worker.py, by model."""

    def __init__(self, url: str, *names: str) -> None:
        self.environment = os.environ | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}
        self.all = [(name, self.start(name)) for name in names]

    def start(self, name: str, *more: str) -> subprocess.Popen:
        command = [sys.executable, HERE / "worker.py", name, "--batch", str(BATCH), "--attempts", "3", *more]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)

    def replace(self, place: int, how: signal.Signals) -> None:
        name, process = self.all[place]
        check(process.poll() is None, f"a worker of {name} ended by itself")
        process.send_signal(how)
        process.wait()
        self.all[place] = (name, self.start(name))

    def end(self) -> None:
        for name, process in self.all:
            process.terminate()
        for name, process in self.all:
            check(process.wait() == 0, f"a worker of {name} ended with {process.returncode}")


def write_chunk(db: psycopg.Connection, number: int, texts: list[str]) -> None:
    """One transaction: inserts, of which a tenth repeats an earlier text; then edits and deletes of earlier rows."""
    chance = random.Random(number)
    texts = [chance.choice(texts) if chance.random() < 0.1 else each for each in texts]
    with db.transaction(), db.cursor() as cursor:
        cursor.execute("INSERT INTO written VALUES (%s)", (number,))
        cursor.executemany("INSERT INTO chat (body) VALUES (%s)", [(each,) for each in texts])
        (last,) = cursor.execute("SELECT max(id) FROM chat").fetchone()
        chosen = [(chance.randint(4, last),) for _ in range(10)]  # not the first rows, which main() checks
        cursor.executemany("UPDATE chat SET body = body || ' (edited)' WHERE id = %s", chosen[:5])
        cursor.executemany("DELETE FROM chat WHERE id = %s", chosen[5:])


def write(messages: list[str], numbers: range, pause: float = 0) -> None:
    """A chunk whose connection is lost is written again if its transaction is not there."""
    db = connect()
    for number in numbers:
        while True:
            try:
                if not db.execute("SELECT 1 FROM written WHERE chunk = %s", (number,)).fetchone():
                    write_chunk(db, number, messages[number * CHUNK:(number + 1) * CHUNK])
                break
            except psycopg.OperationalError:
                db.close()
                db = connect()
        time.sleep(pause)
    db.close()


def finished(model: str) -> None:
    while ask("SELECT 1 FROM embed.queue WHERE model = %s LIMIT 1", model):
        time.sleep(0.2)


def verify(stub: Stub, model: str, repeated: int) -> None:
    """Every row has its embedding, each embedding is that of its text, and the stub has computed none twice, but for
    `repeated` at most."""
    (lost,) = ask("SELECT count(*) FROM chat c WHERE NOT embed.blank(body) AND body <> %s AND NOT EXISTS (SELECT FROM "
                  "embed.store s WHERE s.model = %s AND s.hash = embed.hash(c.body))", POISON, model)[0]
    (stale,) = ask("SELECT count(*) FROM embed.texts t FULL JOIN (SELECT * FROM chat WHERE NOT embed.blank(body)) c "
                   "ON t.key = c.id::text WHERE t.body IS DISTINCT FROM c.body")[0]
    rows = ask("SELECT t.body, s.embedding::text FROM embed.store s JOIN embed.texts t ON t.hash = s.hash "
               "WHERE s.model = %s", model)
    wrong = sum(1 for text, stored in rows
                if not np.allclose(np.fromstring(stored[1:-1], sep=","), vector(model, text), atol=1e-6))
    ((stored,),) = ask("SELECT count(*) FROM embed.store WHERE model = %s", model)
    count = [times for (name, _), times in stub.count.items() if name == model]
    twice = sum(count) - len(count)
    print(f"| {model} | {stored:,} | {len(count):,} | {twice} | {lost} |", flush=True)
    check(lost == stale == wrong == 0, f"{lost} texts lost, {stale} stale, {wrong} wrong")
    check(twice <= repeated, f"{twice} texts were embedded twice, at most {repeated} expected")
    check(stored == len(count), f"{len(count)} texts computed, {stored} stored")
    check(ask("SELECT body FROM embed.dead WHERE model = %s", model) == [(POISON,)], "dead letters")


def measure(messages: list[str], workers: Workers) -> None:
    """All messages as fast as they can be written, while workers are restarted; then some at a steady pace."""
    chunks = len(messages) // CHUNK
    paced = max(1, min(50, chunks // 10))
    begun = time.monotonic()
    writer = threading.Thread(target=write, args=(messages, range(chunks - paced)))
    writer.start()
    for i in range(4):
        time.sleep(0.7)
        workers.replace(i % 2, signal.SIGTERM)
    writer.join()
    written = time.monotonic() - begun
    while ask("SELECT 1 FROM embed.queue WHERE attempts = 0 LIMIT 1"):
        time.sleep(0.1)
    total, rows = time.monotonic() - begun, (chunks - paced) * CHUNK
    ((stored,),) = ask("SELECT count(*) FROM embed.store")
    print(f"{rows:,} messages written at {rows / written:,.0f}/s; {stored:,} texts embedded at "
          f"{stored / total:,.0f}/s", flush=True)
    ((last,),) = ask("SELECT max(id) FROM chat")
    begun = time.monotonic()
    write(messages, range(chunks - paced, chunks), 0.2)
    rate = paced * CHUNK / (time.monotonic() - begun)
    finished("first")
    lag = ask("SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM s.made_at - c.at)) "
              "FROM chat c JOIN embed.store s ON s.hash = embed.hash(c.body) WHERE c.id > %s AND s.made_at > c.at",
              last)
    print(f"lag at {rate:,.0f} messages/s, from INSERT to the stored embedding: median {lag[0][0][0] * 1000:.0f} ms, "
          f"99 % {lag[0][0][1] * 1000:.0f} ms", flush=True)


def kill_server(start: list[str]) -> None:
    ((data,),) = ask("SHOW data_directory")
    os.kill(int(Path(data, "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    while subprocess.run(start, stderr=subprocess.DEVNULL).returncode != 0:
        time.sleep(0.2)  # its children are still ending


def killed(messages: list[str], workers: Workers, kills: int, kill: Callable[[], None]) -> None:
    """Writes the second half of the messages. Every second kill is the server's, the others are those of the two
    workers of the second model."""
    chance = random.Random(2)
    half = len(messages) // CHUNK // 2
    writer = threading.Thread(target=write, args=(messages, range(half, 2 * half)))
    writer.start()
    for i, chunk in enumerate(sorted(chance.sample(range(half, 2 * half - 1), kills))):
        while ask("SELECT coalesce(max(chunk), 0) FROM written")[0][0] < chunk:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.1))
        if i % 2:
            kill()
        else:
            workers.replace(1 + i // 2 % 2, signal.SIGKILL)
    writer.join()
    for name in ("first", "second"):
        finished(name)
    check(ask("SELECT count(*) FROM written") == [(2 * half,)], "not all was written")


def triggers() -> None:
    """Checks changes of keys, of other columns, and of whole tables."""
    with connect() as db:
        db.execute("CREATE TABLE notes (at timestamptz PRIMARY KEY, content text, read boolean DEFAULT false)")
        db.execute("INSERT INTO notes SELECT timestamptz '2026-01-01' + n * interval '1 day', 'note ' || n "
                   "FROM generate_series(1, 3) n")
        db.execute("SELECT embed.watch('notes', 'at', 'content')")
        for change in ("UPDATE notes SET at = at - interval '1 day'", "UPDATE notes SET read = true",
                       "UPDATE notes SET content = ' ', at = at - interval '10 days' WHERE content = 'note 2'",
                       "UPDATE notes SET content = upper(content), at = at - interval '1 day'",
                       "DELETE FROM notes WHERE content = 'NOTE 1'", "UPDATE notes SET content = 'note'"):
            db.execute(change)
            differ = db.execute("SELECT count(*) FROM (SELECT * FROM embed.texts WHERE source = 'notes'::regclass) t "
                                "FULL JOIN (SELECT * FROM notes WHERE NOT embed.blank(content)) n "
                                "ON t.key::timestamptz = n.at WHERE t.body IS DISTINCT FROM n.content").fetchone()
            check(differ == (0,), f"texts differ after {change}")
        db.execute("TRUNCATE notes")
        check(not db.execute("SELECT 1 FROM embed.texts WHERE source = 'notes'::regclass").fetchone(), "TRUNCATE")
        db.execute("SELECT embed.unwatch('notes')")
        db.execute("DROP TABLE notes")
        for sql, words in (("CREATE TABLE t (a int, b text); SELECT embed.watch('t', 'a', 'b')", "does not identify"),
                           ("SELECT embed.switch_model('none')", "there is no model"),
                           ("SELECT embed.drop_model('first')", "is active")):
            try:
                db.execute(sql)
                check(False, f"not refused: {sql}")
            except psycopg.errors.RaiseException as error:
                check(words in str(error), f"{sql}: {error}")


def copied(stub: Stub, workers: Workers) -> None:
    """Texts of another table, of deleted and of repeated rows are never embedded again."""
    before = sum(stub.count.values())
    with connect() as db:
        db.execute("CREATE TABLE copies (name text PRIMARY KEY, content text)")
        db.execute("SELECT embed.watch('copies', 'name', 'content')")
        db.execute("INSERT INTO copies SELECT id, body FROM chat")
        db.execute("DELETE FROM copies")
        db.execute("INSERT INTO copies SELECT 'again ' || id, body FROM chat")
        db.execute("TRUNCATE copies")
    workers.start("first", "--once").wait()
    check(sum(stub.count.values()) == before, "texts of another table were embedded again")


def switch() -> None:
    """Checks that the new model finds what the old one found."""
    with connect() as db:
        (text,) = db.execute("SELECT body FROM chat WHERE NOT embed.blank(body) AND body <> %s LIMIT 1",
                             (POISON,)).fetchone()
        counts = []
        for model in ("first", "second"):
            db.execute("REINDEX TABLE embed.store")
            db.execute("SELECT embed.switch_model(%s)", (model,))
            found = db.execute("SELECT body, distance FROM embed.nearest(%s::vector, 3)",
                               (str(vector(model, text)),)).fetchall()
            check(found[0][0] == text and found[0][1] < 1e-6, f"{model} does not find a text by its own embedding")
            counts.append(db.execute("SELECT count(*) FROM embed.current").fetchone())
        check(counts[0] == counts[1], "rows lost their embeddings with the change of model")
        db.execute("SELECT embed.drop_model('first')")
        check(not db.execute("SELECT 1 FROM embed.store WHERE model = 'first' LIMIT 1").fetchone(), "drop_model")


def minilm() -> None:
    """The packaged model, on a table of its own."""
    with connect() as db:
        db.execute("CREATE TABLE said (id int PRIMARY KEY, content text)")
        db.execute("INSERT INTO said VALUES (1, 'Interest rates rise again.'), (2, 'The cat sleeps on the mat.')")
        db.execute("SELECT embed.watch('said', 'id', 'content')")
        db.execute("SELECT embed.add_model('minilm', 384)")
        check(subprocess.run([sys.executable, HERE / "worker.py", "minilm", "--once"]).returncode == 0, "minilm")
        found = db.execute("SELECT n.key FROM embed.store s, embed.nearest(s.embedding, 1, 'minilm') n WHERE s.model = "
                           "'minilm' AND s.hash = embed.hash('The cat sleeps on the mat.')").fetchall()
        check(found == [("2",)], f"minilm finds {found}")
        db.execute("SELECT embed.unwatch('said')")
        db.execute("SELECT embed.drop_model('minilm')")
        db.execute("DELETE FROM embed.queue")


def static(workers: Workers) -> None:
    """The packaged static model, on all messages."""
    ask("SELECT embed.add_model('wordllama', 256)")
    begun = time.monotonic()
    check(workers.start("wordllama", "--once").wait() == 0, "wordllama")
    seconds = time.monotonic() - begun
    ((stored,),) = ask("SELECT count(*) FROM embed.store WHERE model = 'wordllama'")
    print(f"one worker with wordllama (256 dimensions): {stored:,} texts at {stored / seconds:,.0f}/s")
    ask("SELECT embed.switch_model('wordllama')")


def main() -> None:
    count, kills, start = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    messages = corpora.messages(2 * count)
    stub = Stub(0.005)
    with connect() as db:
        db.execute("SET client_min_messages = warning")
        db.execute("CREATE TABLE written (chunk integer PRIMARY KEY)")
        db.execute("CREATE TABLE chat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL, "
                   "at timestamptz NOT NULL DEFAULT clock_timestamp())")
        db.execute("SELECT embed.add_model('first', %s)", (DIMENSIONS,))
    triggers()
    minilm()
    with connect() as db:
        db.execute("SELECT embed.watch('chat', 'id', 'body')")
        db.execute("INSERT INTO chat (body) VALUES (%s), (''), (E' \\n')", (POISON,))
    workers = Workers(stub.url, "first", "first")
    measure(messages[:count], workers)
    workers.end()
    print("| model | texts stored | texts embedded | embedded twice | lost |\n|---|---:|---:|---:|---:|")
    verify(stub, "first", 0)
    copied(stub, workers)
    with connect() as db:
        db.execute("SELECT embed.add_model('second', %s)", (DIMENSIONS,))
        try:
            db.execute("SELECT embed.switch_model('second')")
            check(False, "a model that lacks texts was made active")
        except psycopg.errors.RaiseException:
            pass
    workers = Workers(stub.url, "first", "second", "second")
    killed(messages, workers, kills, lambda: kill_server(start))
    workers.end()
    # This model has one worker that is never killed. Killing the server must not make it embed a text twice.
    verify(stub, "first", 0)
    verify(stub, "second", kills * BATCH)
    switch()
    static(workers)


if __name__ == "__main__":
    main()

"""Replays chat messages with duplicates, edits and deletes into a watched table, kills the worker at random, and
checks that no text is lost and none is embedded twice. Its model is a stub of an OpenAI-compatible endpoint on
loopback, which counts what it embeds.

    replay.py [MESSAGES [KILLS]]"""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import corpora

DIMENSIONS = 16
BATCH = 64
POISON = "this text always fails"
embedded: Counter[tuple[str, str]] = Counter()


class Stub(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if POISON in asked["input"]:
            self.send_error(400, "refused")
            return
        data = []
        for i, text in enumerate(asked["input"]):
            embedded[asked["model"], text] += 1
            digest = hashlib.sha256((asked["model"] + text).encode()).digest()
            data.append({"index": i, "embedding": [byte / 255 - 0.5 for byte in digest[:DIMENSIONS]]})
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # the worker was killed meanwhile

    def log_message(self, *_: object) -> None:
        pass


def worker(url: str, model: str, *more: str) -> subprocess.Popen:
    environment = os.environ | {"EMBED_URL": url, "EMBED_KEY": "none"}
    return subprocess.Popen([sys.executable, HERE / "worker.py", model, *more], env=environment)


def replay(messages: list[str], chance: random.Random) -> None:
    """Inserts, of which a tenth repeats an earlier text; then edits and deletes of earlier rows."""
    with psycopg.connect(autocommit=True) as db:
        for start in range(0, len(messages), 100):
            with db.transaction(), db.cursor() as cursor:
                texts = [chance.choice(messages) if chance.random() < 0.1 else each
                         for each in messages[start:start + 100]]
                cursor.executemany("INSERT INTO chat (body) VALUES (%s)", [(each,) for each in texts])
                last = cursor.execute("SELECT max(id) FROM chat").fetchone()[0]
                cursor.executemany("UPDATE chat SET body = body || ' (edited)' WHERE id = %s",
                                   [(chance.randint(1, last),) for _ in range(5)])
                cursor.executemany("DELETE FROM chat WHERE id = %s", [(chance.randint(1, last),) for _ in range(5)])


def finished(db: psycopg.Connection, model: str) -> None:
    while db.execute("SELECT 1 FROM embed.queue WHERE model = %s LIMIT 1", (model,)).fetchone():
        time.sleep(0.2)


def verify(db: psycopg.Connection, model: str, kills: int) -> None:
    lost = db.execute("SELECT count(*) FROM chat c WHERE btrim(body) <> '' AND body <> %s AND NOT EXISTS (SELECT FROM "
                      "embed.store s WHERE s.model = %s AND s.hash = embed.hash(c.body))", (POISON, model)).fetchone()[0]
    stale = db.execute("SELECT count(*) FROM embed.texts t FULL JOIN (SELECT * FROM chat WHERE btrim(body) <> '') c "
                       "ON t.key = c.id::text WHERE t.body IS DISTINCT FROM c.body").fetchone()[0]
    stored = db.execute("SELECT count(*) FROM embed.store WHERE model = %s", (model,)).fetchone()[0]
    dead = db.execute("SELECT body FROM embed.dead WHERE model = %s", (model,)).fetchall()
    computed = sum(count for (name, _), count in embedded.items() if name == model)
    print(f"{model}: {stored:,} texts stored, {computed:,} computed, {lost} lost, {stale} stale, {kills} kills")
    # A killed worker's batch was computed and not stored; nothing else is ever computed again.
    if lost or stale or dead != [(POISON,)] or computed - stored > kills * BATCH or stored > computed:
        raise SystemExit(f"lost {lost}, stale {stale}, dead {dead}, computed {computed} of {stored}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    chance = random.Random(1)
    stub = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{stub.server_port}/v1"
    db = psycopg.connect(autocommit=True)
    db.execute("CREATE TABLE chat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)")
    db.execute("SELECT embed.add_model('first', %s)", (DIMENSIONS,))
    db.execute("SELECT embed.watch('chat', 'id', 'body')")
    db.execute("INSERT INTO chat (body) VALUES (%s), ('')", (POISON,))
    writer = threading.Thread(target=replay, args=(corpora.messages(count), chance))
    begun = time.monotonic()
    writer.start()
    workers = [worker(url, "first"), worker(url, "first")]
    for i in range(kills):
        time.sleep(random.uniform(0.1, 0.7))
        workers[i % 2].kill()
        workers[i % 2].wait()
        workers[i % 2] = worker(url, "first")
    writer.join()
    finished(db, "first")
    print(f"{count:,} messages in {time.monotonic() - begun:.1f} s, with the retries of the text that fails")
    for each in workers:
        each.terminate()
        each.wait()
    verify(db, "first", kills)
    before = sum(embedded.values())
    db.execute("CREATE TABLE copies (name text PRIMARY KEY, content text)")
    db.execute("SELECT embed.watch('copies', 'name', 'content')")
    db.execute("INSERT INTO copies SELECT id, body FROM chat")
    db.execute("DELETE FROM copies")
    db.execute("TRUNCATE copies")
    worker(url, "first", "--once").wait()
    if sum(embedded.values()) != before:
        raise SystemExit("texts of another table were embedded again")
    # Another model, filled while the first one serves.
    db.execute("SELECT embed.add_model('second', %s)", (DIMENSIONS,))
    try:
        db.execute("SELECT embed.switch_model('second')")
        raise SystemExit("a model with waiting texts was made active")
    except psycopg.errors.RaiseException:
        pass
    worker(url, "second", "--once").wait()
    verify(db, "second", 0)
    rows = db.execute("SELECT count(*) FROM embed.current").fetchone()
    db.execute("SELECT embed.switch_model('second')")
    if db.execute("SELECT count(*) FROM embed.current").fetchone() != rows:
        raise SystemExit("rows lost their embeddings with the change of model")


if __name__ == "__main__":
    main()

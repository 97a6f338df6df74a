"""Makes the page's database from the recipes, and fills it. If it has these texts already, nothing is done.

    python -m page.load [--small] [FOLDER-OR-CSV]

--small: an eighth of the built-in texts, for tests."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
from client import register_vector
from kept import Kept
from page import HOME, ROOT, breaks, chats, questions, summarise, texts
from page.database import DATABASE, ROLE, as_superuser
from page.texts import Document

NEW = f"{DATABASE}_new"
RECIPES = ["question_answering", "dialogue_memory", "summaries", "semantic_cache"]
LONG_TEXT = 8  # sentences that a text must have to be worth a summary
MOST_LONG = 400

OWN = """
CREATE SCHEMA page;
-- What the database was made of, and how large it is.
CREATE TABLE page.about (fingerprint text NOT NULL, name text NOT NULL, made_at timestamptz NOT NULL DEFAULT now());
-- Questions that recall and speed are measured with.
CREATE TABLE page.questions (id int PRIMARY KEY, body text NOT NULL, embedding vector(384) NOT NULL);
CREATE SEQUENCE page.conversations START 100001;
-- Rows whose id is larger were written on the page.
CREATE TABLE page.loaded (last_document bigint NOT NULL);
"""
RIGHTS = f"""
GRANT memory_app TO {ROLE};
GRANT USAGE ON SCHEMA qa, summary, cache, page TO {ROLE};
GRANT SELECT ON ALL TABLES IN SCHEMA qa, summary, cache, page TO {ROLE};
GRANT INSERT, DELETE ON qa.documents, qa.passages, qa.sentences, summary.documents, summary.sentences TO {ROLE};
GRANT INSERT, UPDATE, DELETE ON cache.entries, cache.counters TO {ROLE};
GRANT UPDATE ON cache.settings TO {ROLE};
GRANT USAGE ON SEQUENCE page.conversations TO {ROLE};
"""
# Dealt out by the recipe's own functions; the vectors follow.
SPLIT = """
CREATE TEMP TABLE part AS
    SELECT d.id AS document, concat_ws(': ', d.title, nullif(s.section, ''), s.passage) AS embedded, s.*
    FROM raw r JOIN qa.documents d USING (source), LATERAL qa.split_passages(r.text) s
"""


def fingerprint(documents: list[Document]) -> str:
    """Of everything the database depends on: the texts, the recipes, the loader and the extension."""
    digest = hashlib.sha256(json.dumps(documents, default=str).encode())
    sources = [
        *sorted((ROOT / "sql").rglob("*.sql")),
        *sorted((ROOT / "examples" / "recipes").glob("*.sql")),
        *(
            Path(__file__).with_name(f"{name}.py")
            for name in ("load", "breaks", "chats", "questions", "ask", "summarise")
        ),
    ]
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def loaded() -> str | None:
    try:
        with as_superuser(DATABASE) as db:
            return db.execute("SELECT fingerprint FROM page.about").fetchone()[0]
    except (psycopg.Error, TypeError):
        return None


def progress(done: int, of: int) -> None:
    if done == of or done % 256 == 0:
        end = "\n" if done == of else ""
        print(f"\r  embedding new texts: {done:,} of {of:,} ", end=end, file=sys.stderr, flush=True)


def step(words: str, started: float) -> float:
    now = time.monotonic()
    print(f"  {words}: {now - started:.1f} s", file=sys.stderr, flush=True)
    return now


def create() -> psycopg.Connection:
    with as_superuser("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {NEW} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {NEW}")
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
            admin.execute(f"CREATE ROLE {ROLE} LOGIN")
    files = [
        argument
        for name in RECIPES
        for argument in ("-f", str(ROOT / "examples" / "recipes" / f"{name}.sql"))
    ]
    subprocess.run(
        [
            os.environ.get("PSQL", "psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            NEW,
            "-c",
            "SET client_min_messages = warning",
            "-c",
            "CREATE EXTENSION vector_search",
            *files,
            "-c",
            OWN,
            "-c",
            RIGHTS,
        ],
        check=True,
    )
    db = as_superuser(NEW)
    register_vector(db)
    return db


def load_documents(db: psycopg.Connection, documents: list[Document], kept: Kept) -> None:
    with db.cursor() as cursor:
        with cursor.copy("COPY qa.documents (source, title, category, published) FROM STDIN") as copy:
            for each in documents:
                copy.write_row(each[:4])
        cursor.execute("CREATE TEMP TABLE raw (source text, text text)")
        with cursor.copy("COPY raw FROM STDIN") as copy:
            for each in documents:
                copy.write_row((each.source, breaks.added(each.text)))
    db.execute(SPLIT)
    rows = db.execute(
        "SELECT document, position, section, passage, embedded FROM part ORDER BY document, position"
    ).fetchall()
    vectors = kept.embed_all([row[4] for row in rows], progress)
    with db.cursor() as cursor:
        # Each statement finds the index empty of rows to learn from; it is built after the load.
        with cursor.copy(
            "COPY qa.passages (document, position, section, body, embedding) FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.set_types(["int8", "int4", "text", "text", "vector"])
            for row, vector in zip(rows, vectors):
                copy.write_row((*row[:4], vector))


def load_sentences(db: psycopg.Connection, kept: Kept) -> None:
    """A sentence that is all of its passage has the passage's embedding."""
    rows = db.execute(
        "SELECT p.id, s.position, s.sentence, count(*) OVER (PARTITION BY p.id) = 1, p.embedding::real[] "
        "FROM qa.passages p, qa.split_sentences(p.body) s ORDER BY 1, 2"
    ).fetchall()
    vectors = iter(kept.embed_all([body for _, _, body, alone, _ in rows if not alone], progress))
    with (
        db.cursor() as cursor,
        cursor.copy(
            "COPY qa.sentences (passage, position, body, embedding) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["int8", "int4", "text", "vector"])
        for passage, position, body, alone, own in rows:
            vector = np.array(own, dtype=np.float32) if alone else next(vectors)
            copy.write_row((passage, position, body, vector))


def load_summaries(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO summary.documents SELECT d.id, d.title FROM qa.documents d JOIN qa.passages p "
        "ON p.document = d.id JOIN qa.sentences s ON s.passage = p.id GROUP BY d.id "
        "HAVING count(*) >= %s ORDER BY count(*) DESC, d.id LIMIT %s",
        (LONG_TEXT, MOST_LONG),
    )
    db.execute(
        "INSERT INTO summary.sentences SELECT p.document, row_number() OVER "
        "(PARTITION BY p.document ORDER BY p.position, s.position), s.body, "
        f"CASE WHEN {summarise.WHOLE.format('s.body')} THEN s.embedding END FROM qa.sentences s "
        "JOIN qa.passages p ON p.id = s.passage JOIN summary.documents d ON d.id = p.document"
    )


def fill(db: psycopg.Connection, documents: list[Document], share: int) -> None:
    kept, started = Kept(HOME / "embeddings"), time.monotonic()
    load_documents(db, documents, kept)
    load_sentences(db, kept)
    load_summaries(db)
    started = step("documents, passages, sentences", started)
    chats.load(db, kept, progress, share)
    started = step("conversations", started)
    db.execute("REINDEX SCHEMA qa")
    db.execute("REINDEX SCHEMA summary")
    db.execute("REINDEX SCHEMA memory")
    db.execute("VACUUM ANALYZE")
    started = step("indexes", started)
    questions.load(db, kept, progress, share)
    db.execute("REINDEX SCHEMA cache")
    db.execute("VACUUM ANALYZE cache.entries")
    step("questions for the cache and for measurements", started)


def main() -> None:
    small = "--small" in sys.argv
    own = next((Path(each) for each in sys.argv[1:] if each and each != "--small"), None)
    try:
        documents = texts.own(own) if own else texts.builtin(8 if small else 1)
    except texts.Unusable as error:
        raise SystemExit(f"error: {error}")
    print_of = fingerprint(documents)
    if loaded() == print_of:
        print(f"  {len(documents):,} documents are in the database already", file=sys.stderr)
        return
    db = create()
    fill(db, documents, 8 if small else 1)
    db.execute("INSERT INTO page.loaded SELECT max(id) FROM qa.documents")
    # Last, as its presence says that all is there.
    db.execute(
        "INSERT INTO page.about (fingerprint, name) VALUES (%s, %s)",
        (print_of, str(own) if own else texts.BUILTIN),
    )
    db.close()
    with as_superuser("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        admin.execute(f"ALTER DATABASE {NEW} RENAME TO {DATABASE}")


if __name__ == "__main__":
    main()

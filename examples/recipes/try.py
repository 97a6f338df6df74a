"""Loads real text into the recipes, checks what they find and prints what was measured.

The texts are the chapters under docs/ (questions, summaries), words of WordNet (cache) and chitchat-dataset
(memory); the embeddings are MiniLM's. scripts/test_recipes.sh runs it on a server of its own."""

import hashlib
import re
import sys
import time
from pathlib import Path

import numpy as np
import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "scripts"), str(ROOT / "examples" / "demo")]
import corpora
import wordnet
from client import register_vector
from model import MiniLM

HOME = corpora.HOME
QUESTIONS = 200
CONVERSATIONS = 60
ENTRIES = 100_000
CACHED = 1_500
PHRASES = ["What does {} mean?", "Please explain what a {} is", "define {}", "Can you tell me what {} is?"]


class Embedder:
    """MiniLM with a store of what it has embedded before."""

    def __init__(self) -> None:
        self.kept = HOME / "vectors.npz"
        self.vectors: dict[str, np.ndarray] = {}
        if self.kept.exists():
            data = np.load(self.kept)
            self.vectors = dict(zip(data["keys"].tolist(), data["vectors"]))

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        keys = [hashlib.sha256(each.encode()).hexdigest() for each in texts]
        new = {key: text for key, text in zip(keys, texts) if key not in self.vectors}
        if new:
            self.vectors.update(zip(new, MiniLM().embed_all(list(new.values()))))
            HOME.mkdir(parents=True, exist_ok=True)
            np.savez(self.kept, keys=list(self.vectors), vectors=np.array(list(self.vectors.values())))
        return [self.vectors[key] for key in keys]


def check(name: str, value: float, least: float, chance: str = "") -> None:
    print(f"| {name} | {value:.3f} | {chance} |", flush=True)
    if not value >= least:
        raise SystemExit(f"{name}: {value:.3f}, expected at least {least}")


def question_from(sentence: str) -> str:
    """Every second long word of a sentence, without its order."""
    words = sorted(re.findall(r"[A-Za-z_]{4,}", sentence)[::2])
    return " ".join(words)


def prose(page: Path) -> str:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    return "\n".join(line for line in text.splitlines() if not line.startswith("|"))


def questions(db: psycopg.Connection, embed: Embedder) -> None:
    pages = [each for each in sorted((ROOT / "docs").glob("*.md")) if each.name != "SUMMARY.md"]
    for page in pages:
        (document,) = db.execute("INSERT INTO qa.documents (source, title) VALUES (%s, %s) RETURNING id",
                                 (page.name, page.stem)).fetchone()
        db.execute("INSERT INTO qa.passages (document, position, section, body) "
                   "SELECT %s, position, section, passage FROM qa.split_passages(%s)", (document, prose(page)))
    passages = db.execute("SELECT p.id, concat_ws(': ', d.title, p.section, p.body) FROM qa.passages p "
                          "JOIN qa.documents d ON d.id = document").fetchall()
    with db.cursor() as cursor:
        cursor.executemany("UPDATE qa.passages SET embedding = %s WHERE id = %s",
                           list(zip(embed([text for _, text in passages]), [key for key, _ in passages])))
        db.execute("INSERT INTO qa.sentences (passage, position, body) "
                   "SELECT p.id, s.position, s.sentence FROM qa.passages p, qa.split_sentences(p.body) s")
        sentences = db.execute("SELECT passage, position, body FROM qa.sentences").fetchall()
        cursor.executemany("UPDATE qa.sentences SET embedding = %s WHERE passage = %s AND position = %s",
                           [(vector, row[0], row[1])
                            for vector, row in zip(embed([row[2] for row in sentences]), sentences)])
    db.execute("REINDEX SCHEMA qa")
    asked = [row for row in sentences if len(question_from(row[2]).split()) >= 4]
    asked = asked[::max(1, len(asked) // QUESTIONS)][:QUESTIONS]
    found = {"passage": 0, "sentence": 0}
    for (passage, _, body), vector in zip(asked, embed([question_from(row[2]) for row in asked])):
        values = (question_from(body), vector)
        hits = db.execute("SELECT passage FROM qa.search(%s, %s, 5)", values, prepare=False).fetchall()
        found["passage"] += (passage,) in hits
        answer = db.execute("SELECT sentence FROM qa.answer(%s, %s, 5)", values, prepare=False).fetchall()
        found["sentence"] += (body,) in answer
    for kind, total in [("passage", len(passages)), ("sentence", len(sentences))]:
        check(f"QA: {kind} of the question among the first five", found[kind] / len(asked), 0.6,
              f"{5 / total:.3f}")


def summaries(db: psycopg.Connection) -> None:
    db.execute("INSERT INTO summary.documents SELECT id, title FROM qa.documents")
    db.execute("INSERT INTO summary.sentences SELECT p.document, row_number() OVER "
               "(PARTITION BY p.document ORDER BY p.position, s.position), s.body, s.embedding "
               "FROM qa.sentences s JOIN qa.passages p ON p.id = s.passage")
    db.execute("REINDEX SCHEMA summary")
    quality = ("SELECT avg(q.coverage), avg(q.redundancy) FROM summary.documents d, "
               "summary.quality(d.id, ARRAY(SELECT position FROM {})) q "
               "WHERE (SELECT count(*) FROM summary.sentences s WHERE s.document = d.id) >= 20")
    chosen = db.execute(quality.format("summary.of_document(d.id, 5)")).fetchone()
    first = db.execute(quality.format("generate_series(1, 5) g(position)")).fetchone()
    check("summaries: coverage of five sentences", chosen[0], first[0], f"first five: {first[0]:.3f}")
    print(f"| summaries: redundancy of five sentences | {chosen[1]:.3f} | first five: {first[1]:.3f} |")


def words() -> list[str]:
    """Nouns of WordNet, each once, in an order that does not depend on the alphabet."""
    wordnet.fetch(ROOT / "target" / "demo" / "wordnet")
    nouns = {each.word for each in wordnet.read(ROOT / "target" / "demo" / "wordnet")
             if wordnet.CATEGORIES[each.category] in ("noun.artifact", "noun.food", "noun.animal")
             and re.fullmatch(r"[a-z][a-z ]+", each.word)}
    return sorted(nouns, key=lambda word: hashlib.sha256(word.encode()).hexdigest())[:2 * CACHED]


def semantic_cache(db: psycopg.Connection, embed: Embedder) -> None:
    """The cache has a question for each of half of the words. All words are asked for in other phrases: a hit is
    right if it is the entry of the same word; for the other half of the words every hit is false."""
    nouns = words()
    texts = [f"What is a {word}?" for word in nouns[:CACHED]]
    asked = [PHRASES[i % len(PHRASES)].format(word) for i, word in enumerate(nouns)]
    vectors, lookups = embed(texts), []
    similar = np.array(embed(asked)) @ np.array(vectors).T
    for i, j in enumerate(similar.argmax(axis=1)):
        lookups.append((float(1 - similar[i, j]), bool(i == j)))
    # Both halves have all phrases.
    halves = [[each for i, each in enumerate(lookups) if i // len(PHRASES) % 2 == half] for half in (0, 1)]
    chosen, held = halves
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO cache.labelled (distance, same) VALUES (%s, %s)", chosen)
    for rate in (0.005, 0.01, 0.05):
        row = db.execute("SELECT * FROM cache.choose_threshold(%s)", (rate,)).fetchone()
        if row is None:
            print(f"| cache: threshold for {rate:.1%} false hits | none | |")
            continue
        wrong = sum(1 for distance, same in held if distance <= row[0] and not same) / len(held)
        right = sum(1 for distance, same in held if distance <= row[0] and same) / (len(held) / 2)
        print(f"| cache: {rate:.1%} false hits wanted, threshold {row[0]:.4f}: false hits of {len(held)} held-out "
              f"lookups | {wrong:.2%} | |\n| cache: the same: of those whose answer is there, answered | "
              f"{right:.1%} | |")
        if rate == 0.01 and (wrong > 0.01 or right < 0.2):
            raise SystemExit("the threshold chosen for 1 % does not hold on held-out lookups")
    latency(db, texts, vectors)


def latency(db: psycopg.Connection, texts: list[str], vectors: list[np.ndarray]) -> None:
    """Times of hits among ENTRIES entries: the questions, and copies of their vectors with noise."""
    random = np.random.default_rng(1)
    base = np.array(vectors)
    with db.cursor() as cursor, cursor.copy("COPY cache.entries (question, answer, expires_at, embedding) "
                                            "FROM STDIN") as copy:
        for i in range(ENTRIES):
            vector = base[i % len(base)]
            if i >= len(base):
                vector = vector + random.normal(0, 0.04, len(vector))
            text = "[" + ",".join(f"{x:.6f}" for x in vector) + "]"
            copy.write_row((f"{texts[i % len(texts)]} {i // len(texts) or ''}".strip(), f"answer {i}", "infinity", text))
    db.execute("REINDEX INDEX cache.entries_near")
    db.execute("ANALYZE cache.entries")
    db.execute("UPDATE cache.settings SET threshold = 0.1")
    ways = [("exact", "SELECT cache.get_exact(%s)", texts), ("near", "SELECT cache.get_near(%s)", vectors)]
    for name, sql, values in ways:
        times, hits = [], 0
        for value in values[:1000]:
            begun = time.perf_counter()
            hits += db.execute(sql, (value,)).fetchone()[0] is not None
            times.append((time.perf_counter() - begun) * 1000)
        check(f"cache: {name} hits at {ENTRIES:,} entries (median {np.median(times):.2f} ms, "
              f"p95 {np.percentile(times, 95):.2f} ms)", hits / len(times), 0.99)


def memory(db: psycopg.Connection, embed: Embedder) -> None:
    talks = [each for each in corpora.talks() if 20 <= len(each) <= 60]
    rows = []
    for number, talk in enumerate(talks[:CONVERSATIONS]):
        for message in talk:
            if message["text"].strip():
                rows.append((f"user {number % 6}", number, message["sender"], message["timestamp"], message["text"]))
    vectors = embed([row[4] for row in rows])
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO memory.messages (owner, conversation, sender, sent_at, body, embedding) "
                           "VALUES (%s, %s, %s, %s, %s, %s)", [(*row, vector) for row, vector in zip(rows, vectors)])
    db.execute("REINDEX SCHEMA memory")
    db.execute("SET ROLE memory_app")
    same, recalled, foreign = 0, 0, 0
    last = {row[1]: (row, vector) for row, vector in zip(rows, vectors)}
    for row, vector in last.values():
        db.execute("SELECT set_config('memory.owner', %s, false)", (row[0],))
        for key, in db.execute("SELECT id FROM memory.recall(%s, 5, %s)", (vector, row[3])).fetchall():
            owner, talk = db.execute("SELECT owner, conversation FROM memory.messages WHERE id = %s", (key,)).fetchone()
            same, recalled, foreign = same + (talk == row[1]), recalled + 1, foreign + (owner != row[0])
    db.execute("RESET ROLE")
    print(f"| memory: {len(rows)} messages, {recalled} recalled, of another user | {foreign} | |")
    if foreign or not recalled:
        raise SystemExit("another user's messages were recalled, or none at all")
    check("memory: recalled from the same conversation", same / recalled, 0.15, f"{6 / CONVERSATIONS:.3f}")


def main() -> None:
    embed = Embedder()
    with psycopg.connect(autocommit=True) as db:
        register_vector(db)
        print("| measured | result | chance or baseline |\n|---|---:|---:|")
        questions(db, embed)
        summaries(db)
        semantic_cache(db, embed)
        memory(db, embed)


if __name__ == "__main__":
    main()

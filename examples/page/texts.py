"""The texts: WordNet's glosses, articles of FOLDOC and chapters of docs/; or the user's own, a folder or a
CSV file."""

import csv
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Iterator, NamedTuple

import corpora
import prepare
import wordnet
from page import HOME

BUILTIN = "WordNet, FOLDOC and this documentation"
ARTICLES = 100
LARGEST_FILE = 5_000_000  # bytes
SUFFIXES = {".txt", ".md", ".markdown", ".text"}
NAMES = {  # the columns of a CSV file by what they are for, the likeliest name first
    "text": ["text", "body", "content", "description", "abstract", "message", "answer"],
    "title": ["title", "name", "subject", "headline", "question", "word", "id"],
    "category": ["category", "type", "label", "tag", "topic", "section"],
    "published": ["date", "published", "created", "created_at", "time", "timestamp", "day"],
}


class Document(NamedTuple):
    source: str
    title: str
    category: str
    published: date | None
    text: str


class Unusable(Exception):
    """The user's texts cannot be read; the words say why."""


def note(words: str) -> None:
    print(f"  {words}", file=sys.stderr, flush=True)


def builtin(share: int) -> list[Document]:
    """One of `share` texts of each kind."""
    return [*list(glosses())[::share], *list(articles())[::share], *list(chapters())[::share]]


def glosses() -> Iterator[Document]:
    wordnet.fetch(HOME / "wordnet")
    seen: Counter[str] = Counter()
    for each in prepare.choose():
        part, _, name = wordnet.CATEGORIES[each.category].partition(".")
        category = name if part == "noun" else f"{name} ({part}s)"
        source = f"WordNet, {category}, {each.word}"
        seen[source] += 1
        yield Document(
            f"{source} ({seen[source]})" if seen[source] > 1 else source, each.word, category, None, each.text
        )


def articles() -> Iterator[Document]:
    try:
        found = corpora.articles(ARTICLES)
    except (OSError, subprocess.CalledProcessError):
        note("without the articles of FOLDOC: apt-get cannot fetch dict-foldoc here")
        return
    for each in found:
        text = each.text
        published = None
        if dated := re.search(r"\s*\((\d{4}-\d\d-\d\d)\)\s*$", text):
            published, text = parse_date(dated[1]), text[: dated.start()]
        text = re.sub(r"^[^<.]{0,60}<[^>]*>\s*", "", text)  # the subject, <hardware>
        if text:
            yield Document(f"FOLDOC, {each.title}", each.title, "computing", published, text)


def chapters() -> Iterator[Document]:
    for each in corpora.chapters():
        heading = re.match(r"\s*# +(.+)", each.text)
        yield Document(
            f"docs/{each.source}",
            heading[1].strip() if heading else each.title,
            "vector_search",
            None,
            each.text,
        )


def parse_date(text: str) -> date | None:
    """The day at the beginning of an ISO date or time."""
    try:
        return date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None


def own(path: Path) -> list[Document]:
    """What `TEXTS=` names."""
    if not path.exists():
        raise Unusable(f"TEXTS={path}: there is no such file or folder")
    documents = list(
        from_csv(path) if path.is_file() and path.suffix.lower() in (".csv", ".tsv") else from_files(path)
    )
    if not documents:
        raise Unusable(
            f"TEXTS={path}: no text in it; wanted are .txt and .md files, or a CSV file with a text column"
        )
    return documents


def from_files(path: Path) -> Iterator[Document]:
    """Files below a folder; the folder that a file lies in is its category."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    home = path.parent if path.is_file() else path
    for each in files:
        if each.suffix.lower() not in SUFFIXES or any(
            part.startswith(".") for part in each.relative_to(home).parts
        ):
            continue
        text = read_text(each)
        if text is None:
            continue
        heading = re.match(r"\s*#+ +(.+)", text)
        within = each.relative_to(home)
        yield Document(
            str(within),
            (heading[1] if heading else each.stem).strip()[:200] or each.name,
            str(within.parent) if len(within.parts) > 1 else "",
            None,
            text,
        )


def read_text(path: Path) -> str | None:
    """None, and a note, if a file is not text."""
    if path.stat().st_size > LARGEST_FILE:
        note(f"skipped: {path} is larger than {LARGEST_FILE:,} bytes")
        return None
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        note(f"skipped: {path} is not UTF-8")
        return None
    if "\0" in text:
        note(f"skipped: {path} is binary")
        return None
    return text if text.strip() else None


def from_csv(path: Path) -> Iterator[Document]:
    text = read_text(path)
    if text is None:
        return
    csv.field_size_limit(LARGEST_FILE)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:20_000], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    dialect.doublequote = True
    rows = list(csv.reader(text.splitlines(keepends=True), dialect))
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return
    header, rows = [cell.strip().lower() for cell in rows[0]], rows[1:]
    places = {
        what: next((header.index(name) for name in names if name in header), None)
        for what, names in NAMES.items()
    }
    if places["text"] is None:
        raise Unusable(
            f"TEXTS={path}: no column is called {', '.join(NAMES['text'])}; there are: {', '.join(header)}"
        )
    note(
        "columns: "
        + ", ".join(f"{what} = {header[place]}" for what, place in places.items() if place is not None)
    )
    for number, row in enumerate(rows, 1):

        def cell(what: str) -> str:
            place = places[what]
            return row[place].strip() if place is not None and place < len(row) else ""

        if cell("text"):
            yield Document(
                f"{path.name}, row {number}",
                cell("title")[:200] or cell("text").split("\n")[0][:60],
                cell("category")[:100],
                parse_date(cell("published")),
                cell("text"),
            )

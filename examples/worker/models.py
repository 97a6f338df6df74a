"""Models that turn texts into embeddings: two packaged ones, and any OpenAI-compatible endpoint."""

import http.client
import importlib.util
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

import numpy as np

Embed = Callable[[list[str]], np.ndarray]

# Errors that no text has caused: wrong key, wrong address or model, too many requests, overload.
NO_TEXT_TO_BLAME = {401, 403, 404, 408, 429, 502, 503, 504}


class Unavailable(Exception):
    """The model is not available now."""


def load(name: str) -> Embed:
    """`minilm` and `wordllama` are packaged; others are models of the endpoint that OPENAI_BASE_URL names."""
    if name == "minilm":
        sys.path.append(str(Path(__file__).resolve().parents[1] / "demo"))
        from model import MiniLM
        return MiniLM().embed_all
    if name == "wordllama":
        return static()
    if "OPENAI_BASE_URL" not in os.environ:
        raise SystemExit(f"error: model {name}: set OPENAI_BASE_URL (and OPENAI_API_KEY), or use minilm or wordllama")
    return endpoint(name, os.environ["OPENAI_BASE_URL"], os.environ.get("OPENAI_API_KEY", ""))


def endpoint(model: str, base: str, key: str) -> Embed:
    url = base.rstrip("/") + "/embeddings"
    if not url.startswith(("http://", "https://")):
        raise SystemExit(f"error: OPENAI_BASE_URL: {base} is no http address")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def embed(texts: list[str]) -> np.ndarray:
        body = json.dumps({"model": model, "input": texts, "encoding_format": "float"}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            said = f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}"
            raise Unavailable(said) if error.code in NO_TEXT_TO_BLAME else ValueError(said)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{url}: {error!r}")
        data = json.loads(answer)["data"]
        return np.array([each["embedding"] for each in sorted(data, key=lambda each: each["index"])])

    return embed


def static() -> Embed:
    """wordllama: a text is the mean of the vectors of its tokens. Of the package only the two data files are used."""
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    if found is None:
        raise SystemExit("error: pip install --no-deps wordllama==0.4.0.post1")
    home = Path(found.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(home / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    data = (home / "weights" / "l2_supercat_256.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    about = json.loads(data[8:start])["embedding.weight"]
    weights = np.frombuffer(data, "<f2", offset=start + about["data_offsets"][0]).reshape(about["shape"])

    def embed(texts: list[str]) -> np.ndarray:
        tokens = [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]
        means = np.array([weights[ids].astype(np.float32).mean(axis=0) for ids in tokens])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    return embed

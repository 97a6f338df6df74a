"""How much memory a backend and its parallel workers take."""

import re
from pathlib import Path
from threading import Event, Thread

import psycopg

# Seconds between readings of anonymous memory, and number of these readings per reading of shared memory,
# which takes milliseconds.
PAUSE = 0.02
SELDOM = 25


class Peak:
    """The most memory that a backend has while this is entered: what it and its parallel workers have for themselves,
    and of the shared memory that they made for each other (not the server's buffers) what they have touched."""

    def __init__(self, connection: psycopg.Connection):
        self.leader = connection.info.backend_pid
        self.kilobytes = 0
        self.ended = Event()
        self.watcher = Thread(target=self.watch)

    def watch(self) -> None:
        with psycopg.connect(autocommit=True) as connection:
            shared, readings = 0, 0
            while True:
                if readings % SELDOM == 0:
                    workers = [pid for pid, in connection.execute(
                        "SELECT pid FROM pg_stat_activity WHERE leader_pid = %s", (self.leader,))]
                    shared = sum(_shared(pid) for pid in (self.leader, *workers)) if workers else 0
                own = sum(anonymous(pid) for pid in (self.leader, *workers))
                self.kilobytes = max(self.kilobytes, own + shared)
                readings += 1
                if self.ended.wait(PAUSE):
                    return

    def __enter__(self) -> "Peak":
        self.watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.watcher.join()


def anonymous(pid: int) -> int:
    """Kilobytes of anonymous memory of a process."""
    found = re.search(r"^RssAnon:\s*(\d+)", _read(pid, "status"), re.MULTILINE)
    return int(found[1]) if found else 0


def _shared(pid: int) -> int:
    """A process' part, in kilobytes, of the segments of dynamic shared memory that it has mapped: a page that two
    processes have counts half for each."""
    # A mapping begins with a line of its addresses; shared buffers are a mapping of another name.
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", _read(pid, "smaps"), flags=re.MULTILINE)
    sizes = [re.search(r"^Pss:\s*(\d+)", part, re.MULTILINE) for part in parts if "/dev/shm/PostgreSQL." in part]
    return sum(int(size[1]) for size in sizes if size)


def _read(pid: int, name: str) -> str:
    """What the system says of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""

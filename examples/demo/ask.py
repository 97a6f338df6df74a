#!/usr/bin/env python3
"""Answers one question from the demo's running server: ask.py QUESTION [CATEGORY]"""

import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parents[2] / "target" / "venv"
if Path(sys.prefix) != VENV:  # the packages are there, not in the system's Python
    python = str(VENV / "bin" / "python")
    os.execv(python, [python, *sys.argv])

import demo
import store
from model import MiniLM


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    store.use_demo_server()
    values = {"question": MiniLM().embed(sys.argv[1])}
    sql = demo.SEARCH
    if len(sys.argv) == 3:
        sql = demo.SEARCH_CATEGORY
        values["category"] = sys.argv[2]
    with store.connect() as connection:
        store.register_vector(connection)
        demo.show(connection, sql, values)


if __name__ == "__main__":
    main()

"""What the Python of the demo and of the benchmarks needs of a server: its address, and vectors as
numpy arrays."""

import os
import shlex
import struct
import subprocess
from pathlib import Path

import numpy as np
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

SCRIPTS = Path(__file__).resolve().parent


def use_server(directory: Path) -> None:
    """Points libpq at the private server of a directory."""
    lines = subprocess.run([SCRIPTS / "server.sh", "env", directory], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        name, value = shlex.split(line)[1].split("=", 1)
        os.environ[name] = value


class VectorDumper(Dumper):
    """A numpy array in the binary form of `vector`: two 16-bit integers (dimensions and zero),
    then big-endian floats. Nothing is parsed or rounded."""

    format = Format.BINARY

    def dump(self, array: np.ndarray) -> bytes:
        return struct.pack(">HH", len(array), 0) + array.astype(">f4").tobytes()


def register_vector(connection: psycopg.Connection) -> None:
    """Arrays become values of the type `vector` that the connection's search path finds."""
    info = TypeInfo.fetch(connection, "vector")
    info.register(connection)
    dumper = type("RegisteredVectorDumper", (VectorDumper,), {"oid": info.oid})
    connection.adapters.register_dumper(np.ndarray, dumper)

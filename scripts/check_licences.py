"""Checks that each crate that a build, a test or the fuzzer can use has a licence that deny.toml allows. A crate
with a choice of licences passes if one of them is allowed. `make audit` (cargo-deny) checks the same, and
advisories; this needs nothing to be built."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Each major, since their dependencies may differ.
FEATURES = re.findall(r"^(pg\d+) = ", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)


def passes(expression: str, allowed: set[str]) -> bool:
    """Evaluates an SPDX expression: AND binds stronger than OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def take() -> str:
        nonlocal position
        position += 1
        return words[position - 1] if position <= len(words) else ""

    def peek() -> str:
        return words[position] if position < len(words) else ""

    def one() -> bool:
        word = take()
        if word == "(":
            inside = either()
            if take() != ")":
                raise ValueError(f"{expression}: a parenthesis is not closed")
            return inside
        if not word or word in (")", "AND", "OR", "WITH"):
            raise ValueError(f"{expression} is no licence expression")
        if peek() == "WITH":
            take()
            word += f" WITH {take()}"
        return word in allowed

    def both() -> bool:
        result = one()
        while peek() == "AND":
            take()
            result = one() and result
        return result

    def either() -> bool:
        result = both()
        while peek() == "OR":
            take()
            result = both() or result
        return result

    result = either()
    if position != len(words):
        raise ValueError(f"{expression} is no licence expression")
    return result


def main() -> int:
    licenses = tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]
    allowed = set(licenses["allow"])
    of_one = {exception["name"]: set(exception["allow"]) for exception in licenses["exceptions"]}
    # The checker itself must be able to say no.
    for expression, expected in [("MIT AND (GPL-3.0 OR X)", False), ("GPL-3.0 OR MIT AND Zlib", True),
                                 ("Apache-2.0 WITH X", False), ("MIT/X", True)]:
        assert passes(expression, allowed) == expected, expression
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--no-default-features"]
    packages = {}
    for feature in FEATURES:
        tree = subprocess.run([*command, "--features", feature], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        packages |= {package["id"]: package for package in json.loads(tree.stdout)["packages"]}
    # The fuzzer is a package of its own.
    tree = subprocess.run([*command, "--manifest-path", "tests/fuzz/Cargo.toml"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE)
    packages |= {package["id"]: package for package in json.loads(tree.stdout)["packages"]}
    wrong = [f"{p['name']} {p['version']}: {p['license'] or 'no licence'}" for p in packages.values()
             if not p["license"] or not passes(p["license"], allowed | of_one.get(p["name"], set()))]
    for line in wrong:
        print(f"licence not allowed by deny.toml: {line}", file=sys.stderr)
    print(f"licences of {len(packages)} crates: {len(wrong)} not allowed", file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())

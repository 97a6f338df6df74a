"""Prints the bill of materials of the library in CycloneDX 1.5: every crate that is compiled into it, with
its version, licence and checksum. Made from Cargo.toml and Cargo.lock by `cargo metadata`.

usage: sbom.py FEATURE        e.g. pg18"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def metadata(feature: str) -> dict:
    host = next(line.split()[1] for line in _run("rustc", "-vV").splitlines() if line.startswith("host: "))
    return json.loads(_run("cargo", "metadata", "--locked", "--format-version", "1", "--no-default-features",
                           "--features", feature, "--filter-platform", host))


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(resolve: dict) -> set[str]:
    """The packages that the library depends on at run time: no build or test dependencies."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    seen, todo = set(), [resolve["root"]]
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo += [dep["pkg"] for dep in nodes[package]["deps"]
                     if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    return seen


def component(package: dict, checksums: dict) -> dict:
    name, version = package["name"], package["version"]
    found = {"type": "library", "name": name, "version": version, "bom-ref": f"{name}@{version}"}
    if package["license"]:
        # Cargo's old "MIT/Apache-2.0" means what SPDX writes with OR.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["source"]:
        found["purl"] = f"pkg:cargo/{name}@{version}"
        found["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return found


def main() -> None:
    tree = metadata(sys.argv[1])
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}
    packages = {package["id"]: package for package in tree["packages"]}
    root = tree["resolve"]["root"]
    wanted = linked(tree["resolve"])
    refs = {p: f"{packages[p]['name']}@{packages[p]['version']}" for p in wanted}
    edges = [{"ref": refs[node["id"]],
              "dependsOn": sorted(refs[dep["pkg"]] for dep in node["deps"] if dep["pkg"] in wanted)}
             for node in tree["resolve"]["nodes"] if node["id"] in wanted]
    main_component = component(packages[root], checksums)
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": main_component | {"type": "library"},
                     "properties": [{"name": "cargo:feature", "value": sys.argv[1]}]},
        "components": sorted((component(packages[p], checksums) for p in wanted - {root}),
                             key=lambda c: c["bom-ref"]),
        "dependencies": sorted(edges, key=lambda edge: edge["ref"]),
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()

"""Breaks the source in thirty places, one at a time, and checks whether the tests notice.

    python benchmarks/mutations.py                # all of them, about a quarter of an hour on two cores
    python benchmarks/mutations.py --only 3 17    # two of them
    python benchmarks/mutations.py --list

Each mutation is tried in a copy of the working tree: first with the fast tests of its own package, then with all fast
tests, then with the slow ones, until a test fails. A mutation whose text is no longer in its file is an error: edit
`mutations.yaml` when the code changes. Exits with 1 if the fast tests catch fewer than 25 or any mutation survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutations.yaml")
#: Minimum number of mutations that the fast tests must catch.
ENOUGH = 25


@dataclass(frozen=True)
class Mutation:
    """One change that breaks the source.

    Attributes:
        file: path relative to `src/dbeta`.
        old: text that occurs once in the file.
        new: replacement.
        tests: folder or file under `tests` to try first.
    """

    file: str
    old: str
    new: str
    tests: str


def read_mutations(file: Path = LIST) -> list[Mutation]:
    """Read the mutations in `mutations.yaml`."""
    return [Mutation(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]


def apply(tree: Path, mutation: Mutation) -> str:
    """Change a copy of the tree and return the file's original text.

    Raises:
        ValueError: the text does not occur exactly once.
    """
    file = tree / "src" / "dbeta" / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file}: {mutation.old!r} occurs {text.count(mutation.old)} times, not once")
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return text


def fails(tree: Path, *arguments: str) -> bool:
    """Whether a test fails, or cannot even be collected."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
    if done.returncode not in (0, 1, 2, 5):
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.returncode in (1, 2)


def caught_by(tree: Path, mutation: Mutation) -> str:
    """Return which tests catch a mutation: "fast", "slow" or "none"."""
    together = ["-n", "auto", "--dist", "loadscope"]
    if fails(tree, "-m", "not slow", f"tests/{mutation.tests}") or fails(tree, *together, "-m", "not slow"):
        return "fast"
    return "slow" if fails(tree, *together, "-m", "slow") else "none"


def main() -> None:
    """Try the mutations and print a line for each."""
    parser = argparse.ArgumentParser(description="Break the source in thirty places; do the tests notice?")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the mutations to try, from 1")
    parser.add_argument("--list", action="store_true", help="only list them")
    args = parser.parse_args()
    mutations = read_mutations()
    counts = {"fast": 0, "slow": 0, "none": 0}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in files.decode().split("\0")[:-1]:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        for number, mutation in enumerate(mutations, 1):
            if args.only and number not in args.only:
                continue
            change = f"{mutation.old.strip()!r} -> {mutation.new.strip()!r}"
            start = time.perf_counter()
            before = apply(tree, mutation)
            found = "" if args.list else caught_by(tree, mutation)
            (tree / "src" / "dbeta" / mutation.file).write_text(before, encoding="utf-8")
            if found:
                counts[found] += 1
            print(f"{number:2d} {found:5s} {time.perf_counter() - start:5.0f} s  {mutation.file}: {change}", flush=True)
    if args.list:
        return
    print(f"caught by fast tests: {counts['fast']}, by slow tests: {counts['slow']}, not caught: {counts['none']}")
    tried = sum(counts.values())
    sys.exit(int(counts["none"] > 0 or counts["fast"] < min(ENOUGH, tried)))


if __name__ == "__main__":
    main()

"""The documents as tests see them: pages, their fenced blocks, and the `dbeta` commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Pages whose blocks are run.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Further pages, of which links, paths and options are checked.
OTHERS = [
    ROOT / "CHANGELOG.md",
    ROOT / "OPENNESS.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "checkpoints").glob("*/README.md")),
]
SHELL = ("bash", "console")


@dataclass
class Block:
    """A fenced block.

    Attributes:
        page: its file.
        line: of the opening fence, from 1.
        language: the first word of the info string.
        words: the words after it, such as "no-run".
        text: the content.
    """

    page: Path
    line: int
    language: str
    words: list[str]
    text: str

    @property
    def place(self) -> str:
        """For messages."""
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """A page's path from the repository's root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    inside: Block | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None and (fence := re.fullmatch(r"\s*```(\w*)\s*(.*)", line)):
            inside = Block(page, number, fence[1], fence[2].split(), "")
        elif inside is not None and line.strip() == "```":
            found.append(inside)
            inside = None
        elif inside is not None:
            inside.text += line + "\n"
    assert inside is None, f"{inside.place}: the block does not end"
    return found


def shell_lines(text: str) -> list[str]:
    """The commands of a shell block: continued lines joined, comments left out."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def dbeta_arguments(line: str) -> list[list[str]]:
    """The arguments of each call of `dbeta` in a shell line, in pipes and under torchrun too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    calls: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|;&"):
            calls.append([])
        else:
            calls[-1].append(word)
    found = []
    for words in calls:
        if words[:1] == ["dbeta"]:
            found.append(words[1:])
        elif "-m" in words and words[words.index("-m") + 1 :][:1] == ["dbeta.cli"]:
            found.append(words[words.index("dbeta.cli") + 1 :])
    return found


def all_commands(page: Path) -> list[tuple[str, list[str]]]:
    """Place and arguments of every `dbeta` command of a page, in fenced blocks and between backticks."""
    found = []
    for block in blocks(page):
        if block.language in (*SHELL, ""):
            for line in shell_lines(block.text):
                found += [(block.place, arguments) for arguments in dbeta_arguments(line)]
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for span in re.findall(r"`(dbeta [^`]+)`", prose):
        found += [(name_of(page), arguments) for arguments in dbeta_arguments(" ".join(span.split()))]
    return found

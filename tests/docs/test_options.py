"""Every command, option, file and module that a document names exists, and the generated pages are up to date."""

import importlib
import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer.main
from documents import OTHERS, PAGES, ROOT, all_commands, name_of

from dbeta.cli import app

ALL = [*PAGES, *OTHERS]
#: Words in documents that stand for any command.
PLACEHOLDERS = {"COMMAND", "TASK"}


def leaf(arguments):
    """The command that arguments begin with, and the arguments that are left."""
    command = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-") and rest[0] not in PLACEHOLDERS:
        assert rest[0] in command.commands, f"there is no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_every_command_and_option_exists(page):
    for place, arguments in all_commands(page):
        command, rest = leaf(arguments)
        known = {"--help"}
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        for word in rest:
            if word.startswith("-") and not re.fullmatch(r"-[\d.]*", word):
                assert word.split("=")[0] in known, f"{place}: dbeta {' '.join(arguments)} has no option {word}"


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_every_path_and_module_exists(page):
    text = page.read_text(encoding="utf-8")
    for path in set(re.findall(r"(?<![\w/.-])((?:tests|benchmarks|src|recipes|checkpoints|docs)/[\w./-]*\w)", text)):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"
    for name in set(re.findall(r"`(dbeta(?:\.\w+)+)", text)):
        assert resolves(name), f"{name_of(page)}: {name}"


def resolves(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def reference():
    """The script that writes the generated pages, as a module."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_reference_is_up_to_date(reference):
    stale = [
        name
        for name, text in reference.pages().items()
        if (reference.FOLDER / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make docs`"


def test_a_recipe_key_cannot_stay_undocumented(reference):
    @dataclass
    class Described:
        """A section.

        Attributes:
            rate: how fast,
                per step.
            names: whose.
        """

        rate: float = 0.5
        names: list[str] = field(default_factory=list)

    rows = reference.keys(Described).splitlines()[2:]
    assert rows == ["| `rate` | how fast, per step. | `0.5` |", "| `names` | whose. | `[]` |"]

    @dataclass
    class Undescribed(Described):
        __doc__ = Described.__doc__
        speed: int = 3

    with pytest.raises(ValueError, match=r"Undescribed\.speed: describe it under Attributes"):
        reference.keys(Undescribed)

    @dataclass
    class Outdated:
        __doc__ = Described.__doc__
        rate: float = 0.5

    with pytest.raises(ValueError, match="describes names, which is no field"):
        reference.keys(Outdated)


def test_the_readme_names_every_package():
    tree = re.search(r"src/dbeta/\n((?:  .*\n)+)", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {
        path.name
        for path in (ROOT / "src" / "dbeta").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert named == there

"""Decides sentences about waves for simulated ECGs, by the rules in `wave_rules.yaml`: yes, no or undetermined.

A rule is an expression over findings and measures, read with Python's grammar and computed in three values (Kleene's
logic): "and" is the smaller, "or" the larger of the signs +1, 0 and −1.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.simulation.finding_table import TABLE
from dbeta.simulation.signs import GROUPS

#: Names of the values of a record → how near to a limit they are undetermined.
MARGINS: dict[str, float] = {
    "rate": 1.5,
    "rr": 15.0,
    "pr": 6.0,
    "qrs": 5.0,
    "qt": 10.0,
    "qtc": 10.0,
    "axis": 5.0,
    "irregular": 1.5,
    "longest": 50.0,
    "p_height": 0.02,
    "p_terminal": 1.0,
    "p_time": 6.0,
    "sokolow": 0.2,
}
#: The same of each lead.
LEAD_MARGINS: dict[str, float] = {
    "st": 0.015,
    "t": 0.03,
    "r": 0.05,
    "s": 0.05,
    "q": 0.02,
    "r2": 0.03,
    "size": 0.05,
    "q_time": 4.0,
}
NAMED_LEADS = {"inferior": "II III aVF", "lateral": "I aVL V5 V6", "limb": "I II III aVR aVL aVF"}
#: Of findings, values and leads; a value is (B,), a lead's (B, 12); both may be NaN, which decides nothing.
Known = Mapping[str, np.ndarray]


@cache
def _file() -> dict[str, dict[str, object]]:
    text = files("dbeta.simulation").joinpath("wave_rules.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def rules() -> dict[str, ast.expr]:
    """Every sentence that has a rule, and the rule.

    Raises:
        DBetaError: a rule cannot be read.
    """
    content = _file()
    named = {name: _parsed(str(text)) for name, text in content["definitions"].items()}
    found: dict[str, ast.expr] = {}
    for text, sentences in content["rules"].items():
        rule = _Definitions(named).visit(_parsed(text))
        found |= {str(sentence).lower(): rule for sentence in sentences}  # type: ignore[attr-defined]
    return found


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise DBetaError(f"wave_rules.yaml: {text!r} is not a rule; see the top of the file") from None


class _Definitions(ast.NodeTransformer):
    """Puts a definition's expression in place of its name."""

    def __init__(self, named: Mapping[str, ast.expr]) -> None:
        self.named = named

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.visit(self.named[node.id]) if node.id in self.named else node


@cache
def leads_of(words: str) -> tuple[int, ...]:
    """Places of leads among the twelve: "V2-V4 aVF", "inferior"."""
    places: list[int] = []
    for word in words.split():
        if word in NAMED_LEADS:
            places += leads_of(NAMED_LEADS[word])
        elif "-" in word:
            first, last = (LEADS.index(one) for one in word.split("-"))
            places += range(first, last + 1)
        else:
            places.append(LEADS.index(word))
    return tuple(dict.fromkeys(places))


@cache
def leads_needed(sentence: str) -> frozenset[str]:
    """Leads without which nobody could say whether a sentence holds."""
    needed: set[str] = set()
    for node in ast.walk(rules()[sentence]):
        if isinstance(node, ast.Call):
            name = node.func.id  # type: ignore[attr-defined]
            places = range(len(LEADS)) if name == "grouped" else leads_of(node.args[0].value)  # type: ignore[attr-defined]
            needed |= {LEADS[place] for place in places}
        elif isinstance(node, ast.Constant) and node.value in TABLE:
            needed |= set(TABLE[str(node.value)].leads)
        elif isinstance(node, ast.Name) and node.id in EXTRA_LEADS:
            needed |= set(EXTRA_LEADS[node.id])
    return frozenset(needed)


#: Leads in which values are measured; intervals and rates show in any lead.
EXTRA_LEADS = {"axis": ("I", "aVF"), "p_height": ("II",), "p_terminal": ("V1",), "sokolow": ("V1", "V5", "V6")}


def decide_sentences(sentences: Sequence[str], findings: Known, values: Known, leads: Known, count: int) -> np.ndarray:
    """Whether sentences hold.

    Args:
        sentences: S of `rules`.
        findings: name → (B,) signs; a name that is missing is undetermined.
        values: for each of `MARGINS` (B,); what is missing is undetermined.
        leads: for each of `LEAD_MARGINS` (B, 12), in the standard order.
        count: B.

    Returns:
        (B, S) int8.

    Raises:
        DBetaError: a sentence has no rule.
    """
    evaluate = _Evaluation(findings, values, leads, count)
    known: dict[int, np.ndarray] = {}
    table = np.empty((count, len(sentences)), np.int8)
    for column, sentence in enumerate(sentences):
        if sentence not in rules():
            raise DBetaError(f"wave_rules.yaml: has no rule for the sentence {sentence!r} of conditions.yaml; add one")
        rule = rules()[sentence]
        if id(rule) not in known:
            known[id(rule)] = evaluate.sign(rule)[:, 0]
        table[:, column] = known[id(rule)]
    return table


class _Evaluation:
    """Computes rules for B records; everything is (B, 1), or (B, 12) inside a choice of leads."""

    def __init__(self, findings: Known, values: Known, leads: Known, count: int) -> None:
        nothing = np.full((count, 1), np.nan)
        self.findings = findings
        self.undetermined = np.zeros((count, 1), np.int8)
        self.values = {name: values[name][:, None] if name in values else nothing for name in MARGINS}
        self.values |= {name: leads.get(name, np.repeat(nothing, len(LEADS), axis=1)) for name in LEAD_MARGINS}
        self.margins = MARGINS | LEAD_MARGINS

    def sign(self, node: ast.expr) -> np.ndarray:
        """Of a condition."""
        match node:
            case ast.BoolOp():
                both: Callable = np.minimum if isinstance(node.op, ast.And) else np.maximum
                sign = self.sign(node.values[0])
                for other in node.values[1:]:
                    sign = both(sign, self.sign(other))
                return sign
            case ast.UnaryOp(op=ast.Not()):
                return -self.sign(node.operand)
            case ast.Compare(ops=[ast.Lt() | ast.Gt() as order]):
                excess = self.value(node.comparators[0]) - self.value(node.left)
                excess = -excess if isinstance(order, ast.Gt) else excess
                margin = max((self.margins[one.id] for one in ast.walk(node) if isinstance(one, ast.Name)), default=0.0)
                return np.where(excess > margin, 1, np.where(excess < -margin, -1, 0)).astype(np.int8)
            case ast.Constant(value=str() as name):
                return self.findings[name][:, None] if name in self.findings else self.undetermined
            case ast.Name(id="unknown"):
                return self.undetermined
            case ast.Call(func=ast.Name(id="grouped"), args=[condition]):
                signs = self.sign(condition)
                of_groups = [_two(signs[:, [LEADS.index(lead) for lead in group]]) for group in GROUPS]
                return np.max(of_groups, axis=0)
            case ast.Call(func=ast.Name(id=how), args=[ast.Constant(value=str() as words), condition]) if (
                how in CHOICES
            ):
                return CHOICES[how](
                    np.broadcast_to(self.sign(condition), (len(self.undetermined), 12))[:, leads_of(words)]
                )
        raise DBetaError(f"wave_rules.yaml: {ast.unparse(node)!r} is not a condition; see the top of the file")

    def value(self, node: ast.expr) -> np.ndarray:
        """Of a measure or a number."""
        match node:
            case ast.Name() if node.id in self.values:
                return self.values[node.id]
            case ast.Constant(value=int() | float() as number):
                return np.array([[float(number)]])
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand)
            case ast.BinOp(op=ast.Mult()):
                return self.value(node.left) * self.value(node.right)
        raise DBetaError(f"wave_rules.yaml: {ast.unparse(node)!r} is no value; see the top of the file")


def _two(signs: np.ndarray) -> np.ndarray:
    """Of two leads at least; where there is one lead only, of that: (B, n) → (B, 1)."""
    return np.sort(signs, axis=1)[:, -min(2, signs.shape[1])][:, None]


CHOICES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "every": lambda signs: signs.min(axis=1, keepdims=True),
    "some": lambda signs: signs.max(axis=1, keepdims=True),
    "two": _two,
}

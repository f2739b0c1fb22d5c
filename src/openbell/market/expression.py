"""Conditions over the columns of a market, as text: ``change_pct > 3 and volume_z > 2``.

The text is parsed into Python's syntax tree, of which a short list of nodes is accepted; each is translated into a
function over numpy arrays. Nothing is ever evaluated as Python: an expression can name columns and the functions listed
here, and nothing else. Its length and depth are bounded.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from openbell.errors import ExpressionError
from openbell.market.compiled import compiled
from openbell.market.nearby import nearby
from openbell.market.terms import Kind, Term, both, combine, constant, either, negate, pick, symbols_where

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.terms import Frame

LENGTH_MAX: Final = 1000
"""Longest expression, in characters."""
DEPTH_MAX: Final = 32
"""How deep its parts may be nested."""

_ARITHMETIC: Final[dict[type[ast.operator], Callable[..., Any]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Mod: np.mod,
    ast.FloorDiv: np.floor_divide,
    ast.Pow: np.power,
}
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[..., Any]]] = {
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
# Each with the least and the most arguments that it takes.
_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], int, int]]] = {
    "abs": (np.abs, 1, 1),
    "log": (np.log, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "min": (np.minimum, 2, 8),
    "max": (np.maximum, 2, 8),
}
_NAMED: Final = (*_FUNCTIONS, "round", "isnan")
_TESTS: Final = ("startswith", "endswith", "matches")
_NUMBER_HINT = "a condition is no number"
_SYNTAX = "this is no expression: {}"
_MEANT = {
    "===": "equality is ==",
    "=": "equality is ==, not =",
    "&&": "conditions are joined by `and`, not by &&",
    "||": "conditions are joined by `or`, not by ||",
    "!": "a condition is reversed by `not`, not by !",
}


class Expression:
    """A condition, or a number to sort by, over the columns of a market.

    Parameters
    ----------
    text : str
        Such as ``change_pct > 3 and volume_z > 2``: column names, numbers, ``+ - * / // % **``, comparisons (also
        ``0 < spread_bps < 5``), ``and``, ``or``, ``not``, ``in``, the functions ``abs``, ``min``, ``max``, ``log``,
        ``sqrt``, ``round`` and ``isnan``, and of the symbol ``symbol == "X"``, ``symbol in ("X", "Y")``,
        ``symbol.startswith("60")``, ``symbol.endswith(".SH", ".SZ")`` and ``symbol.matches("6*.S?")`` with the
        wildcards of a shell.
    known : collection of str
        The columns there are.

    Attributes
    ----------
    text : str
        As given.
    names : frozenset of str
        The columns that it names.
    is_condition : bool
        Whether it is one; otherwise it is a number a row.

    Raises
    ------
    ExpressionError
        It cannot be understood; the error says what is wrong, and where.

    Notes
    -----
    A comparison with a NaN, that is with what is not there, does not hold; only ``!=`` does, and ``not`` of one that
    does not hold. Ask by ``isnan``. Times and counts are whole numbers, and stay exact when added, subtracted or
    compared; everything else is computed in float64. Dividing by 0 gives inf or NaN, never an error.
    """

    def __init__(self, text: str, known: Collection[str]) -> None:
        self.text = text
        found = _Translator(text, known).translate()
        self._term = found
        self.names = found.names
        self.is_condition = found.kind is Kind.CONDITION
        self._compiled = compiled(found) if self.is_condition else None

    def places(self, frame: Frame) -> NDArray[np.intp]:
        """Return the rows of `frame` for which the condition holds, in order.

        Raises
        ------
        ExpressionError
            The expression is a number, not a condition.
        """
        if not self.is_condition:
            raise ExpressionError("a condition is needed, such as change_pct > 3, and this is a number", self.text)
        if self._compiled is not None and (found := self._compiled.places(frame)) is not None:
            return found
        with np.errstate(all="ignore"):
            if self._term.places is not None:
                return self._term.places(frame)
            held: NDArray[np.bool_] = self._term.evaluate(frame)
        return held.nonzero()[0]

    def number(self, frame: Frame) -> NDArray[Any]:
        """Return the number of each row of `frame`; True and False are 1 and 0.

        Raises
        ------
        ExpressionError
            The expression does not depend on any column.
        """
        if self._term.is_constant:
            raise ExpressionError("a column is needed, and this is the same for all symbols", self.text)
        with np.errstate(all="ignore"):
            return np.asarray(self._term.evaluate(frame))

    def __repr__(self) -> str:
        return f"<Expression {self.text!r}>"


class _Translator:
    """Turns one text into terms."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self._given = text
        self._known = known
        # On one line, so that a place in it is one number; no blanks before it, which Python would take for a block.
        self._line = re.sub(r"\s", " ", text)
        self._skipped = len(self._line) - len(self._line.lstrip())

    def translate(self) -> Term:
        if len(self._given) > LENGTH_MAX:
            raise ExpressionError(
                f"an expression has at most {LENGTH_MAX} characters, and this has {len(self._given)}",
                f"{self._given[:40]}…",
            )
        text = self._line.strip()
        if not text:
            raise ExpressionError("there is nothing in this expression", self._given)
        try:
            with warnings.catch_warnings():
                # What Python thinks of a backslash in our text is nobody's business.
                warnings.simplefilter("ignore")
                tree = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            # Without a place, or behind our one line: it ends too early.
            at = error.offset - 1 if error.offset and error.lineno == 1 else len(text)
            at = min(self._skipped + at, len(self._given))
            reason = (error.msg or "it has a mistake").partition(". Maybe")[0]
            # What other languages have there.
            reason = next((meant for sign, meant in _MEANT.items() if self._given[: at + 1].endswith(sign)), reason)
            raise ExpressionError(_SYNTAX.format(reason), self._given, at) from None
        except (ValueError, RecursionError, MemoryError):
            # Null characters, numbers of thousands of digits, hundreds of brackets.
            reason = _SYNTAX.format("it is nested too deeply, or has odd characters")
            raise ExpressionError(reason, self._given) from None
        self._bytes = text.encode("utf-8", "surrogatepass")
        found = self._term(tree, 0)
        if found.kind is Kind.TEXT:
            self._refuse(tree, 'a text is no condition; compare it, as in symbol == "600519.SH"')
        return found

    # ---- nodes ----

    def _term(self, node: ast.expr, depth: int) -> Term:
        if depth > DEPTH_MAX:
            self._refuse(node, f"this is nested more than {DEPTH_MAX} deep")
        depth += 1
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Constant():
                return self._constant(node)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                if type(node.op) not in _ARITHMETIC:
                    self._refuse(node, "there is no such operator here; conditions are joined by and, or, not")
                return combine(_ARITHMETIC[type(node.op)], self._numbers((node.left, node.right), depth))
            case ast.BoolOp():
                parts = [self._condition(each, depth) for each in node.values]
                return both(parts) if isinstance(node.op, ast.And) else either(parts)
            case ast.Compare():
                return self._comparisons(node, depth)
            case ast.Call():
                return self._call(node, depth)
        self._refuse(node, "this is not allowed in an expression")

    def _name(self, node: ast.Name) -> Term:
        if node.id == "symbol":
            return Term(Kind.TEXT, frozenset(), lambda frame: frame.symbols, is_constant=False)
        if node.id not in self._known:
            near = nearby(node.id, [*self._known, "symbol", *_NAMED])
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(self._known)}"
            self._refuse(node, f"there is no column {node.id!r}{hint}")
        return pick(node.id)

    def _constant(self, node: ast.Constant) -> Term:
        value = node.value
        if isinstance(value, str):
            return Term(Kind.TEXT, frozenset(), lambda _: value, is_constant=True, text=value)
        if type(value) is int and abs(value) < 2**62:
            return constant(np.int64(value))
        if type(value) is float or (type(value) is int and value < 10**300):
            return constant(np.float64(value))
        self._refuse(node, "only numbers and texts in quotes can be written here")

    def _unary(self, node: ast.UnaryOp, depth: int) -> Term:
        match node.op:
            case ast.Not():
                return negate(self._condition(node.operand, depth))
            case ast.USub():
                return combine(np.negative, self._numbers((node.operand,), depth))
            case ast.UAdd():
                return self._numbers((node.operand,), depth)[0]
        self._refuse(node, "there is no such operator here; conditions are turned round by not")

    def _comparisons(self, node: ast.Compare, depth: int) -> Term:
        sides = [node.left, *node.comparators]
        found = [
            self._compare(node, left, operator, right, depth)
            for left, operator, right in zip(sides, node.ops, node.comparators, strict=False)
        ]
        return found[0] if len(found) == 1 else both(found)

    def _compare(self, node: ast.Compare, left: ast.expr, operator: ast.cmpop, right: ast.expr, depth: int) -> Term:
        if isinstance(operator, ast.In | ast.NotIn):
            return self._within(left, isinstance(operator, ast.NotIn), right, depth)
        if type(operator) not in _COMPARISONS:
            self._refuse(node, "compare by <, <=, ==, !=, >=, > or in")
        terms = [self._term(each, depth) for each in (left, right)]
        if Kind.TEXT in (terms[0].kind, terms[1].kind):
            texts = [each.text for each in terms if each.text is not None]
            if {each.kind for each in terms} != {Kind.TEXT} or len(texts) != 1:
                self._refuse(node, 'a symbol is compared with a text in quotes, as in symbol == "600519.SH"')
            if not isinstance(operator, ast.Eq | ast.NotEq):
                self._refuse(node, "symbols are compared by ==, != or in; see also symbol.matches")
            found = symbols_where({texts[0]}.__contains__)
            return found if isinstance(operator, ast.Eq) else negate(found)
        for each, term in zip((left, right), terms, strict=True):
            if term.kind is not Kind.NUMBER:
                self._refuse(each, _NUMBER_HINT)
        if all(each.is_constant for each in terms):
            self._refuse(node, "this compares two constants; one side must be a column")
        return combine(_COMPARISONS[type(operator)], terms, Kind.CONDITION)

    def _within(self, left: ast.expr, outside: bool, right: ast.expr, depth: int) -> Term:
        asked = self._term(left, depth)
        if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
            self._refuse(right, 'behind in stands a list in brackets, as in symbol in ("600519.SH", "000001.SZ")')
        listed = [self._term(each, depth) for each in right.elts]
        if asked.is_constant or not all(each.is_constant and each.kind is asked.kind for each in listed):
            what = "texts in quotes" if asked.kind is Kind.TEXT else "numbers"
            self._refuse(right, f"this must be a list of {what}, and what is looked for in it a column")
        if asked.kind is Kind.TEXT:
            texts = {each.text for each in listed}
            found = symbols_where(texts.__contains__)
        elif asked.kind is Kind.NUMBER:
            found = either([combine(np.equal, [asked, each], Kind.CONDITION) for each in listed])
        else:
            self._refuse(left, _NUMBER_HINT)
        return negate(found) if outside else found

    # ---- functions ----

    def _call(self, node: ast.Call, depth: int) -> Term:
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            self._refuse(node, "functions take their arguments one after the other here")
        if isinstance(node.func, ast.Attribute):
            return self._symbol_test(node, node.func)
        if not isinstance(node.func, ast.Name) or node.func.id not in _NAMED:
            self._refuse(node.func, f"there is no such function; there are {', '.join(_NAMED)}")
        name, count = node.func.id, len(node.args)
        _, least, most = _FUNCTIONS.get(name, (None, 1, 2 if name == "round" else 1))
        if not least <= count <= most:
            takes = f"{least}" if least == most else f"{least} to {most}"
            self._refuse(node, f"{name} takes {takes} argument{'s' * (most > 1)}, and got {count}")
        if name == "round":
            return self._round(node, depth)
        terms = self._numbers(node.args, depth)
        if name == "isnan":
            if terms[0].is_constant:
                self._refuse(node, "isnan asks of a column")
            return combine(np.isnan, terms, Kind.CONDITION)
        found = terms[0] if count > 1 else combine(_FUNCTIONS[name][0], terms)
        for each in terms[1:]:
            found = combine(_FUNCTIONS[name][0], [found, each])
        return found

    def _round(self, node: ast.Call, depth: int) -> Term:
        (value,) = self._numbers(node.args[:1], depth)
        digits = node.args[1] if len(node.args) > 1 else ast.Constant(0)
        if not isinstance(digits, ast.Constant) or type(digits.value) is not int or not 0 <= digits.value <= 15:
            self._refuse(digits, "round takes from 0 to 15 digits")
        places = digits.value
        return combine(lambda each: np.round(each, places), [value])

    def _symbol_test(self, node: ast.Call, test: ast.Attribute) -> Term:
        if not isinstance(test.value, ast.Name) or test.value.id != "symbol" or test.attr not in _TESTS:
            self._refuse(node, f"there are {', '.join(f'symbol.{each}(...)' for each in _TESTS)}, and no others")
        texts = [each.value for each in _flat(node.args) if isinstance(each, ast.Constant) and type(each.value) is str]
        if len(texts) != len(list(_flat(node.args))) or not texts:
            self._refuse(node, f'symbol.{test.attr} takes texts in quotes, as in symbol.{test.attr}("60")')
        if test.attr == "matches":
            # Of a shell's pattern fnmatch makes a regular expression that cannot run wild.
            patterns = [re.compile(fnmatch.translate(each)).match for each in texts]
            return symbols_where(lambda symbol: any(match(symbol) for match in patterns))
        parts = tuple(texts)
        if test.attr == "startswith":
            return symbols_where(lambda symbol: symbol.startswith(parts))
        return symbols_where(lambda symbol: symbol.endswith(parts))

    # ---- kinds ----

    def _numbers(self, nodes: Iterable[ast.expr], depth: int) -> list[Term]:
        found = []
        for node in nodes:
            term = self._term(node, depth)
            if term.kind is not Kind.NUMBER:
                self._refuse(node, _NUMBER_HINT if term.kind is Kind.CONDITION else "a text is no number")
            found.append(term)
        return found

    def _condition(self, node: ast.expr, depth: int) -> Term:
        term = self._term(node, depth)
        if term.kind is not Kind.CONDITION:
            self._refuse(node, "a condition is needed here, such as change_pct > 3")
        return term

    def _refuse(self, node: ast.expr, reason: str) -> NoReturn:
        start, end = (
            self._skipped + len(self._bytes[:at].decode("utf-8", "replace"))
            for at in (getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None) or 0)
        )
        raise ExpressionError(reason, self._given, start, max(end, start + 1))


def _flat(nodes: Iterable[ast.expr]) -> Iterable[ast.expr]:
    """Return `nodes` with those of tuples one by one: ``endswith((".SH", ".SZ"))`` is Python's way."""
    for node in nodes:
        yield from node.elts if isinstance(node, ast.Tuple) else (node,)

"""Two arguments of one type cannot be exchanged unseen: the second has to be named."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from test_import_rules import SOURCES

# Functions of which it is seen what each argument is, and why.
PLAIN = {
    "source_channels": "geometry: tuples of the two are passed on",
    "windows_of": "geometry: tuples of the two are passed on",
    "_piece": "the lanes and neurons of one array's two axes, as a tuple of both is passed on",
    "_typed": "a pair of separators, as a tuple of both is passed on",
    "see": "the answers of samples and which samples they are of",
    "coalesce": "rows, columns and values, as everywhere of sparse matrices",
}
# Names of arguments that may be exchanged.
EITHER_WAY = ({"a", "b"}, {"one", "two"}, {"one", "other"}, {"r", "s"})


def functions(node: ast.AST, where: str = "") -> Iterator[tuple[ast.FunctionDef, str]]:
    """Every function with where it stands: "", "class" or "function"."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child, where
            yield from functions(child, "function")
        else:
            below = "class" if isinstance(child, ast.ClassDef) and where != "function" else where
            yield from functions(child, below)


def exchangeable(function: ast.FunctionDef) -> bool:
    """Whether two arguments that need no name have one type."""
    before: dict[str, str] = {}
    for argument in (*function.args.posonlyargs, *function.args.args):
        if argument.annotation is None:
            continue
        kind = ast.unparse(argument.annotation)
        if kind in before and kind != "Any" and {before[kind], argument.arg} not in EITHER_WAY:
            return True
        before[kind] = argument.arg
    return False


def test_the_second_argument_of_a_type_is_named_where_it_is_given() -> None:
    """Free are: functions in functions, whose calls stand beside them; constructors, whose order
    is that of fields; what is handed on as a value or stands in several classes, whose order is
    that of a contract; compiled functions, which take no names."""
    trees = {path: ast.parse(path.read_text()) for paths in SOURCES.values() for path in paths}
    defined: Counter[str] = Counter()
    values: set[str] = set()
    found: dict[str, str] = {}
    for path, tree in trees.items():
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        values |= {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in called
        }
        for function, where in functions(tree):
            name = function.name
            # A private name is its own module's.
            defined[name] += where != "function"
            free = where == "function" or name.startswith("__") or "native" in path.parts
            if not free and exchangeable(function):
                found[name] = f"{path}:{function.lineno}"
    offending = {
        name: where
        for name, where in found.items()
        if name not in values and (defined[name] == 1 or name.startswith("_"))
    }
    assert offending.keys() <= PLAIN.keys(), {n: offending[n] for n in offending.keys() - PLAIN}
    assert offending.keys() >= PLAIN.keys(), PLAIN.keys() - offending.keys()

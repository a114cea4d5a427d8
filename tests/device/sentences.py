"""Which English sentences a module can say, read from its source: so that none is forgotten in a catalogue."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from itertools import product
from types import ModuleType


def templates(module: str | ModuleType, *errors: str, functions: tuple[str, ...] = ()) -> set[str]:
    """Every sentence (a text of two words and more) in a module, with ``{}`` where an f-string has a value.

    Docstrings are left out, and so are messages of raised errors, but for classes named in ``errors``; with
    ``functions``, only what is said in functions, or constants, of these names. A value that is itself a text of
    the module is filled in: a local name that was set to one, or an entry of a module's table (each in turn).
    """
    source = importlib.import_module(module) if isinstance(module, str) else module
    tree = ast.parse(inspect.getsource(source))
    found: set[str] = set()
    for top in tree.body:
        if functions and not _names(top) & set(functions):
            continue
        for scope in _scopes(top):
            names = _assigned(scope)
            inner = {id(v) for text in names.values() for v in ast.walk(text)}
            for node in _spoken(scope, errors):
                if id(node) not in inner:
                    found.update(t for t in _texts(node, names, vars(source)) if _is_sentence(t))
    return found


def _names(top: ast.stmt) -> set[str]:
    targets = {t.id for t in getattr(top, "targets", []) if isinstance(t, ast.Name)}
    return targets | {getattr(top, "name", "")}


def _scopes(top: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(top, ast.ClassDef):
        for part in top.body:
            yield from _scopes(part)
    else:
        yield top


def _assigned(scope: ast.AST) -> dict[str, ast.JoinedStr]:
    """Local names that are set to an f-string, to be put into others."""
    names = {}
    if not isinstance(scope, ast.FunctionDef):
        return names
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts))
                names.update(
                    {t.id: v for t, v in pairs if isinstance(t, ast.Name) and isinstance(v, ast.JoinedStr)}
                )
    return {name: text for name, text in names.items() if _is_put_into_another(name, scope)}


def _is_put_into_another(name: str, scope: ast.AST) -> bool:
    values = [n.value for n in ast.walk(scope) if isinstance(n, ast.FormattedValue)]
    return any(isinstance(v, ast.Name) and v.id == name for v in values)


def _spoken(node: ast.AST, errors: tuple[str, ...]) -> Iterator[ast.JoinedStr | ast.Constant]:
    if isinstance(node, ast.Raise):
        kind = node.exc.func if isinstance(node.exc, ast.Call) else None
        if not (isinstance(kind, ast.Name) and kind.id in errors):
            return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
        return
    for field, child in ast.iter_fields(node):
        for part in child if isinstance(child, list) else [child]:
            if isinstance(part, ast.AST) and field not in ("annotation", "returns"):
                yield from _spoken(part, errors)


def _texts(node: ast.AST, names: dict[str, ast.JoinedStr], module: dict[str, object]) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    parts = [_values(v, names, module) if isinstance(v, ast.FormattedValue) else [v.value] for v in node.values]
    return ["".join(chosen) for chosen in product(*parts)]


def _values(node: ast.FormattedValue, names: dict[str, ast.JoinedStr], module: dict[str, object]) -> list[str]:
    value = node.value
    if isinstance(value, ast.Name) and value.id in names:
        return _texts(names[value.id], names, module)
    if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        table = module.get(value.value.id)
        if isinstance(table, dict) and all(isinstance(v, str) for v in table.values()):
            return list(table.values())
    return ["{}"]


def _is_sentence(text: str) -> bool:
    words = [w for w in text.split() if any(c.isalpha() for c in w)]
    return len(words) > 1

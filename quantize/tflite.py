"""A TFLite file as its schema has it: what its operators are called, and in which order they run."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

_BUILTIN = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def parse(model: bytes) -> Any:
    """The file as a tree of objects, which may be changed and packed again."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))


def operators(parsed: Any) -> list[str]:
    """The names of the operators of the one graph, in their order: builtin names, custom ones by their own."""
    (graph,) = parsed.subgraphs
    codes = [parsed.operatorCodes[operator.opcodeIndex] for operator in graph.operators]
    return [
        c.customCode.decode() if c.customCode else _BUILTIN[max(c.builtinCode, c.deprecatedBuiltinCode)]
        for c in codes
    ]

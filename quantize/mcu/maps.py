"""What a network's feature maps ask of a working memory, whoever plans it."""

from __future__ import annotations

import math

import msgspec
from ai_edge_litert import schema_py_generated as schema

OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


class Widest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operator during which most bytes of feature maps are alive: a memory below ``bytes`` is only to be had
    where operators write over their own inputs, or where maps are worked on in stripes."""

    bytes: int
    operator: str
    place: int  # of the operator in the model, from 0


def operators(model: bytes) -> list[str]:
    """The operators of a TFLite model in the order in which they run: builtin names, custom ones by their own."""
    parsed = _parse(model)
    codes = [parsed.operatorCodes[operator.opcodeIndex] for operator in parsed.subgraphs[0].operators]
    return [
        c.customCode.decode() if c.customCode else OPERATORS[max(c.builtinCode, c.deprecatedBuiltinCode)]
        for c in codes
    ]


def widest(model: bytes) -> Widest:
    """Where an int8 TFLite model's maps take most: the operator's inputs and outputs, and what later ones read."""
    parsed = _parse(model)
    (graph,) = parsed.subgraphs
    born = dict.fromkeys(graph.inputs, 0)
    dies = dict.fromkeys(graph.inputs, 0)
    for place, operator in enumerate(graph.operators):
        born |= dict.fromkeys(operator.outputs, place)
        dies |= dict.fromkeys((t for t in (*operator.inputs, *operator.outputs) if t in born), place)
    dies |= dict.fromkeys(graph.outputs, len(graph.operators) - 1)
    alive = [
        sum(math.prod(graph.tensors[t].shape) for t in born if born[t] <= place <= dies[t])
        for place in range(len(graph.operators))
    ]
    place = max(range(len(alive)), key=alive.__getitem__)
    return Widest(int(alive[place]), operators(model)[place], place)


def _parse(model: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))

"""What a network's feature maps ask of a working memory, whoever plans it."""

from __future__ import annotations

import math

import msgspec

from quantize import tflite


class Widest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operator during which most bytes of feature maps are alive: a memory below ``bytes`` is only to be had
    where operators write over their own inputs, or where maps are worked on in stripes."""

    bytes: int
    operator: str
    place: int  # of the operator in the model, from 0


def widest(model: bytes) -> Widest:
    """Where an int8 TFLite model's maps take most: the operator's inputs and outputs, and what later ones read."""
    parsed = tflite.parse(model)
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
    return Widest(int(alive[place]), tflite.operators(parsed)[place], place)

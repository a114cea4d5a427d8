"""The noise of each operator: exact on what is exact, and worst where a layer was damaged."""

from __future__ import annotations

import dataclasses

import flatbuffers
import numpy as np
import onnx
import pytest

from quantize import sensitivity, tflite
from quantize.errors import ParityError
from quantize.onnx_to_tf import Graph
from quantize.sensitivity import CAP, Noise, operator_noise


@pytest.fixture(scope="module", params=["segmenter", "classifier"])
def tiny(request):
    return request.getfixturevalue(request.param)


def noise_of(converted, images, int8=None):
    graph = Graph(onnx.load_from_string(converted.onnx))
    return operator_noise(graph, int8 or converted.int8_tflite, images[:4])


@pytest.fixture(scope="module")
def healthy(tiny):
    return noise_of(tiny.converted, tiny.images)


def test_every_operator_is_measured_worst_first(tiny, healthy):
    assert len(healthy) == sum(tiny.converted.operators.values())
    assert sorted(n.position for n in healthy) == list(range(len(healthy)))
    own = [n.own for n in healthy]
    assert own == sorted(own) and own[0] > 0  # a gate that hardly fires is all rounding
    assert 30 < np.median(own) < 60
    first = next(n for n in healthy if n.position == 0)
    assert first.kind == "CONV_2D" and first.layer == "encoder.levels.0.0.0"
    assert first.own == pytest.approx(first.total)  # there is nothing before it
    layers = {n.layer for n in healthy if n.kind == "CONV_2D"}
    assert len(layers) == tiny.converted.operators["CONV_2D"]  # each convolution by its own name


@pytest.mark.parametrize("number", [1, 5, 10])
def test_a_damaged_layer_comes_out_worst(tiny, healthy, number):
    """One convolution's weights have the wrong sign: it, and no other, loses more than before, and the most."""
    int8, position = with_damaged_convolution(tiny.converted.int8_tflite, number)
    found = noise_of(tiny.converted, tiny.images, int8)
    assert found[0].position == position and found[0].own < min(1.0, found[1].own)
    before = {n.position: n for n in healthy}
    for noise in found:
        if noise.position != position:
            assert noise.own == before[noise.position].own  # of its own, no other operator lost anything
        if noise.position < position:
            assert noise.total == before[noise.position].total
    assert any(n.total < before[n.position].total - 3 for n in found if n.position > position)  # and it spreads


def test_models_that_are_not_one_network(segmenter, classifier):
    mixed = dataclasses.replace(segmenter.converted, int8_tflite=classifier.converted.int8_tflite)
    with pytest.raises(ParityError, match="differ"):
        noise_of(mixed, segmenter.images)


def test_decibels():
    assert sensitivity._decibels(100.0, 1.0) == pytest.approx(20)
    assert sensitivity._decibels(1.0, 0.0) == CAP and sensitivity._decibels(0.0, 1.0) == -CAP
    assert sensitivity._decibels(0.0, 0.0) == CAP


def test_the_plot_is_a_picture(tmp_path):
    noises = [Noise(i, "CONV_2D", f"layer{i}", (1, 2, 2, 8), 30.0 + i, 25.0 + i) for i in range(8)]
    sensitivity.plot(tmp_path / "noise.png", noises, "toy 1.0")
    assert (tmp_path / "noise.png").read_bytes().startswith(b"\x89PNG")


def with_damaged_convolution(model: bytes, number: int) -> tuple[bytes, int]:
    """The model with the weights of its ``number``th 3 x 3 convolution negated, and that operator's position."""
    parsed = tflite.parse(model)
    (graph,) = parsed.subgraphs
    wide = [
        i
        for i, operator in enumerate(graph.operators)
        if len(operator.inputs) == 3 and graph.tensors[operator.inputs[1]].shape[1] == 3
    ]
    position = wide[number]
    weights = parsed.buffers[graph.tensors[graph.operators[position].inputs[1]].buffer]
    weights.data = (-np.array(weights.data, np.uint8).view(np.int8)).view(np.uint8)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output()), position

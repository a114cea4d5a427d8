"""Make ``tiny.tflite`` again: python -m tests.golden.make"""

from pathlib import Path

from quantize.chain import convert_network
from tests.quantize.conftest import SIZE, discs, segmentation_network

if __name__ == "__main__":
    images = discs(8)
    model = convert_network(segmentation_network(images), SIZE, images, images).int8_tflite
    Path(__file__).with_name("tiny.tflite").write_bytes(model)

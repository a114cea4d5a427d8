"""The instrument: camera, quality, segmentation, verdict, record.

Installs and runs without torch and TensorFlow; imports neither ``train`` nor ``quantize``.
"""

__version__ = "0.1.0"

"""The installed versions of everything that decides what the chain makes."""

from __future__ import annotations

from importlib import metadata

TOOLS = ("tenohira", "torch", "onnx", "onnxscript", "tensorflow-cpu", "tensorflow", "ai-edge-litert", "numpy")


def versions() -> dict[str, str]:
    """Version of each tool that is installed."""
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()}
    return {name: installed[name] for name in TOOLS if name in installed}

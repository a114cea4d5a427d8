"""Quantization: trained weights in, signed int8 bundles out (workstation)."""

"""Bundles on microcontrollers: what they need there, whether they answer the same, and C sources of them."""

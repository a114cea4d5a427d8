"""Puts the fault that TENOHIRA_HIL_FAULT names into this Python; see this folder's ``__init__``."""

import importlib.util
import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
# The faults' names must not hide modules of the same name.
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]

if wanted := os.environ.get("TENOHIRA_HIL_FAULT"):
    name, _, part = wanted.partition(":")
    path = os.path.join(folder, f"{name}.py")
    if not os.path.isfile(path):
        raise SystemExit(f"{path} is no deliberate fault; TENOHIRA_HIL_FAULT is {wanted!r}")
    spec = importlib.util.spec_from_file_location(f"hil_fault_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.put_in(part)

"""Puts the fault that TENOHIRA_HIL_FAULT names into this Python; see this folder's ``__init__``."""

import importlib.util
import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))


class _Later:
    """An importer of one module, which changes it once it is there."""

    def __init__(self, name, change):
        self._name, self._change = name, change

    def find_spec(self, name, path=None, target=None):
        """Python's protocol for sys.meta_path."""
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self._change(module)

        spec.loader.exec_module = exec_module
        return spec


def when_imported(name, change):
    """Call ``change(module)`` when a module of this name, which nobody has imported yet, was imported."""
    sys.meta_path.insert(0, _Later(name, change))


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

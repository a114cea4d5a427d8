"""What the target is: machine, versions, bundles; and whether its firmware slowed it down."""

from __future__ import annotations

import json
from typing import Any

from hil_tests.run import Run

# One shell command, so that an emulated board answers in one go.
MACHINE = r"""
echo "model=$(tr -d '\0' 2>/dev/null </proc/device-tree/model || cat /sys/class/dmi/id/product_name 2>/dev/null)"
echo "cpu=$(sed -n 's/^\(model name\|CPU part\)[^:]*: //p' /proc/cpuinfo | head -n 1)"
echo "cores=$(nproc)"
echo "memory_mb=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"
echo "kernel=$(uname -r)"
echo "architecture=$(uname -m)"
echo "os=$(. /etc/os-release && echo "$PRETTY_NAME")"
"""
NUMBERS = ("cores", "memory_mb")
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
THROTTLED = f"vcgencmd get_throttled 2>/dev/null || cat {FIRMWARE} 2>/dev/null"


def gather(run: Run) -> None:
    """Fill in the run's facts."""
    target = run.rig.target
    lines = (line.partition("=") for line in target.get_driver("CommandProtocol").run(MACHINE)[0])
    run.machine = {name: int(value) if name in NUMBERS else value for name, _, value in lines if name}
    told = target.get_driver("InstrumentProtocol").tenohira("selftest", "--software", "--json")
    try:
        said: dict[str, Any] = json.loads(told.out)
    except ValueError:
        said = {}
    run.versions, run.bundles = said.get("versions", {}), said.get("bundles", {})
    run.throttling["before"] = throttled(target)


def throttled(target: Any) -> str:
    """The firmware's word (hexadecimal); empty where this machine has no such firmware. See device/health.py."""
    out = target.get_driver("CommandProtocol").run(THROTTLED)[0]
    return out[0].rpartition("=")[2].strip() if out else ""

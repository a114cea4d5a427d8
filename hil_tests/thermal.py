"""Whether the board's firmware slowed it down while it was measured: a run in which it did is void.

``get_throttled`` of a Raspberry Pi is a hexadecimal number (raspberrypi.com, documentation of vcgencmd). It is
read before the first test, after each, and at the end.
"""

from __future__ import annotations

from typing import Any

FLAGS = {
    0: "the supply voltage was too low",
    1: "the processor's frequency was capped",
    2: "the processor was throttled",
    3: "the soft temperature limit was reached",
}
SINCE_START = 16  # bits higher: it happened since the board was switched on


def void(throttling: dict[str, Any]) -> str | None:
    """Why the times of a run say nothing, from its readings (``before``, ``during``, ``after``); else None.

    What is so at a reading counts, and what has happened since the start where it had not before the run. An empty
    reading says nothing: there is no such firmware, or the board was off.
    """
    before, *later = (_flags(text) for text in _readings(throttling))
    now = before
    for flags in later:
        now |= flags | (flags & ~before) >> SINCE_START
    words = [words for bit, words in FLAGS.items() if now >> bit & 1]
    return (
        f"{', '.join(words)} (get_throttled: {', '.join(filter(None, _readings(throttling)))})" if words else None
    )


def _readings(throttling: dict[str, Any]) -> list[str]:
    return [throttling.get("before", ""), *throttling.get("during", []), throttling.get("after", "")]


def _flags(text: str) -> int:
    return int(text, 16) if text else 0

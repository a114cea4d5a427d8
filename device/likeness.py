"""Does this look like a retina? Wood, skin, fur and faces are red and brown too.

Blood tells them apart: vessels are dark in green and hardly in red, where a shadow, a knot or a hair is dark in
both; and details are few and faint on an even ground, where surfaces are textured all over. Seven such figures go
into one quadratic form. Its weights come from photographs of the fundus by seven cameras, also spoilt ones, and of
other things: ``python -m train.likeness`` fits and measures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from device.geometry import UInt8Image

Plane = npt.NDArray[np.float32]
FEATURES = ("red by green", "together", "faint", "strong", "sparse", "red over green", "green over blue")

# Mean and standard deviation of each feature, weights of the standardized feature and of its square, a constant.
MEANS = (0.3591, 0.6970, -4.2501, -2.2623, 1.9878, 0.5956, 0.8350)
SCALES = (0.2105, 0.1575, 0.5760, 0.6551, 0.3356, 0.2513, 0.4679)
LINEAR = (-0.6061, -0.8918, -1.8111, -1.0794, 1.0015, -0.0838, 2.6325)
SQUARE = (-0.0384, -0.6763, 0.4312, -0.6569, -0.5948, -0.0576, -0.2402)
CONSTANT = 9.0526


def features(details: tuple[Plane, Plane], colours: UInt8Image) -> npt.NDArray[np.float64]:
    """The seven figures of a retina's pixels.

    ``details`` are n values each of red and green: how much a pixel stands out from its surroundings, relative to
    them. ``colours`` are m x 3, RGB.
    """
    red, green = (plane.astype(np.float64) for plane in details)
    faint, strong = (np.log(quantile(np.abs(green), share) + 1e-3) for share in (0.5, 0.99))
    deep = green <= quantile(green, 0.03)
    ratio = float(red[deep] @ green[deep]) / max(float(green[deep] @ green[deep]), 1e-9)
    spread = float(red.std() * green.std())
    together = float(((red - red.mean()) * (green - green.mean())).mean()) / spread if spread > 1e-9 else 1.0
    r, g, b = np.log(colours.astype(np.float64) + 10).mean(axis=0)
    return np.array([ratio, together, faint, strong, strong - faint, r - g, g - b])


def quantile(values: npt.NDArray[Any], share: float) -> float:
    """What ``np.quantile`` says, in a fraction of its time: it puts more into order than the answer needs."""
    place = share * (values.size - 1)
    k = int(place)
    ordered = np.partition(values, k, axis=None)
    low = float(ordered[k])
    step = float(ordered[k + 1 :].min()) - low if k + 1 < values.size else 0.0
    return low + step * (place - k)


def likeness(values: npt.NDArray[np.float64]) -> float:
    """The quadratic form of what ``features`` has found: above 0 the picture is rather a retina than not."""
    z = (values - MEANS) / SCALES
    return float(z @ LINEAR + (z * z) @ SQUARE + CONSTANT)

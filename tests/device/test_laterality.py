"""Which eye: where the answer is known, it is right; a mirrored picture never shows the same eye.

``pytest -s tests/device/test_laterality.py`` prints how many photographs of each set are answered, and how many
wrongly: the table of docs/instrument-quality.md.
"""

from collections import Counter

import cv2
import numpy as np
import pytest

from device.camera.simulated import Eye, SimulatedCamera
from device.field import circle_of, find_field
from device.imaging import read_image
from device.laterality import seen
from device.localization import Disc
from device.pipeline import Pipeline

# Disc-centred photographs of DRISHTI in which the macula can be seen by eye, darker on one side, at the field's
# edge. Read from the pictures before the rule was weighed; the set itself does not say which eye is which.
DRISHTI = {
    "OD": "004 018 024 026 031 033 038 042 044 047 051 057 058 060 062 069 090 101",
    "OS": "010 017 022 032 036 045 046 061 063 064 068 076 080 081 084 089 092 094",
}
MACULA_CENTRED = (
    0.35  # field radii between the middle and the annotated disc, from which the anatomy tells the eye
)


def eye_of(pixels, disc):
    return seen(pixels, find_field(pixels), disc)


def mirrored(pixels, disc):
    flipped = np.ascontiguousarray(np.fliplr(pixels))
    return flipped, Disc(pixels.shape[1] - disc.cx, disc.cy, disc.diameter)


def drawn(laterality, seed=1, size=640):
    eye = Eye(laterality, vcdr=0.5, seed=seed)
    pixels = SimulatedCamera(eye, size=size).still().pixels
    right = 0.5 + (0.2 if laterality == "OD" else -0.2)
    return pixels, Disc(right * size, 0.5 * size, 0.16 * size)


@pytest.mark.parametrize("laterality", ["OD", "OS"])
def test_the_disc_of_a_drawn_eye_lies_on_the_nasal_side(laterality):
    pixels, disc = drawn(laterality)
    assert eye_of(pixels, disc) == laterality
    assert {eye_of(*mirrored(pixels, disc)), laterality} == {"OD", "OS"}


def test_what_does_not_show_it_is_unknown():
    pixels, _ = drawn("OD")
    field = find_field(pixels)
    assert seen(pixels, field, None) == "unknown"
    tight = np.ascontiguousarray(pixels[220:420, 348:548])  # a crop around the disc
    assert eye_of(tight, Disc(100, 100, 100)) == "unknown"
    for wrong in (Disc(450, 560, 100), Disc(450, 320, 300), Disc(450, 320, 8)):  # too low, too large, too small
        assert seen(pixels, field, wrong) == "unknown"


@pytest.mark.parametrize("place", [(-80, -80), (0, 0), (639, 320), (700, 900)])
def test_a_disc_in_the_dark_or_outside_of_the_picture_is_no_failure(place):
    pixels, _ = drawn("OS")
    assert seen(pixels, find_field(pixels), Disc(*place, 90)) in ("OD", "OS", "unknown")


def anatomy(pixels, mask_path):
    """The eye by the annotated disc's side in a macula-centred field; empty where it is not."""
    columns = np.flatnonzero(cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE).any(axis=0))
    if not len(columns):
        return ""
    (cx, _), share = circle_of(find_field(pixels))
    right = (columns.mean() - cx * pixels.shape[1]) / (share * min(pixels.shape[:2]))
    return "" if abs(right) < MACULA_CENTRED else "OD" if right > 0 else "OS"


def known(data_root):
    """(set, path, pixels, eye or "") of photographs of which something else than the rule tells the eye."""
    for path in sorted((data_root / "chase_db1").glob("Image_*.jpg")):
        yield "CHASE_DB1 (names)", path, read_image(path).pixels, {"L": "OS", "R": "OD"}[path.stem[-1]]
    for laterality, numbers in DRISHTI.items():
        for number in numbers.split():
            path = data_root / "drishti_gs1" / "images" / f"drishtiGS_{number}.jpg"
            yield "DRISHTI (by eye)", path, read_image(path).pixels, laterality
    for path in sorted((data_root / "idrid" / "A_Segmentation" / "images").rglob("*.jpg")):
        mask = next((data_root / "idrid" / "A_Segmentation" / "masks_OD").rglob(f"{path.stem}*"))
        pixels = read_image(path).pixels
        yield "IDRiD A (disc masks)", path, pixels, anatomy(pixels, mask)
    for path in sorted((data_root / "palm_disc" / "JPEGImages").glob("*.jpg")):
        pixels = read_image(path).pixels
        mask = data_root / "palm_disc" / "Annotations" / f"{path.stem}.png"
        yield "PALM (disc masks)", path, pixels, anatomy(pixels, mask)


@pytest.mark.data
def test_real_photographs_are_answered_rightly_or_not_at_all(data_root):
    pipeline = Pipeline.load()
    counts, wrong = {}, []
    for name, path, pixels, truth in known(data_root):
        disc = pipeline.find_disc(pixels)
        if disc is None or not truth:
            continue
        answer = eye_of(pixels, disc)
        other = eye_of(*mirrored(pixels, disc))
        counts.setdefault(name, Counter()).update(
            {"n": 1, "answered": answer != "unknown", "wrong": answer not in (truth, "unknown")}
        )
        wrong += [f"{path.name}: {answer}, not {truth}"] if answer not in (truth, "unknown") else []
        assert "unknown" in (answer, other) or answer != other, path.name
    for name, c in counts.items():
        print(f"{name}: {c['answered']} of {c['n']} answered, {c['wrong']} of them wrong")
    answered = sum(c["answered"] for c in counts.values())
    assert len(wrong) <= 0.01 * answered, wrong
    least = {"CHASE_DB1": 0.35, "DRISHTI": 0.5, "IDRiD A": 0.6, "PALM": 0.5}
    for name, share in least.items():
        c = next(counts[key] for key in counts if key.startswith(name))
        assert c["answered"] >= share * c["n"], (name, c)


@pytest.mark.data
def test_a_field_nasal_of_the_disc_is_hardly_ever_taken_for_the_other_eye(data_root):
    """Cut from disc-centred photographs: a round stop whose middle lies nasal of the disc."""
    pipeline, answers = Pipeline.load(), Counter()
    for name, _, pixels, truth in known(data_root):
        if not name.startswith(("CHASE", "DRISHTI")):
            break
        disc, lit = pipeline.find_disc(pixels), find_field(pixels).mask
        if (
            disc is None
            or not 0.1 < disc.diameter / (2 * circle_of(find_field(pixels))[1] * min(pixels.shape[:2])) < 0.2
        ):
            continue
        lit = cv2.resize(lit, pixels.shape[1::-1]) > 127
        for offset in (0.35, 0.5):
            radius = 2.4 * disc.diameter
            x = disc.cx + (1 if truth == "OD" else -1) * offset * radius
            stop = cv2.circle(np.zeros(lit.shape, np.uint8), (int(x), int(disc.cy)), int(radius), 1, -1) > 0
            if (stop & ~lit).sum() <= 0.25 * (~lit).sum():
                answers[eye_of(np.where(stop[..., None], pixels, 0).astype(np.uint8), disc) == "unknown"] += 1
    print(f"{answers[False]} of {answers.total()} nasal fields answered")
    assert answers.total() >= 30 and answers[False] <= 0.1 * answers.total()

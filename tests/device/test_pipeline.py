"""The pipeline's flow, on painted eyes and networks that see colours."""

import math
from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
from PIL import Image

from device import pipeline
from device.bundle import Probability
from device.errors import BundleError, UsageError
from device.imaging import read_image
from device.localization import Disc
from device.pipeline import Pipeline, Stopwatch
from device.quality import Quality
from device.verdict import Outcome
from tests.device.eye import (
    CUP_GREEN,
    DISC_GREEN,
    SIZE,
    SPOT_GREEN,
    ColourNetwork,
    build,
    frame,
    paint,
    point,
)


@pytest.fixture(autouse=True)
def quality(monkeypatch):
    """Painted eyes are good photographs here; the gate has tests of its own."""
    answer = {"is": Quality("good", 1.0, "", "")}
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: answer["is"])
    return answer


@pytest.mark.parametrize("size", [300, 400, 1500])
def test_a_full_field_is_measured_at_any_size(size):
    k = size / 400
    picture = paint(size, (250 * k, 190 * k), (60 * k, 66 * k), (36 * k, 33 * k))
    exam = build().screen(frame(picture))
    assert exam.outcome is Outcome.NO_REFERRAL and exam.view == "field"
    assert exam.vcdr == pytest.approx(0.5, abs=0.03)
    assert exam.measures.hcdr == pytest.approx(0.6, abs=0.03)
    assert (exam.disc.cx, exam.disc.cy) == pytest.approx((250 * k, 190 * k), abs=2 * k)
    assert exam.disc.diameter == pytest.approx(66 * k, rel=0.05)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("view", ["auto", "disc"])
def test_disc_centred_crops_of_any_tightness(share, view):
    d = 400 * share
    exam = build().screen(frame(paint(400, (200, 200), (d, d), (d / 2, d * 0.6), surround=False)), view)
    assert exam.outcome is Outcome.NO_REFERRAL and exam.view == "disc"
    assert exam.vcdr == pytest.approx(0.6, abs=0.03)


def test_masks_are_in_the_geometry_of_the_photograph():
    picture = paint()
    exam = build().screen(frame(picture))
    disc, cup = (exam.masks[name].in_image((400, 400)) for name in ("disc", "cup"))
    truth = picture[..., 1] > DISC_GREEN
    both = np.count_nonzero(truth & (disc > 0))
    assert set(np.unique(disc)) == {0, 255}
    assert 2 * both / (truth.sum() + (disc > 0).sum()) > 0.97
    assert not np.any((cup > 0) & (disc == 0))


def test_what_was_seen_reduced_is_told_in_pixels_of_the_photograph(tmp_path):
    k, side = 3, 1201  # of which a reduction by two has 601
    picture = paint(side, (250 * k, 190 * k), (60 * k, 66 * k), (36 * k, 33 * k))
    Image.fromarray(picture).save(tmp_path / "eye.jpg", quality=95)
    whole, reduced = (read_image(tmp_path / "eye.jpg", enough) for enough in (None, 600))
    assert reduced.pixels.shape == (601, 601, 3)
    exam = build().screen(reduced)
    told, meant = exam.in_whole(reduced), build().screen(whole)
    assert (told.vcdr, told.outcome) == (exam.vcdr, meant.outcome)
    for name, value in vars(meant.disc).items():
        assert getattr(told.disc, name) == pytest.approx(value, abs=k)
    assert told.measures.disc_height_px == pytest.approx(meant.measures.disc_height_px, abs=k)
    for name, region in told.masks.items():
        mask, other = (r.in_image((side, side)) > 0 for r in (region, meant.masks[name]))
        assert 2 * np.count_nonzero(mask & other) / (mask.sum() + other.sum()) > 0.97
    assert meant.in_whole(whole) is meant


def test_the_classifier_sees_the_region_of_interest_of_disc_cup():
    machine = build()
    machine.screen(frame(paint()))
    for seen in machine.models["glaucoma"].network.seen:
        bright = seen[0, ..., 1].astype(int) + 128 > DISC_GREEN
        assert np.ptp(np.nonzero(bright.any(axis=1))[0]) == pytest.approx(48, abs=4)  # half of 96: two diameters


def test_the_classifier_looks_four_times_and_takes_the_mean():
    machine = build()
    network = machine.models["glaucoma"].network
    picture = paint()
    picture[150:170, 290:310] = 250  # a bright spot on one side, above: where it is tells how it was turned over
    answers = iter([1.0, 2.0, 3.0, 10.0])
    run = network.run

    def run_and_count(x):
        network.logit = next(answers)
        return run(x)

    network.run = run_and_count
    exam = machine.screen(frame(picture))
    assert math.log(1 / (1 / exam.glaucoma_probability - 1)) == pytest.approx(4.0, abs=0.1)
    small, mirrored, below, turned = (x[0].astype(int) for x in network.seen)
    assert np.array_equal(mirrored, small[:, ::-1]) and np.array_equal(turned, below[:, ::-1])
    larger = below[::-1]  # upright again
    assert np.count_nonzero(larger[..., 1] > DISC_GREEN - 128) < np.count_nonzero(small[..., 1] > DISC_GREEN - 128)
    for upright in (small, larger):
        spot = np.argwhere(upright[..., 2] > 100).mean(0)
        assert spot[0] < 48 < spot[1]


def test_the_region_moves_onto_a_disc_that_the_finder_placed_badly():
    shifted = ColourNetwork(DISC_GREEN, tamper=lambda g: np.roll(g, 4, axis=1))  # by 40 % of the disc
    outliner = ColourNetwork(DISC_GREEN, CUP_GREEN)
    exam = build(finder=shifted, outliner=outliner).screen(frame(paint()))
    assert outliner.calls == 2
    assert exam.disc.cx == pytest.approx(250, abs=2)
    assert exam.outcome is Outcome.NO_REFERRAL


def test_an_outline_that_never_settles_is_ungradable():
    beside = paint(SIZE // 2, (16, 24), (20, 22), (10, 11))[..., 1].astype(float)  # always left of where it looks
    restless = ColourNetwork(DISC_GREEN, CUP_GREEN, tamper=lambda g: beside)
    exam = build(outliner=restless).screen(frame(paint()))
    assert restless.calls == 1 + pipeline.REPEATS
    assert exam.outcome is Outcome.UNGRADABLE and exam.vcdr is None
    assert "does not settle" in exam.reasons[0]


def test_an_outline_less_certain_than_validated_discs_is_ungradable():
    machine = build()
    model = machine.models["disc_cup"]
    inside = (160 - DISC_GREEN) / 2 * model.network.output.scale  # the rim's logit; the cup's is higher
    for limit, outcome in ((inside - 1, Outcome.NO_REFERRAL), (40.0, Outcome.UNGRADABLE)):
        manifest = msgspec.structs.replace(model.manifest, certainty=limit)
        machine.models["disc_cup"] = replace(model, manifest=manifest)
        exam = machine.screen(frame(paint()))
        assert exam.outcome is outcome
    assert exam.vcdr is None and "certainty" in exam.reasons[0]


def test_the_more_certain_of_two_bright_patches_is_the_disc():
    picture = paint()
    picture[100:180, 90:170, 1] = DISC_GREEN + 12  # larger than the disc, but faint
    assert build().find_disc(picture).cx == pytest.approx(250, abs=3)


@pytest.mark.parametrize("tamper", [lambda g: g * 0, lambda g: np.full_like(g, 255)])
def test_nothing_or_everything_marked_gives_no_number(tamper):
    exam = build(outliner=ColourNetwork(DISC_GREEN, CUP_GREEN, tamper=tamper)).screen(frame(paint()))
    assert exam.outcome is Outcome.UNGRADABLE and exam.reasons
    assert exam.vcdr is None and exam.glaucoma_probability is None and exam.measures is None


def test_no_disc_is_ungradable_unless_the_caller_knows_better():
    blind = ColourNetwork(DISC_GREEN, tamper=lambda g: g * 0)
    crop = paint(400, (200, 200), (200, 210), (100, 110), surround=False)
    exam = build(finder=blind).screen(frame(crop))
    assert exam.reasons == ("no optic disc found",) and exam.tip
    assert build(finder=blind).screen(frame(crop), "disc").vcdr == pytest.approx(110 / 210, abs=0.03)


def test_a_huge_disc_is_implausible_in_a_full_field_only():
    crop = paint(400, (200, 200), (240, 240), (120, 120), surround=False)
    assert build().screen(frame(crop), "auto").outcome is Outcome.NO_REFERRAL
    exam = build().screen(frame(crop), "field")
    assert exam.outcome is Outcome.UNGRADABLE and "implausible" in exam.reasons[0]


def test_a_rejected_photograph_reaches_no_network(quality):
    quality["is"] = Quality("reject", 0.1, "defocus", "Focus again.")
    machine = build()
    exam = machine.screen(frame(paint()))
    assert exam.outcome is Outcome.UNGRADABLE
    assert "defocus" in exam.reasons[0] and exam.tip == "Focus again."
    assert machine.models["disc_finder"].network.calls == 0 and not exam.masks


def test_probability_uses_every_constant_of_the_manifest():
    p = Probability(logit_scale=0.5, logit_bias=-0.3, vcdr_weight=2.0)
    exam = build(logit=3.0, probability=p).screen(frame(paint()))
    z = 0.5 * 3.0 + 2.0 * exam.vcdr - 0.3
    assert exam.glaucoma_probability == pytest.approx(1 / (1 + math.exp(-z)))


def test_either_quantity_refers():
    high = build(logit=2.0).screen(frame(paint()))
    assert high.outcome is Outcome.REFER and "0.88" in high.reasons[0]
    cupped = build(logit=-2.0, vcdr_points=(point("vcdr", 0.4),)).screen(frame(paint()))
    assert cupped.outcome is Outcome.REFER and len(cupped.reasons) == 1 and "cup-to-disc" in cupped.reasons[0]


def test_operating_points_by_name():
    points = (point("glaucoma_probability", 0.5), point("glaucoma_probability", 0.9, "specific"))
    picture = frame(paint())
    assert build(logit=1.0, points=points).screen(picture).outcome is Outcome.REFER
    assert build(logit=1.0, points=points, name="specific").screen(picture).outcome is Outcome.NO_REFERRAL
    with pytest.raises(UsageError, match="balanced, specific"):
        build(points=points, name="absent")
    with pytest.raises(BundleError, match="no operating point"):
        build(points=())


def test_stages_are_timed():
    clock = Stopwatch()
    build().screen(frame(paint()), clock=clock)
    assert set(clock.ms) == {"field", "quality", "disc_finder", "disc_cup", "glaucoma", "geometry"}


def test_an_empty_bundle_folder_names_the_bundle(tmp_path):
    with pytest.raises(BundleError, match="disc_finder"):
        Pipeline.load(tmp_path)


@pytest.fixture
def octa():
    """A dark OCTA image with a bright zone of 40 x 40 (diameter) in the middle, and a larger one in a corner."""
    picture = paint(200, (104, 98), (40, 40), (0, 0), surround=False)
    picture[:60, :60, 1] = 160
    return np.repeat(picture[..., 1:2], 3, axis=2)


def test_faz_in_pixels_and_in_millimetres(octa):
    machine = build()
    pixels, mm = machine.measure_faz(frame(octa)), machine.measure_faz(frame(octa), 3.0)
    area = math.pi * 20**2
    assert pixels.faz.unit == "px" and pixels.faz.area == pytest.approx(area, rel=0.08)
    assert mm.faz.unit == "mm2" and mm.faz.area == pytest.approx(pixels.faz.area * 0.015**2)
    assert mm.faz.circularity > 0.93 and mm.faz.axis_ratio == pytest.approx(1, abs=0.06)
    assert mm.outcome is Outcome.NO_REFERRAL and "no referral rule" in mm.reasons[0]


def test_faz_that_is_absent_blank_or_implausible(octa):
    machine = build()
    coloured = octa * np.array([1.0, 0.7, 0.5])
    for picture, mm in (
        (octa * 0, None),
        (octa * 0 + np.uint8(9), 3.0),
        (octa, 50.0),
        (coloured.astype(np.uint8), 3.0),
        (octa[:180], 3.0),
    ):
        exam = machine.measure_faz(frame(picture), mm)
        assert exam.outcome is Outcome.UNGRADABLE and exam.faz is None and exam.reasons


NO_DISC = {"disc": (0, 0), "cup": (0, 0)}


def test_haemorrhages_are_marked_in_their_place_whatever_the_photographs_size():
    """One of them lies where four tiles meet."""
    spots = [(120, 200, 6), (260, 270, 9), (92, 96, 5)]
    small = paint(400, **NO_DISC, spots=spots)
    large = paint(1200, **NO_DISC, spots=[(3 * x, 3 * y, 3 * r) for x, y, r in spots])
    machine = build()
    for picture, scale in ((small, 1), (large, 3)):
        exam = machine.mark_haemorrhages(frame(picture))
        assert exam.outcome is Outcome.NO_REFERRAL and "no referral rule" in exam.reasons[0]
        truth = (picture == 255).all(2)
        marked = exam.masks["haemorrhage"].in_image(picture.shape[:2]) > 0
        assert 2 * (marked & truth).sum() / (marked.sum() + truth.sum()) > 0.85
        found = exam.haemorrhages
        assert found.count == 3 and found.area_px == marked.sum()
        assert found.largest_px == pytest.approx(math.pi * (9.5 * scale) ** 2, rel=0.25)
        lit = math.pi * (0.48 * 400 * scale) ** 2
        assert found.field_percent == pytest.approx(100 * found.area_px / lit, rel=0.03)


def test_pieces_that_are_certain_nowhere_are_not_marked():
    """A grey spot, and a white one with a grey edge: all of that one is marked, certain in its middle."""
    picture = paint(400, **NO_DISC)
    for x, y, radius, green in ((120, 200, 8, 190), (260, 270, 14, 190), (260, 270, 7, 255)):
        cv2.circle(picture, (x, y), radius, (255, green, 255), -1)
    machine = build()
    model = machine.models["haemorrhage"]
    grey, white = ((green - SPOT_GREEN) / 2 * model.network.output.scale for green in (190, 255))

    def found(certainty):
        manifest = msgspec.structs.replace(model.manifest, certainty=certainty)
        machine.models["haemorrhage"] = replace(model, manifest=manifest)
        return machine.mark_haemorrhages(frame(picture)).haemorrhages

    everything = found(None)
    assert everything.count == 2
    certain = found((grey + white) / 2)
    assert (certain.count, certain.area_px) == (1, everything.largest_px)
    assert found(grey - 1) == everything and found(white + 1).count == 0


def test_an_eye_without_haemorrhages_has_none():
    exam = build().mark_haemorrhages(frame(paint(**NO_DISC)))
    assert exam.outcome is Outcome.NO_REFERRAL and exam.haemorrhages.count == 0 and not exam.masks
    assert "haemorrhages marked: 0," in exam.reasons[0]


def test_no_haemorrhages_are_counted_where_their_scale_is_unknown_or_the_photograph_is_rejected(quality):
    machine = build()
    on_black = [np.pad(paint(surround=False), (b, b, (0, 0))) for b in ((0, 130), (50, 50), (50, 130))]
    cases = [(crop, "good", "crop") for crop in (paint(surround=False), *on_black)]
    for picture, grade, said in (*cases, (paint(), "reject", "quality rejected")):
        quality["is"] = Quality(grade, 0.1, "defocus", "Focus again.")
        exam = machine.mark_haemorrhages(frame(picture))
        assert exam.outcome is Outcome.UNGRADABLE and exam.haemorrhages is None and not exam.masks
        assert said in exam.reasons[0] and exam.tip
    assert machine.models["haemorrhage"].network.calls == 0


def test_examine_is_the_tasks_own_examination(octa):
    machine = build()
    assert machine.examine("faz", frame(octa)).task == "faz"
    assert machine.examine("haemorrhage", frame(paint())).task == "haemorrhage"
    assert machine.examine("disc_cup", frame(paint())).task == "glaucoma"


def test_a_finder_that_is_off_by_a_pixel_seldom_cuts_another_region():
    """Of regions that move by a four-hundredth of a diameter one in ten is cut elsewhere."""
    rng, apart = np.random.default_rng(0), 0
    for _ in range(500):
        disc = Disc(*rng.uniform(100, 900, 2), rng.uniform(60, 400))
        near = Disc(*(np.array([disc.cx, disc.cy]) + rng.uniform(-1, 1, 2) * disc.diameter / 400), disc.diameter)
        stepped = disc.in_steps()
        apart += stepped.roi() != near.in_steps().roi()
        assert stepped.diameter == pytest.approx(disc.diameter, rel=0.0251)
        assert abs(np.array([stepped.cx - disc.cx, stepped.cy - disc.cy])).max() <= 0.0215 * disc.diameter
        assert stepped.in_steps() == stepped
    assert apart < 0.12 * 500

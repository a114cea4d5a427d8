"""LEDs and the shutter button, on gpiozero's mock pins: never on for longer than they are wanted."""

import subprocess
import sys
import threading
import time
import warnings

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from device import light
from device.camera import Controls
from device.camera.simulated import SimulatedCamera
from device.errors import CameraError, LightError
from device.language import Translator
from device.light import GpioLight, LitCamera, NoLight, open_light


@pytest.fixture
def pins(monkeypatch):
    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    yield lambda number: factory.pin(number)
    factory.close()


def on(pin):
    return pin.function == "output" and bool(pin.state)


def eventually(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def lit(pins):
    lamp = open_light("gpio:preview=17,flash=27,button=22")
    yield lamp, pins(17), pins(27), pins(22)
    lamp.close()


def test_lamps_go_on_and_off(lit):
    lamp, preview, flash, _ = lit
    assert not on(preview) and not on(flash)
    lamp.preview(True)
    assert on(preview) and not on(flash)
    lamp.flash(True)
    assert on(flash)
    lamp.flash(False)
    lamp.preview(False)
    assert not on(preview) and not on(flash)


def test_lamps_go_off_by_themselves(lit, monkeypatch):
    lamp, preview, flash, _ = lit
    monkeypatch.setattr(light, "IDLE", 0.05)
    monkeypatch.setattr(light, "LONGEST_FLASH", 0.05)
    lamp.preview(True)
    lamp.flash(True)
    assert eventually(lambda: not on(preview) and not on(flash))
    lamp.flash(True)  # and work again afterwards
    assert eventually(lambda: not on(flash))


def test_asking_again_keeps_the_preview_light_on(lit, monkeypatch):
    lamp, preview, _, _ = lit
    monkeypatch.setattr(light, "IDLE", 60.0)
    lamp.preview(True)
    lamp.preview(True)
    time.sleep(0.1)
    assert on(preview)


def test_closed_lamps_are_dark_and_stay_so(pins):
    lamp = GpioLight(preview=17, flash=27)
    lamp.preview(True)
    lamp.flash(True)
    lamp.close()
    lamp.close()
    lamp.flash(True)
    assert not on(pins(17)) and not on(pins(27))
    GpioLight(preview=17).close()  # the pin is free again


def test_the_button_calls_and_survives_what_it_calls(lit):
    lamp, _, _, button = lit
    pressed = []

    def shutter():
        pressed.append(threading.current_thread())
        if len(pressed) == 1:
            raise RuntimeError("the camera is missing")

    lamp.on_shutter(shutter)
    for count in (1, 2):
        button.drive_low()
        assert eventually(lambda count=count: len(pressed) == count)
        button.drive_high()
        time.sleep(0.1)  # longer than contacts chatter
    assert threading.main_thread() not in pressed


def test_no_light_does_nothing():
    lamp = open_light("none")
    assert isinstance(lamp, NoLight)
    lamp.preview(True), lamp.flash(True), lamp.on_shutter(print), lamp.close()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "give none, or pins as in gpio:"),
        ("laser", "give none, or pins as in gpio:"),
        ("gpio", "has no pins; give them"),
        ("gpio:lamp=17", "it is preview, flash or button"),
        ("gpio:flash=1", "BCM number from 2 to 27"),
        ("gpio:flash=GPIO17", "BCM number from 2 to 27"),
        ("gpio:flash=17,preview=17", "pin 17 is given twice"),
    ],
)
def test_wrong_pins_are_explained(pins, spec, said):
    with pytest.raises(LightError, match=said) as told:
        open_light(spec)
    assert Translator("ja").knows(str(told.value)), told.value


def test_a_pin_that_is_taken_is_explained_and_the_others_are_let_go(pins):
    first = GpioLight(flash=27)
    with pytest.raises(LightError, match="flash on pin 27 cannot be used: the pin is in use") as told:
        GpioLight(preview=17, flash=27)
    assert Translator("ja")(str(told.value)).startswith("ピン 27 の フラッシュ を使えません：ピンは使用中")
    GpioLight(preview=17).close()
    first.close()


def test_a_machine_without_gpio_says_so(monkeypatch):
    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpio")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # gpiozero's own warnings do not reach the operator
        with pytest.raises(LightError, match="cannot be used") as told:
            open_light("gpio:flash=27")
    assert Translator("ja").knows(str(told.value))


def test_without_gpiozero_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(LightError, match="apt install python3-gpiozero") as told:
        open_light("gpio:flash=27")
    assert Translator("ja").knows(str(told.value))


class Watched(SimulatedCamera):
    """Notes which lamps are on while it takes a picture."""

    def __init__(self, *lamps):
        super().__init__(size=256)
        self.lamps, self.seen = lamps, []

    def preview(self, deadline=1.0):
        self.seen.append(tuple(map(on, self.lamps)))
        return super().preview(deadline)

    def still(self, deadline=10.0, raw=False):
        self.seen.append(tuple(map(on, self.lamps)))
        return super().still(deadline, raw)


def test_a_camera_with_light_is_lit_when_it_looks(lit):
    lamp, preview, flash, _ = lit
    watched = Watched(preview, flash)
    with LitCamera(watched, lamp) as camera:
        assert camera.name == "simulated" and camera.still_size() == (256, 256)
        camera.preview(), camera.still()
        assert watched.seen == [(True, False), (True, True)] and not on(flash) and on(preview)
        camera.set(Controls(light=False, exposure_us=5000))
        assert not on(preview)
        camera.preview(), camera.still()
        assert watched.seen[2:] == [(False, False)] * 2
        camera.set(Controls())
        camera.preview()
        assert on(preview)
    assert not on(preview) and not on(flash)


def test_a_camera_that_fails_leaves_no_light_on(lit):
    lamp, preview, flash, _ = lit
    camera = LitCamera(SimulatedCamera(size=256), lamp)
    camera.preview()
    with pytest.raises(CameraError):
        camera.still(deadline=0)
    assert not on(preview) and not on(flash)
    camera.preview()
    with pytest.raises(CameraError):
        camera.preview(deadline=0)
    assert not on(preview)


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise RuntimeError"])
def test_the_process_ends_in_the_dark(ending):
    script = f"""
import atexit, sys
def tell(): print("lit" if any(p.function == "output" and p.state for p in pins) else "dark")
atexit.register(tell)  # first, so that it runs last
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
Device.pin_factory = MockFactory()
pins = [Device.pin_factory.pin(n) for n in (17, 27)]
from device.light import open_light
light = open_light("gpio:preview=17,flash=27")
light.preview(True), light.flash(True)
assert all(p.state for p in pins)
print("was lit")
{ending}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["was lit", "dark"], done


def test_the_module_puts_lights_out():
    done = subprocess.run(
        [sys.executable, "-m", "device.light", "gpio:preview=17,flash=17"], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("tenohira: pin 17 is given twice")
    assert subprocess.run([sys.executable, "-m", "device.light", "none"]).returncode == 0

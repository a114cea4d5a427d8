"""Light on the eye, and the shutter button: LEDs and a button on GPIO pins, through gpiozero.

    none                                no LEDs and no button
    gpio:preview=17,flash=27,button=22  each may be left out; BCM numbers, as on the pins' labels (GPIO17)

Light that shines into an eye goes off by itself: the preview light some seconds after the last preview, the flash
after LONGEST_FLASH whatever the camera does; and both when the camera or the process ends. A process that is
killed leaves pins as they are: the service's ``ExecStopPost=`` runs ``python -m device.light SPEC``, which puts
them out.

On and off only: brightness by software PWM shows as bands in the pictures of a rolling shutter.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from device.camera import Camera, Controls
from device.closing import Closing
from device.errors import LightError
from device.frame import Frame

IDLE = 3.0  # seconds that the preview light outlasts the last preview
LONGEST_FLASH = 2.0  # seconds; a still needs a few pictures of 30 to 70 ms
BOUNCE = 0.05  # seconds in which a button's contacts may chatter
PINS = range(2, 28)  # of the header; 0 and 1 belong to add-on boards

log = logging.getLogger(__name__)


class Light(Protocol):
    """What shines on the eye, and the button."""

    def preview(self, on: bool) -> None:
        """The light for aiming; on for IDLE seconds, unless it is asked for again."""
        ...

    def flash(self, on: bool) -> None:
        """The light for a still; on for LONGEST_FLASH at most."""
        ...

    def on_shutter(self, pressed: Callable[[], None]) -> None:
        """Call ``pressed`` in a thread of its own whenever the button is pressed."""
        ...

    def close(self) -> None:
        """Everything off, for good. Closing twice is no error."""
        ...


class NoLight:
    """No LEDs, no button."""

    def preview(self, on: bool) -> None:
        """Nothing."""

    def flash(self, on: bool) -> None:
        """Nothing."""

    def on_shutter(self, pressed: Callable[[], None]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class GpioLight:
    """LEDs and button on GPIO pins (BCM numbers); those that are not there are None. Raises LightError."""

    def __init__(self, preview: int | None = None, flash: int | None = None, button: int | None = None) -> None:
        library = _library()
        self._devices: list[Any] = []
        self._preview: Lamp | None = None
        self._flash: Lamp | None = None
        self._button: Any = None
        try:
            self._preview = self._led(library, "preview", preview)
            self._flash = self._led(library, "flash", flash)
            if button is not None:
                self._button = _made("button", button, lambda: library.Button(button, bounce_time=BOUNCE))
                self._devices.append(self._button)
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)  # before gpiozero's own, which only lets go of the pins

    def preview(self, on: bool) -> None:
        """See ``Light``."""
        if self._preview is not None:
            self._preview.switch(IDLE if on else 0)

    def flash(self, on: bool) -> None:
        """See ``Light``."""
        if self._flash is not None:
            self._flash.switch(LONGEST_FLASH if on else 0)

    def on_shutter(self, pressed: Callable[[], None]) -> None:
        """See ``Light``."""

        def safely() -> None:
            try:
                pressed()
            except Exception:  # it would end gpiozero's thread, and the button with it
                log.exception("the shutter button's action failed")

        if self._button is not None:
            self._button.when_pressed = lambda: threading.Thread(target=safely, daemon=True).start()

    def close(self) -> None:
        """See ``Light``."""
        atexit.unregister(self.close)
        for device in self._devices:
            device.close()
        self._devices = []
        self._preview = self._flash = self._button = None

    def _led(self, library: Any, name: str, pin: int | None) -> Lamp | None:
        if pin is None:
            return None
        lamp = Lamp(_made(name, pin, lambda: library.DigitalOutputDevice(pin, initial_value=False)))
        self._devices.append(lamp)
        return lamp


class Lamp:
    """An LED that goes off by itself."""

    def __init__(self, led: Any) -> None:
        self._led, self._until, self._closed = led, 0.0, False
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, name="lamp", daemon=True).start()

    def switch(self, seconds: float) -> None:
        """On for so long from now; 0 is off."""
        with self._changed:
            if self._closed:
                return
            self._until = time.monotonic() + seconds if seconds else 0.0
            (self._led.on if seconds else self._led.off)()
            self._changed.notify()

    def close(self) -> None:
        """Off, and the pin is let go."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._led.off()
                self._led.close()
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._until - time.monotonic()
                if self._until and left <= 0:
                    self._led.off()
                    self._until = 0.0
                self._changed.wait(left if self._until else None)


def open_light(spec: str) -> Light:
    """The light of a spec (see above). Raises LightError for wrong specs and pins, and where GPIO is not there."""
    kind, _, pins = spec.partition(":")
    if kind == "none":
        return NoLight()
    if kind != "gpio":
        raise LightError(
            f"there is no light {spec!r}; give none, or pins as in gpio:preview=17,flash=27,button=22"
        )
    return GpioLight(**_pins(pins))


def _pins(text: str) -> dict[str, int]:
    pins: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in ("preview", "flash", "button"):
            raise LightError(f"there is no pin for {name!r}; it is preview, flash or button")
        if not number.isdecimal() or int(number) not in PINS:
            raise LightError(f"{name}={number} is no GPIO pin; give a BCM number from {PINS[0]} to {PINS[-1]}")
        if int(number) in pins.values():
            raise LightError(f"pin {number} is given twice; give each of preview, flash and button its own")
        pins[name] = int(number)
    if not pins:
        raise LightError("the light has no pins; give them as in gpio:preview=17,flash=27,button=22, or none")
    return pins


def _library() -> Any:
    try:
        import gpiozero
    except ModuleNotFoundError as error:
        raise LightError(
            "LEDs and button need gpiozero; install it with: sudo apt install python3-gpiozero python3-lgpio, "
            "or go on without them: light none"
        ) from error
    return gpiozero


def _made(name: str, pin: int, make: Callable[[], Any]) -> Any:
    """A device of gpiozero, or LightError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each pin library that is not installed; the last error says enough
            return make()
    except Exception as error:
        said = f"{type(error).__name__} {error}".lower()
        if "badpinfactory" in said:
            why = "no GPIO is found on this machine; on a Raspberry Pi: sudo apt install python3-lgpio"
        elif "permission" in said or "can not open" in said:
            why = "this user may not use GPIO; add the user to the group gpio and log in again"
        elif "inuse" in said or "busy" in said:
            why = "the pin is in use; choose another one, or end the program that uses it"
        else:
            why = f"{' '.join(str(error).split())[:120]}; choose another pin"
        raise LightError(f"the {name} on pin {pin} cannot be used: {why}") from error


class LitCamera(Closing):
    """A ``Camera`` with its light: on while there are previews, the flash for each still, dark when closed and
    after an error. ``Controls(light=False)`` keeps everything dark.

    Automatic exposure only knows the light before the flash: with a flash, set exposure and gain.
    """

    def __init__(self, camera: Camera, light: Light) -> None:
        self._camera, self._light, self._dark = camera, light, False

    @property
    def name(self) -> str:
        """The camera's."""
        return self._camera.name

    def set(self, controls: Controls) -> None:
        """See ``Camera``."""
        self._dark = controls.light is False
        if self._dark:
            self._off()
        self._camera.set(controls)

    def preview(self, deadline: float = 1.0) -> Frame:
        """See ``Camera``."""
        with self._off_after_errors():
            self._light.preview(not self._dark)
            return self._camera.preview(deadline)

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """See ``Camera``."""
        with self._off_after_errors():
            try:
                self._light.flash(not self._dark)
                return self._camera.still(deadline, raw)
            finally:
                self._light.flash(False)

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """See ``Camera``."""
        return self._camera.still_size(deadline)

    def close(self, deadline: float = 5.0) -> None:
        """See ``Camera``; the light is only put out: its button may be wanted for longer."""
        self._off()
        try:
            self._camera.close(deadline)
        finally:
            self._off()  # a preview may have been under way

    def _off(self) -> None:
        self._light.preview(False)
        self._light.flash(False)

    @contextmanager
    def _off_after_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._off()
            raise


if __name__ == "__main__":
    try:
        open_light(sys.argv[1]).close()
    except (LightError, IndexError) as trouble:
        sys.exit(f"tenohira: {trouble}")

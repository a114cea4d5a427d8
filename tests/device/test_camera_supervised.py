"""The camera in its own process: whatever it does, the caller gets a sentence, and the next call a picture."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from device.camera import Controls
from device.camera.simulated import SimulatedCamera
from device.camera.supervised import SupervisedCamera
from device.errors import CameraError, UsageError
from device.language import Translator

FAILING = Path(__file__).with_name("failing_camera.py")


def running() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def gone(pid: int) -> bool:
    """Ended: no such process, or one that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def rss(pid: int | str = "self") -> float:
    """Resident memory in MB."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def failing(failure: str, folder: Path | str = "-", **more) -> SupervisedCamera:
    program = (sys.executable, str(FAILING), failure, str(folder))
    return SupervisedCamera("simulated", **{"pause": 0.0, "program": program} | more)


@pytest.fixture(autouse=True)
def children():
    """Tells the processes that a test has started, for those of other tests run all the while (tests/conftest.py).
    It ends without any, and without file descriptors of its own."""
    others, descriptors = running(), len(os.listdir("/proc/self/fd"))
    yield lambda: running() - others
    assert eventually(lambda: running() <= others)
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_it_gives_what_the_camera_in_it_gives():
    here = SimulatedCamera(seed=3, size=256)
    with SupervisedCamera("simulated:3?size=256") as camera:
        assert camera.name == "simulated:3?size=256" and camera.still_size() == (256, 256)
        still, direct = camera.still(), here.still()
        assert np.array_equal(still.pixels, direct.pixels) and still.pixels.flags.c_contiguous
        assert (still.laterality, still.exposure_us, still.source) == (
            direct.laterality, direct.exposure_us, direct.source
        )  # fmt: skip
        assert still.time is not None and still.raw is None and camera.name == "simulated"
        assert camera.preview(20).pixels.shape == (128, 128, 3)


def test_controls_reach_the_camera_and_outlive_its_process(children):
    with SupervisedCamera("simulated:3?size=256", pause=0) as camera:
        camera.set(Controls(exposure_us=2500, focus=1.5))
        assert (camera.still().exposure_us, camera.still().focus) == (2500, 1.5)
        camera.set(Controls(exposure_us=5000))
        assert camera.still().exposure_us == 5000
        os.kill(children().pop(), signal.SIGKILL)
        with pytest.raises(CameraError, match="signal SIGKILL"):
            camera.still()
        assert camera.still().exposure_us == 5000


SENTENCES = {
    "hang": r"did not answer within 0\.5 s and was stopped; photograph again",
    "stop": r"did not answer within 0\.5 s and was stopped; photograph again",
    "die": r"ended by itself \(exit code 7\); photograph again",
    "crash": r"ended by itself \(signal SIGSEGV\); photograph again",
    "half": r"ended by itself \(exit code 0\); photograph again",
    "unplugged": r"stopped sending pictures; check its cable and photograph again",
    "bug": r"software failed \(ZeroDivisionError\); try again",
    "missing": r"no camera was found; switch the instrument off, check",
    "busy": r"in use by another program; close that program",
    "die-open": r"ended by itself \(exit code 3\); photograph again",
}


@pytest.mark.parametrize("failure", SENTENCES)
def test_a_failure_is_said_in_words_and_the_next_call_recovers(failure, tmp_path):
    with failing(failure, tmp_path) as camera:
        with pytest.raises(CameraError, match=SENTENCES[failure]) as told:
            camera.still(deadline=0.5 if failure in ("hang", "stop") else 60)
        assert Translator("ja").knows(str(told.value)), told.value
        assert camera.still().pixels.shape == (256, 256, 3)


def test_a_camera_that_hangs_while_it_opens_is_given_its_time_and_no_more(tmp_path):
    with failing("hang-open", tmp_path, opening=5.0) as camera:
        with pytest.raises(CameraError, match=r"did not open within 5 s") as told:
            camera.preview(20)
        assert Translator("ja").knows(str(told.value))
        camera._opening = 60.0  # the second one is well, and may be slow
        assert camera.preview(20).pixels.shape == (128, 128, 3)


def test_a_camera_that_does_not_close_is_killed(children):
    camera = failing("stuck")
    camera.preview(20)
    (child,) = children()
    camera.close(deadline=0.5)
    assert gone(child)
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.preview(20)


def test_closing_ends_a_picture_that_another_thread_waits_for():
    camera, errors = failing("hang"), []
    camera.preview(20)

    def photograph():
        try:
            camera.still(deadline=300)
        except CameraError as error:
            errors.append(str(error))

    thread = threading.Thread(target=photograph)
    thread.start()
    assert eventually(camera._lock.locked)
    with pytest.raises(CameraError, match="busy with another picture"):
        camera.preview(deadline=0.3)
    camera.close(deadline=0.5)
    thread.join(30)
    assert errors == ["the camera is closed; open it again"]


def test_the_camera_outlives_the_thread_that_started_it(children):
    with SupervisedCamera("simulated?size=128") as camera:
        thread = threading.Thread(target=camera.preview, args=(20,))
        thread.start()
        thread.join()
        first = children()
        time.sleep(0.2)  # in which the kernel would have killed it
        camera.preview(20)
        assert children() == first != set()


@pytest.mark.parametrize("failure", ["", "hang"])
def test_the_camera_dies_with_its_parent_even_where_it_hangs(failure):
    """SIGKILL for the parent: nothing in it can clean up."""
    script = f"""
import sys, threading
from device.camera.supervised import SupervisedCamera
camera = SupervisedCamera("simulated", program=(sys.executable, {str(FAILING)!r}, {failure!r}, "-"))
camera.preview(20)
threading.Thread(target=camera.still, args=(600,)).start()
print(camera._child.process.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert not gone(child)
        time.sleep(0.3)  # so that it hangs
        parent.kill()
        parent.wait()
        assert eventually(lambda: gone(child))


def test_hundreds_of_pictures_and_restarts_leave_nothing_behind(children):
    """The autouse fixture counts processes and descriptors; here memory is looked at."""
    with SupervisedCamera("simulated:1?size=512", pause=0) as camera:

        def photograph(times):
            for _ in range(times):
                camera.still()
                camera.preview(20)

        photograph(10)
        (child,) = children()
        before, of_child = rss(), rss(child)
        photograph(140)
        assert rss(child) - of_child < 15  # MB; 140 stills would be 110
        for _ in range(8):
            os.kill(children().pop(), signal.SIGKILL)
            with pytest.raises(CameraError):
                camera.preview(20)
            photograph(20)
        assert len(children()) == 1
        assert rss() - before < 25  # MB; 300 stills would be 236


def test_the_process_of_the_camera_is_small():
    """Neither the pipeline nor its runtime belongs in it."""
    script = "import sys; import device.camera.child, device.camera.simulated; print(*sys.modules)"
    modules = set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split())
    assert "device.camera.child" in modules
    unwanted = {"device.pipeline", "device.runtime", "ai_edge_litert", "PIL", "pydicom", "starlette", "fpdf"}
    assert not unwanted & modules


def test_a_wrong_spec_is_told_before_anything_is_started():
    with pytest.raises(UsageError):
        SupervisedCamera("camera obscura")


def test_a_program_that_cannot_be_started_is_explained(tmp_path):
    camera = SupervisedCamera("simulated", program=(str(tmp_path / "nothing"),))
    with pytest.raises(CameraError, match=r"cannot be started \(No such file"):
        camera.preview(20)

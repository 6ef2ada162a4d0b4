import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import skimage.data
import tifffile
from hypothesis import settings
from PIL import Image

from filterworks.cli import main

# The same examples each time, unless HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# What a user calibrated must not change what is tested, nor the tests what a user keeps.
_CACHE = tempfile.TemporaryDirectory(prefix="filterworks-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

# A shell that starts this in the background has it ignore Ctrl-C, and so would the processes started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def command(monkeypatch):
    """Run the command line in this process."""

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["filterworks", *map(str, arguments)])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
            main()
        return Result(stopped.value.code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def process():
    """Start the command line as a process of its own, in its own process group."""
    started = []

    def start(*arguments, **options):
        child = subprocess.Popen(
            [sys.executable, "-m", "filterworks", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            os.killpg(child.pid, 9)
        child.communicate()


@pytest.fixture(scope="session")
def _photos(tmp_path_factory):
    """Nested folders of small real photos in every format."""
    base = tmp_path_factory.mktemp("originals") / "photos"
    colour = skimage.data.astronaut()[40:150, 100:241]
    grey = skimage.data.camera()[60:160, 100:233]
    (base / "trip" / "day one").mkdir(parents=True)
    (base / "cells").mkdir()
    Image.fromarray(colour).save(base / "face.jpg", quality=92, dpi=(300, 300))
    Image.fromarray(colour).save(base / "trip" / "face.png")
    Image.fromarray(colour).save(base / "trip" / "face.webp", lossless=True)
    Image.fromarray(grey).save(base / "trip" / "day one" / "MAN.BMP")
    alpha = np.dstack(
        [colour, np.where(np.indices(colour.shape[:2]).sum(0) % 90 < 45, 255, 0).astype(np.uint8)]
    )
    Image.fromarray(alpha).save(base / "trip" / "cut.png")
    deep = (grey.astype(np.uint16) * 257) ^ 21
    cv2.imwrite(str(base / "cells" / "deep.tif"), deep)
    cv2.imwrite(str(base / "cells" / "deep.pgm"), deep)
    tifffile.imwrite(
        base / "cells" / "stack.tif", np.stack([deep, deep[::-1], deep // 2]), photometric="minisblack"
    )
    tifffile.imwrite(base / "cells" / "float.tiff", grey.astype(np.float32) / 255)
    (base / "notes.txt").write_text("no image")
    (base / ".hidden.png").write_bytes(b"")
    return base


@pytest.fixture
def photos(_photos, tmp_path):
    """A copy of the photos that a test may change."""
    import shutil

    return shutil.copytree(_photos, tmp_path / "photos")


def pixels(path):
    """What an independent reader sees in a file."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return tifffile.imread(path)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    return image


def tree(folder):
    """The files of a folder, without the ledger, and their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".filterworks.sqlite"
    }


def results_in(out):
    """The files that have their names; folders may come and go while they are looked for."""
    found = (Path(folder) / name for folder, _, names in os.walk(out) for name in names)
    return [path for path in found if "." in path.name and ".filterworks" not in str(path)]


def wait_for_results(out, count, limit=60):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if len(results_in(out)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the run made no progress")


def workers_of(child):
    """The processes that do the work: not those that clean up after them, nor those that are dead."""
    found = []
    for one in psutil.Process(child.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def peak_of(*arguments, before="", **streams):
    """The exit code of a command in a process of its own, and the MiB that it took at most.

    Linux's ru_maxrss would count what this process held when it started the child. What stands in
    `before` is run there first.
    """
    code = (
        f"import pathlib, sys\n{before}\n"
        "from filterworks.cli import main\n"
        "peak, sys.argv = sys.argv[1], ['filterworks', *sys.argv[2:]]\n"
        "try: main()\n"
        "finally:\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    pathlib.Path(peak).write_text(status.split('VmHWM:')[1].split()[0])"
    )
    with tempfile.TemporaryDirectory() as folder:
        peak = os.path.join(folder, "peak")
        done = subprocess.run([sys.executable, "-c", code, peak, *map(str, arguments)], **streams)
        with open(peak) as file:
            return done.returncode, int(file.read()) / 1024

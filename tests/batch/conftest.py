import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.conftest import tree


class Disk:
    """A disk in memory that can be full or read-only."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", path], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("mounting a small disk needs more rights than this machine gives")

    def mount(self, options):
        """Mount it anew: ``size=200k``, ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def fill(self):
        """Take all of the room, to the last page."""
        with suppress(OSError), (self.path / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def empty(self):
        """Give it back."""
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path):
    """A disk of 100 MiB, empty."""
    small = Disk(tmp_path / "disk")
    yield small
    subprocess.run(["umount", small.path], check=True)


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Two hundred photos in nested folders, and the outputs of an undisturbed run."""
    base = tmp_path_factory.mktemp("many")
    photo = skimage.data.astronaut()
    for i in range(200):
        folder = base / "in" / f"{i % 7}" / f"{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        part = np.ascontiguousarray(np.roll(photo, 7 * i, 0)[:300, :320])
        Image.fromarray(part).save(folder / f"{i}.{('jpg', 'png', 'tif')[i % 3]}")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "filterworks",
            "images",
            base / "in",
            "-o",
            base / "whole",
            "-f",
            "gaussian:sigma=2",
            "-q",
        ]
    )
    assert done.returncode == 0
    return base / "in", tree(base / "whole")

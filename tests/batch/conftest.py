import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.conftest import tree


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

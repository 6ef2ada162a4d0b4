"""Time to start, against a bare interpreter: ``python -m tests.benchmarks.start``."""

import subprocess
import sys
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

from tests.benchmarks.timing import interleaved


def main():
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.fromarray(skimage.data.astronaut()).save(photo)

        def run(*arguments):
            return lambda: subprocess.run(
                [sys.executable, *map(str, arguments)], check=True, capture_output=True
            )

        medians = interleaved({
            "python -c ''": run("-c", ""),
            "filterworks --version": run("-m", "filterworks", "--version"),
            "one 512 × 512 photo, gaussian": run(
                "-m", "filterworks", "images", photo, "-o", Path(folder) / "out.png", "--overwrite", "-f", "gaussian:sigma=2",
                "--quality", "95", "-q",
            ),
        }, repeats=9)  # fmt: skip
    bare = medians["python -c ''"]
    for name, seconds in medians.items():
        print(f"{name:<32} {seconds:6.3f} s   {seconds - bare:+.3f} s")


if __name__ == "__main__":
    main()

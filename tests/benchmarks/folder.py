"""A folder of photos, against reading and writing it without a filter: ``python -m tests.benchmarks.folder``.

Rates are relative to our own reading and writing, and to OpenCV's in two threads: what makes the files themselves
faster is not seen in the first, and what makes the filter faster is seen in both. All contenders use both cores, write the same formats, and wait at their end until the disk has everything. They take
turns, each time into a new folder: whoever writes over files is spared making them, and who makes files just after
others were deleted pays for that on ext4. ``--tiny N``: N pictures of 32 × 32 instead, against a plain loop in threads.
"""

import itertools
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from filterworks.batch.folders import write_through
from filterworks.files import open_image, write_image
from tests.benchmarks.timing import interleaved

COUNT, SIDE = 64, 4


def make(folder, suffix):
    photo = skimage.data.astronaut()[..., ::-1]
    large = np.tile(photo, (SIDE, SIDE, 1))
    for i in range(COUNT):
        image = np.roll(large, 37 * i, 0)
        if suffix == "tif":
            image = image[..., 1].astype(np.uint16) * 257
        cv2.imwrite(str(folder / f"{i}.{suffix}"), image)


def threaded(folder, base, task):
    places = new_folders(base)

    def run():
        cv2.setNumThreads(1)
        out = next(places)
        out.mkdir()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda path: task(path, out / path.name), sorted(folder.iterdir())))
        write_through(out)
        cv2.setNumThreads(2)

    return run


def new_folders(base):
    base.mkdir()
    return (base / str(number) for number in itertools.count())


def copy_pixels(path, place):
    with open_image(path) as reader:
        write_image(place, reader.pages(), reader.info)


def opencv_loop(change):
    def task(path, place):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
        cv2.imwrite(str(place), change(image), options)

    return task


def opencv_gaussian(image):
    return cv2.GaussianBlur(image, (17, 17), 2)


def ours(folder, base, count=COUNT, **filter):
    from filterworks.batch.image_job import Job
    from filterworks.batch.job import make_job
    from filterworks.batch.plan import make_worklist
    from filterworks.batch.run import run_job
    from filterworks.cli.console import Lines

    places = new_folders(base)

    def run():
        tables = {
            "input": {"paths": [str(folder)]},
            "filter": [filter or {"name": "gaussian", "sigma": 2.0}],
            "output": {"path": str(next(places))},
        }
        job = make_job(tables, "benchmark", Job)
        report = run_job(job, make_worklist(job), Lines(True, False))
        assert report.done == count

    return run


def tiny(count):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "in"
        folder.mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (32, 32)).astype(np.uint8))
        medians = interleaved({
            "OpenCV loop, 2 threads": threaded(folder, Path(base) / "loop", opencv_loop(opencv_gaussian)),
            "filterworks": ours(folder, Path(base) / "ours", count),
        }, repeats=5, before=os.sync)  # fmt: skip
    base_time = medians["OpenCV loop, 2 threads"]
    for name, seconds in medians.items():
        print(f"  {name:<24} {seconds:6.2f} s  {count / seconds:8.1f} files/s  {base_time / seconds:5.2f}")


def main():
    if "--tiny" in sys.argv:
        tiny(int(sys.argv[-1]))
        return
    print(f"{COUNT} images of {SIDE * 512} × {SIDE * 512}, the Gaussian has σ=2")
    print("rate relative to reading and writing without a filter: ours, OpenCV's in two threads")
    for suffix in ("jpg", "png", "tif"):
        with tempfile.TemporaryDirectory() as base:
            folder, out = Path(base) / "in", Path(base)
            folder.mkdir()
            make(folder, suffix)
            medians = interleaved({
                "no filter": threaded(folder, out / "copies", copy_pixels),
                "gaussian": ours(folder, out / "gaussian"),
                "mean of 3 × 3": ours(folder, out / "mean", name="mean", size=3),
                "OpenCV, no filter": threaded(folder, out / "cv_copies", opencv_loop(lambda image: image)),
                "OpenCV, gaussian": threaded(folder, out / "loop", opencv_loop(opencv_gaussian)),
            }, repeats=3, before=os.sync)  # fmt: skip
        for name, seconds in medians.items():
            own, other = medians["no filter"] / seconds, medians["OpenCV, no filter"] / seconds
            print(
                f"  {suffix:<4} {name:<20} {seconds:6.2f} s  {COUNT / seconds:6.1f} files/s  {own:5.2f} {other:5.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())

"""Filters of photos, from pixels to pixels, against OpenCV: ``python -m tests.benchmarks.pixels``.

One core, 2048 × 2048 in colour, 8 and 16 bits. OpenCV makes the same pixels, but for rounding in between, by as
few calls as it needs; where it has no call for a dtype, by way of floats.
"""

import os
import sys
from functools import partial

import cv2
import numpy as np
import skimage.data

from filterworks import Chain
from filterworks.batch.render import Rendering
from tests.benchmarks.timing import interleaved

SIDE = 4


def ours(text, photo):
    rendering = Rendering(Chain.parse(text), "auto")
    keep = tuple(slice(0, size) for size in photo.shape[:2])

    def run():
        found = rendering.at_once(photo, keep, "none")
        return found or rendering.pixels(*rendering.values(photo, "none"), photo.dtype)

    return run


def magnitude(photo):
    slopes = [cv2.Sobel(photo, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    return cv2.magnitude(*slopes).clip(0, np.iinfo(photo.dtype).max).astype(photo.dtype)


def laplacian(photo):
    if photo.dtype == np.uint8:
        return cv2.convertScaleAbs(cv2.Laplacian(photo, cv2.CV_16S))
    return np.abs(cv2.Laplacian(photo, cv2.CV_32F)).clip(0, 65535).astype(photo.dtype)


SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
PAIRS = {
    "gaussian:sigma=1": lambda photo: cv2.GaussianBlur(photo, (9, 9), 1),
    "gaussian:sigma=2": lambda photo: cv2.GaussianBlur(photo, (17, 17), 2),
    "mean:size=3": lambda photo: cv2.blur(photo, (3, 3)),
    "mean:size=9": lambda photo: cv2.blur(photo, (9, 9)),
    "mean:size=31": lambda photo: cv2.blur(photo, (31, 31)),
    "sobel": magnitude,
    "laplace": laplacian,
    "sharpen": lambda photo: cv2.filter2D(photo, -1, SHARPEN),
    "unsharp_mask": lambda photo: cv2.addWeighted(photo, 2, cv2.GaussianBlur(photo, (9, 9), 1), -1, 0),
    "median:size=3": lambda photo: cv2.medianBlur(photo, 3),
}


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    photo = np.tile(skimage.data.astronaut(), (SIDE, SIDE, 1))
    print("milliseconds, ours and OpenCV's; OpenCV's time divided by ours")
    for image in (photo, photo.astype(np.uint16) * 257):
        for text, theirs in PAIRS.items():
            run = ours(text, image)
            for _ in range(20):
                run()  # until its loop has been written
            medians = interleaved({"ours": run, "theirs": partial(theirs, image)}, repeats=11)
            mine, other = medians["ours"], medians["theirs"]
            print(f"  {image.dtype!s:<7} {text:<18} {1e3 * mine:7.2f} {1e3 * other:7.2f} {other / mine:6.2f}")


if __name__ == "__main__":
    sys.exit(main())

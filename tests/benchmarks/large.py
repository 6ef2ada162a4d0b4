"""Images larger than memory, beside libvips and dask: ``python -m tests.benchmarks.large [zarr | tiff]``.

Each contender is a process of its own that reads one image, filters it with a Gaussian of σ=2 and writes a
file like it; they take turns. Peak memory is the largest of each.
"""

import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data

ZARR_SIDE, TIFF_SIDE, TURNS = 12_000, 20_000, 3
# Reports its own peak, which a parent would otherwise mix with that of its other children.
PEAK = "\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
OURS = """
import sys
sys.argv = ["filterworks", "images", sys.argv[1], "-o", sys.argv[2], "-f", "gaussian:sigma=2", "-q"]
from filterworks.cli import main
try: main()
except SystemExit as end: assert not end.code
"""
VIPS = """
import sys, pyvips
image = pyvips.Image.new_from_file(sys.argv[1], access="sequential").gaussblur(2, min_ampl=0.0003)
image.tiffsave(sys.argv[2], tile=True, tile_width=512, tile_height=512, compression="none")
"""
DASK = """
import sys, cv2, dask.array as da
from scipy import ndimage
cv2.setNumThreads(1)
def opencv(block): return cv2.GaussianBlur(block, (17, 17), 2, borderType=cv2.BORDER_REFLECT)
def scipy(block): return ndimage.gaussian_filter(block, 2)
image = da.from_zarr(sys.argv[1])
result = image if FILTER is None else image.map_overlap(FILTER, depth=8, boundary="none")
result.to_zarr(sys.argv[2])
"""
DASK_IMAGE = """
import sys, dask.array as da
from dask_image.ndfilters import gaussian_filter
gaussian_filter(da.from_zarr(sys.argv[1]), 2).to_zarr(sys.argv[2])
"""


def missing(*modules):
    """The modules that are not installed."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def run(code, source, folder):
    """Return seconds and MiB of one process."""
    out = Path(folder) / f"out{source.suffix}"
    shutil.rmtree(out, ignore_errors=True)
    for left in (out, out.with_name(".filterworks.sqlite")):
        left.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK, source, out], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, int(done.stderr.split()[-1])


def compare(title, contenders, source, folder):
    print(title)
    present = {}
    for name, (code, modules) in contenders.items():
        if absent := missing(*modules):
            print(f"  {name}: not compared, {', '.join(absent)} not installed")
        else:
            present[name] = code
    seconds = {name: [] for name in present}
    peaks = dict.fromkeys(present, 0)
    for _ in range(TURNS):
        for name, code in present.items():
            taken, peak = run(code, source, folder)
            seconds[name].append(taken)
            peaks[name] = max(peaks[name], peak)
    base = statistics.median(seconds["filterworks"])
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times):.1f} to {max(times):.1f}"
        print(f"  {name:<24} {median:6.1f} s ({spread})  {median / base:5.2f} of ours  {peaks[name]:6d} MiB")


def scene(start, stop, side):
    """Some rows of a photo in 16 bits, repeated, with noise."""
    photo = skimage.data.camera().astype(np.uint16) * 128
    rows = np.tile(np.take(photo, range(start, stop), axis=0, mode="wrap"), (1, -(-side // 512)))[:, :side]
    return rows + np.random.default_rng(start).integers(0, 256, rows.shape, dtype=np.uint16)


def make_zarr(path):
    import zarr

    side = ZARR_SIDE
    array = zarr.create_array(path, shape=(side, side), dtype="uint16", chunks=(512, 512))
    for start in range(0, side, 512):
        array[start : start + 512] = scene(start, min(start + 512, side), side)


def make_tiff(path):
    import tifffile

    def tiles():
        for start in range(0, TIFF_SIDE, 512):
            rows = scene(start, start + 512, TIFF_SIDE)
            for column in range(0, TIFF_SIDE, 512):
                tile = rows[:, column : column + 512]
                yield np.pad(tile, ((0, 0), (0, 512 - tile.shape[1])))

    tifffile.imwrite(path, tiles(), shape=(TIFF_SIDE, TIFF_SIDE), dtype=np.uint16, tile=(512, 512))


def main():
    chosen = sys.argv[1:] or ["zarr", "tiff"]
    with tempfile.TemporaryDirectory() as folder:
        if "zarr" in chosen:
            source = Path(folder) / "in.zarr"
            make_zarr(source)
            compare(f"Zarr, {ZARR_SIDE} × {ZARR_SIDE} uint16, chunks of 512 × 512, zstd", {
                "filterworks": (OURS, ()),
                "dask and OpenCV": (DASK.replace("FILTER", "opencv"), ("dask", "zarr")),
                "dask and scipy.ndimage": (DASK.replace("FILTER", "scipy"), ("dask", "zarr")),
                "dask-image": (DASK_IMAGE, ("dask_image", "zarr")),
                "dask, copied unfiltered": (DASK.replace("FILTER", "None"), ("dask", "zarr")),
            }, source, folder)  # fmt: skip
            shutil.rmtree(source)
        if "tiff" in chosen:
            source = Path(folder) / "in.tif"
            make_tiff(source)
            compare(f"TIFF, {TIFF_SIDE} × {TIFF_SIDE} uint16, tiles of 512 × 512", {
                "filterworks": (OURS, ()),
                "libvips": (VIPS, ("pyvips",)),
            }, source, folder)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

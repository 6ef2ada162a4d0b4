"""The traps that became other projects' bugs, one test each."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage, signal

import filterworks as fw
from tests.conftest import pixels, tree


def test_even_kernels_follow_scipy_signal():
    x = np.zeros(9)
    x[4] = 1
    kernel = [1, 2, 3, 4]
    got = fw.convolve(x, kernel)
    assert np.flatnonzero(got == 1) == [3]
    assert np.flatnonzero(ndimage.convolve(x, kernel, mode="constant") == 1) == [2]
    np.testing.assert_array_equal(got, signal.convolve(x, kernel, mode="same"))
    ours = fw.correlate(x, kernel)
    np.testing.assert_array_equal(ours, signal.correlate(x, kernel, mode="same"))
    np.testing.assert_array_equal(ours, ndimage.correlate(x, kernel, mode="constant"))
    theirs = cv2.filter2D(x[None], cv2.CV_64F, np.array([kernel], float), borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_array_equal(ours, theirs[0])


def test_same_follows_the_first_input():
    short, long = np.array([1.0, 2, 3]), np.arange(1.0, 8)
    assert fw.convolve(short, long).shape == (3,)
    np.testing.assert_array_equal(fw.convolve(short, long), signal.convolve(short, long, mode="same"))
    assert np.convolve(short, long, mode="same").shape == (7,)


def test_integers_do_not_wrap_in_derivatives():
    step = np.repeat([[0, 0, 255, 255, 0, 0]], 5, axis=0).astype(np.uint8)
    rising, falling = fw.filters.sobel(step, axis=1)[2, [1, 3]]
    assert (rising, falling) == (1020, -1020)
    assert fw.filters.sobel(step, axis=1, dtype="int16")[2].tolist() == [0, 1020, 1020, -1020, -1020, 0]


def test_integers_are_rounded_and_nan_never_becomes_one():
    x = np.array([0, 0, 1, 1, 0], np.uint8)
    assert fw.filters.mean(x, 3).tolist() == [0, 0, 1, 1, 0]
    assert ndimage.uniform_filter(x, 3).tolist() == [0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="NaN"):
        fw.filters.mean(x, 3, boundary="constant", fill_value=np.nan)
    got = fw.filters.mean(x, 3, boundary="constant", fill_value=1.5)
    np.testing.assert_array_equal(
        got, np.rint(ndimage.uniform_filter(x.astype(float), 3, mode="constant", cval=1.5))
    )


def test_a_moving_mean_does_not_drift_nor_spread_nan():
    x = np.ones(1000)
    x[0] = 1e16
    for boundary in ("nearest", "constant"):
        assert (fw.filters.mean(x, 3, boundary=boundary)[2:-1] == 1).all()
    for poison in (np.nan, np.inf):
        x[500] = poison
        clean = fw.filters.mean(x, 5)
        assert np.isfinite(np.delete(clean, range(498, 503))).all()
        assert not np.isfinite(clean[498:503]).any()


def test_transforms_neither_spread_nan_nor_lose_small_values():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    kernel = rng.normal(size=4001)
    assert fw.plan(x, kernel).engine == "fft"
    x[100], x[-100] = np.nan, 1e12
    got = fw.convolve(x, kernel)
    assert np.isnan(got).sum() == 100 + 1 + 2000
    middle = slice(5000, 15_000)
    clean = np.where(np.abs(x) < 1e6, x, 0)
    exact = signal.convolve(clean, kernel, mode="same", method="direct")
    assert np.abs(got - exact)[middle].max() < 1e-12 * 5 * np.abs(kernel).sum()


def test_the_scale_of_sobel_is_stated_and_kept():
    step = np.repeat([[0.0, 0, 1, 1]], 4, axis=0)
    assert fw.filters.sobel(step)[1].tolist() == [0, 4, 4, 0]
    assert "unit step gives 4" in fw.filters.sobel.__doc__


def test_every_dtype_is_accepted_and_none_grows():
    kernel = np.random.default_rng(0).normal(size=(3, 3))
    assert fw.convolve(np.ones((9, 9), np.float32), kernel).dtype == np.float32
    assert fw.convolve(np.ones((9, 9), np.int32), kernel).dtype == np.float64
    for dtype in ("float64", "uint16", "int64"):
        x = np.random.default_rng(1).integers(0, 999, (20, 20)).astype(dtype)
        np.testing.assert_array_equal(fw.filters.median(x, 7), ndimage.median_filter(x, 7))


def test_colours_and_pages_are_not_blurred_together(tmp_path, command):
    x = np.zeros((9, 9, 3), np.uint8)
    x[..., 0] = 200
    assert (fw.filters.gaussian(x, 2, axes=(0, 1)) == x).all()
    stack = np.zeros((3, 20, 21), np.uint16)
    stack[1] = 5000
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    command("images", tmp_path / "s.tif", "-o", tmp_path / "t.tif", "-f", "gaussian:sigma=3")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "t.tif"), stack)


def test_colour_behind_transparency_does_not_bleed(tmp_path, command):
    x = np.full((30, 30, 4), (250, 0, 250, 0), np.uint8)
    x[10:20, 10:20] = (10, 90, 10, 255)
    Image.fromarray(x).save(tmp_path / "a.png")
    command("images", tmp_path / "a.png", "-o", tmp_path / "b.png", "-f", "mean:size=7")
    got = pixels(tmp_path / "b.png").astype(int)
    seen = got[..., 3] > 5
    assert seen.sum() > 150
    assert np.abs(got[seen][:, :3] - (10, 90, 10)).max() <= 3


def test_depth_and_metadata_survive(tmp_path, command):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90°
    exif[0x010F] = "Maker"
    x = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(x).save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, dpi=(240, 240))
    deep = np.random.default_rng(0).integers(0, 65535, (30, 50, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    command(
        "images", tmp_path / "a.jpg", tmp_path / "a.png", "-o", tmp_path / "out", "-f", "gaussian:sigma=1"
    )
    with Image.open(tmp_path / "out" / "a.jpg") as after:
        assert after.size == (60, 40)
        assert after.getexif()[0x0112] == 6
        assert after.getexif()[0x010F] == "Maker"
        assert after.info["icc_profile"] == profile
        assert tuple(map(round, after.info["dpi"])) == (240, 240)
    expected = np.rint(ndimage.gaussian_filter(deep.astype(float), (1, 1, 0)))
    got = cv2.imread(str(tmp_path / "out" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert got.dtype == np.uint16
    assert np.abs(got - expected).max() <= 1


def test_a_reach_beyond_a_band_or_the_image_is_no_problem(tmp_path, command, monkeypatch):
    from filterworks import bands

    grey = np.random.default_rng(0).integers(0, 255, (70, 40)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    monkeypatch.setattr(bands, "BAND", 40 * 10)
    command("images", tmp_path / "a.png", "-o", tmp_path / "b.png", "-f", "gaussian:sigma=30")
    expected = ndimage.gaussian_filter(grey.astype(float), 30)
    assert np.abs(pixels(tmp_path / "b.png") - expected).max() <= 0.51


def test_one_level_of_parallelism(photos, tmp_path, command, monkeypatch):
    from filterworks.batch import tasks

    seen = []
    perform = tasks.perform

    def spy(task):
        outcome = perform(task)
        seen.append((task.threads, cv2.getNumThreads()))
        return outcome

    monkeypatch.setattr(tasks, "perform", spy)
    before = cv2.getNumThreads()
    command("images", photos, "-o", tmp_path / "out", "-f", "sobel")
    assert set(seen) == {(1, 1)}
    assert cv2.getNumThreads() == before


def test_a_cluster_started_without_a_main_guard_ends(photos, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom filterworks.cli import main\n"
        f"sys.argv = ['filterworks', 'images', {str(photos)!r}, '-o', {str(tmp_path / 'out')!r}, '-f', 'sobel',"
        " '--workers', '2']\nmain()\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert len(tree(tmp_path / "out")) == 9


def test_inputs_are_never_written_and_validity_is_checked(photos, tmp_path, command):
    before = tree(photos)
    command("images", photos, "-o", tmp_path / "out", "-f", "sobel")
    whole = tree(tmp_path / "out")
    place = tmp_path / "out" / "trip" / "face.png"
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    command("images", photos, "-o", tmp_path / "out", "-f", "sobel")
    assert tree(tmp_path / "out") == whole
    assert tree(photos) == before


def test_quoted_globs_are_expanded(photos, tmp_path, command):
    assert command("images", f"{photos}/*/*.png", "-o", tmp_path / "out", "-f", "sobel").code == 0
    assert set(tree(tmp_path / "out")) == {"trip/face.png", "trip/cut.png"}
    nothing = command("images", f"{photos}/*.gif", "-o", tmp_path / "o2", "-f", "sobel")
    assert nothing.code == 2
    assert "no file matches" in nothing.err


def test_missing_samples_in_a_moving_mean_are_a_choice():
    x = np.array([1.0, 2, np.nan, 4, 9])
    kept = fw.filters.mean(x, 3, boundary="nearest")
    np.testing.assert_allclose(kept, [4 / 3, np.nan, np.nan, np.nan, 22 / 3])
    left_out = fw.filters.mean(x, 3, boundary="nearest", nan_policy="omit")
    np.testing.assert_allclose(left_out, [4 / 3, 1.5, 3, 6.5, 22 / 3])

"""``filterworks learn``: ten real photos give a known kernel back; the refusals."""

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

import filterworks as fw
from tests.conftest import pixels

# Positive and of sum 1, so that 8-bit results are not cut; no two weights are equal.
KERNEL = np.arange(1.0, 26)[[*range(0, 25, 3), *range(1, 25, 3), *range(2, 25, 3)]].reshape(5, 5) / 325
NAMES = (
    "coffee", "camera", "astronaut", "gravel", "brick", "grass", "moon", "coins", "chelsea", "rocket",
)  # fmt: skip


def crop(number, name):
    picture = getattr(skimage.data, name)()
    picture = np.ascontiguousarray(picture[20 + number : 220 + number, 40 : 270 - number])
    return picture[::-1] if number % 3 == 1 else picture[:, ::-1] if number % 3 == 2 else picture


def filtered(picture):
    return fw.correlate(picture.astype(np.float64), KERNEL, axes=(0, 1), boundary="nearest")


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learn") / "before"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.fromarray(crop(number, name)).save(folder / ("more" if number % 2 else "") / f"{name}.png")
    return folder


def write_after(before, folder, write):
    for path in before.rglob("*.png"):
        target = folder / path.relative_to(before)
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, filtered(pixels(path)))
    return folder


def save_tiff(path, values):
    tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")


def float_tiff(path, values):
    save_tiff(path.with_suffix(".tif"), values.astype(np.float32))


def deep_tiff(path, values):
    save_tiff(path.with_suffix(".tiff"), np.rint(values * 256).astype(np.uint16))


def plain_png(path, values):
    Image.fromarray(np.rint(values).astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("write", "factor", "within", "rms"),
    [(float_tiff, 1, 1e-6, 1e-4), (deep_tiff, 256, 1e-5, 0.3), (plain_png, 1, 1e-3, 0.3)],
)
def test_ten_photos_give_the_kernel_back(before, tmp_path, command, write, factor, within, rms):
    after = write_after(before, tmp_path / "after", write)
    result = command("learn", before, after, "--size", 5, "-o", tmp_path / "kernel.npy", "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert found["images"] == 10
    assert found["samples"] == sum(pixels(p)[2:-2, 2:-2].size for p in before.rglob("*.png"))
    assert found["rms"] < rms
    assert found["largest"] < 2 * rms
    np.testing.assert_allclose(np.array(found["kernel"]) / factor, KERNEL, atol=within)
    np.testing.assert_array_equal(np.load(tmp_path / "kernel.npy"), found["kernel"])


def test_the_kernel_is_usable_at_once(before, tmp_path, command):
    after = write_after(before, tmp_path / "after", plain_png)
    kernel = tmp_path / "kernel.txt"
    shown = command("learn", before, after, "--size", "5x5", "-o", kernel)
    assert shown.code == 0
    assert "kernel 5 x 5 from 10 images" in shown.out
    assert "fit error: RMS 0.2" in shown.out
    assert f"-f kernel:path={kernel}" in shown.out
    done = command("images", before, "-o", tmp_path / "out", "-f", f"kernel:path={kernel}")
    assert done.code == 0
    for path in after.rglob("*.png"):
        ours = pixels(tmp_path / "out" / path.relative_to(after)).astype(int)
        inside = np.s_[2:-2, 2:-2]
        assert np.abs(ours[inside] - pixels(path)[inside].astype(int)).max() <= 1


def test_a_bias_in_one_pair_of_files(tmp_path, command):
    picture = skimage.data.camera()[100:200, 100:240]
    Image.fromarray(picture).save(tmp_path / "a.png")
    tifffile.imwrite(
        tmp_path / "b.tif", fw.correlate(picture, [[1, 0, -2.5]], dtype="float32") + np.float32(40)
    )
    arguments = ("learn", tmp_path / "a.png", tmp_path / "b.tif", "--size", "1x3", "--bias")
    result = command(*arguments, "-o", tmp_path / "k.npy", "--json")
    np.testing.assert_allclose(result.json["kernel"], [[1, 0, -2.5]], atol=1e-5)
    assert result.json["bias"] == pytest.approx(40, abs=1e-3)
    shown = command(*arguments, "-o", tmp_path / "k.txt")
    assert "bias 40" in shown.out
    assert "does not add the bias" in shown.out
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "k.txt", ndmin=2), np.load(tmp_path / "k.npy"))


def test_gradient_descent(tmp_path, command):
    noise = np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", fw.correlate(noise, [[1, -2], [0.5, 3]], dtype="float32"))
    places = (tmp_path / "a.png", tmp_path / "b.tif", "--size", 2, "-o", tmp_path / "k.npy", "--json")
    found = command("learn", *places, "--method", "gradient").json
    np.testing.assert_allclose(found["kernel"], [[1, -2], [0.5, 3]], atol=1e-4)
    refused = command("learn", *places, "--method", "gradient", "--learning-rate", 1, "--overwrite")
    assert refused.code == 2
    assert "`learning_rate` must be below" in refused.err


def test_opacity_is_left_out(tmp_path, command):
    picture = skimage.data.astronaut()[50:110, 100:180]
    alpha = np.random.default_rng(1).integers(0, 255, (60, 80, 1), dtype=np.uint8)
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", fw.correlate(picture, [[1], [2]], axes=(0, 1)), photometric="rgb")
    found = command(
        "learn", tmp_path / "a.png", tmp_path / "b.tif", "--size", "2x1", "-o", tmp_path / "k.npy", "--json"
    )
    np.testing.assert_allclose(found.json["kernel"], [[1], [2]], atol=1e-6)
    assert found.json["samples"] == 59 * 80 * 3


def test_what_does_not_match_is_named_and_the_rest_is_used(before, tmp_path, command):
    after = write_after(before, tmp_path / "after", float_tiff)
    (after / "coffee.tif").unlink()
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(after / "other.png")
    tifffile.imwrite(after / "moon.tif", np.zeros((50, 60), np.float32))
    (after / "astronaut.tif").write_bytes(b"II*\0junk")
    tifffile.imwrite(after / "brick.tif", np.full(pixels(before / "brick.png").shape, np.nan, np.float32))
    result = command("learn", before, after, "--size", 5, "-o", tmp_path / "k.npy", "--json")
    assert result.code == 1
    for words in (
        "unmatched: ",
        "coffee.png",
        "other.png",
        "a target must be",
        "astronaut.tif",
        "NaN or infinite",
    ):
        assert words in result.err
    assert len(result.err.splitlines()) == 5
    assert "Traceback" not in result.err
    assert result.json["images"] == 6
    assert len(result.json["failed"]) == 3
    assert len(result.json["unmatched"]) == 2
    np.testing.assert_allclose(result.json["kernel"], KERNEL, atol=1e-6)


def test_constant_images_leave_the_kernel_open(tmp_path, command):
    Image.fromarray(np.full((30, 40), 90, np.uint8)).save(tmp_path / "a.png")
    places = ("learn", tmp_path / "a.png", tmp_path / "a.png", "--size", 5, "-o", tmp_path / "k.npy")
    refused = command(*places)
    assert refused.code == 1
    assert "determine only 1 of 25 unknowns" in refused.err
    assert not (tmp_path / "k.npy").exists()
    assert command(*places, "--ridge", 1).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "k.npy"), 1 / 25, rtol=1e-3)


def test_cut_results_are_warned_of(tmp_path, command):
    picture = skimage.data.camera()[100:200, 100:240]
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(fw.correlate(picture, [[3.0, -1]], dtype="uint8")).save(tmp_path / "b.png")
    result = command(
        "learn", tmp_path / "a.png", tmp_path / "b.png", "--size", "1x2", "-o", tmp_path / "k.npy"
    )
    assert "% of the samples of AFTER are the smallest or largest" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{b}", "{b}", "--size", "5", "-o", "k.csv"], "-o must end in .npy or .txt; got k.csv"),
        (["{b}", "{b}", "--size", "5", "-o", "taken.npy"], "-o taken.npy exists; --overwrite replaces it"),
        (["{b}", "{b}", "--size", "5", "-o", "no/k.npy"], "its folder does not exist"),
        (["{b}", "nowhere", "--size", "5", "-o", "k.npy"], "nowhere does not exist"),
        (["{b}", "{b}/coffee.png", "--size", "5", "-o", "k.npy"], "must both be folders, or both be images"),
        (["{b}", "empty", "--size", "5", "-o", "k.npy"], "have no image name in common"),
        (["{b}", "double", "--size", "5", "-o", "k.npy"], "have one name: it is not clear which to take"),
        (["{b}", "{b}", "--size", "0", "-o", "k.npy"], "must be an integer of at least 1, or one per axis as 5x7; got 0"),
        (["{b}", "{b}", "--size", "3x3x3", "-o", "k.npy"], "`size` must be an integer or 2 of them"),
        (["{b}", "{b}", "-o", "k.npy"], "Missing option '--size'"),
        (["{b}", "{b}", "--size", "5", "-o", "k.npy", "--ridge", "-1"], "--ridge"),
        (["{b}", "{b}", "--size", "5", "-o", "k.npy", "--method", "adam"], "gradient"),
    ],
)  # fmt: skip
def test_wrong_usage(before, tmp_path, command, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "double").mkdir()
    for name in ("taken.npy", "double/a.png", "double/a.jpg"):
        (tmp_path / name).write_bytes(b"kept")
    result = command("learn", *(text.format(b=before) for text in arguments))
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert (tmp_path / "taken.npy").read_bytes() == b"kept"
    assert not list(tmp_path.glob("k.*"))


def test_failures_of_every_pair(tmp_path, command):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    result = command("learn", tmp_path / "a.png", tmp_path / "a.png", "--size", 5, "-o", tmp_path / "k.npy")
    assert result.code == 1
    assert "an input of (3, 4) is smaller than the kernel of (5, 5)" in result.err
    assert "none of the images could be used" in result.err
    assert not (tmp_path / "k.npy").exists()


def test_as_a_process(before, process, tmp_path):
    child = process("learn", before, before, "--size", 3, "-o", tmp_path / "k.npy")
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "") or "are the smallest or largest" in err
    assert "kernel 3 x 3 from 10 images" in out
    np.testing.assert_allclose(np.load(tmp_path / "k.npy"), fw.kernels.identity(3), atol=1e-9)
    assert [path.name for path in tmp_path.iterdir()] == ["k.npy"]

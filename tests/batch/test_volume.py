"""Stacks in 3-D: channels and times stay apart, and blocks of planes and rows change nothing."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from filterworks import Chain
from filterworks.batch import volume as module
from filterworks.files import open_image, stacks

RNG = np.random.default_rng(3)
STACK = ndimage.gaussian_filter(RNG.random((23, 61, 47)), 1)
STACK = ((STACK - STACK.min()) / np.ptp(STACK) * 60000).astype(np.uint16)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "BAND", 700)
    monkeypatch.setattr(module, "_BLOCK", 12000)


def filtered(command, tmp_path, text, *options):
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", text, "--volume", "--json", *options
    )
    assert result.code == 0, result.err
    return tifffile.imread(tmp_path / "out.tif"), result.json["done"][0]


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap", "omit"])
@pytest.mark.parametrize(
    "text",
    [
        "gaussian:sigma=[1,2,0.7],boundary={}",
        "mean:size=[4,3,5],boundary={}",
        "mean:size=7 | mean:size=[9,50,60],boundary={}",
    ],
)
def test_blocks_equal_the_whole(command, tmp_path, small, text, boundary):
    text = text.format(boundary)
    tifffile.imwrite(tmp_path / "in.tif", STACK, rowsperstrip=7, compression="zlib", photometric="minisblack")
    got, entry = filtered(command, tmp_path, text)
    np.testing.assert_array_equal(got, Chain.parse(text)(STACK, axes=(0, 1, 2)))
    assert entry["pages"] == 23


def test_the_planes_are_filtered_as_scipy_does(command, tmp_path, small):
    tifffile.imwrite(tmp_path / "in.tif", STACK.astype(np.float32), tile=(16, 16))
    got, _ = filtered(command, tmp_path, "gaussian:sigma=[2,1,0.5]", "--verify", "100%")
    np.testing.assert_allclose(got, ndimage.gaussian_filter(STACK.astype(float), (2, 1, 0.5)), rtol=1e-5)


def test_the_reach_may_exceed_the_stack(command, tmp_path, small):
    tifffile.imwrite(tmp_path / "in.tif", STACK)
    got, _ = filtered(command, tmp_path, "gaussian:sigma=9")
    np.testing.assert_array_equal(got, Chain.parse("gaussian:sigma=9")(STACK))


def test_stretching_looks_at_the_whole_volume(command, tmp_path, small):
    tifffile.imwrite(tmp_path / "in.tif", STACK)
    got, _ = filtered(command, tmp_path, "laplace", "--range", "stretch")
    assert (got.min(), got.max()) == (0, 65535)
    assert got[3].max() - got[3].min() < 65535 or got[4].max() - got[4].min() < 65535


def test_channels_and_times_are_volumes_of_their_own(command, tmp_path, small):
    hyper = np.stack([STACK[:10], 60000 - STACK[10:20]])  # two times, ten planes
    hyper = np.stack([hyper, hyper[:, ::-1]], axis=2)  # time, plane, channel
    tifffile.imwrite(tmp_path / "in.tif", hyper, imagej=True, metadata={"axes": "TZCYX"})
    got, _ = filtered(command, tmp_path, "mean:size=3")
    chain = Chain.parse("mean:size=3")
    for time in range(2):
        for channel in range(2):
            np.testing.assert_array_equal(got[time, :, channel], chain(hyper[time, :, channel]))
    tifffile.imwrite(tmp_path / "in.ome.tif", hyper, metadata={"axes": "TZCYX"})
    (tmp_path / "in.ome.tif").replace(tmp_path / "in.tif")
    (tmp_path / "out.tif").unlink()
    again, _ = filtered(command, tmp_path, "mean:size=3", "--overwrite")
    np.testing.assert_array_equal(again, got)


def test_ome_descriptions_tell_the_order(tmp_path):
    for axes, shape, groups in (
        ("CZYX", (2, 3, 8, 9), [[0, 1, 2], [3, 4, 5]]),
        ("ZCYX", (3, 2, 8, 9), [[0, 2, 4], [1, 3, 5]]),
        ("TYX", (4, 8, 9), [[0], [1], [2], [3]]),
    ):
        tifffile.imwrite(tmp_path / "x.ome.tif", np.zeros(shape, np.uint8), metadata={"axes": axes})
        (tmp_path / "x.ome.tif").replace(tmp_path / "x.tif")
        with open_image(tmp_path / "x.tif") as image:
            assert stacks(image.info) == groups


def test_pages_of_different_sizes_are_refused(command, tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(STACK[0], metadata=None)
        writer.write(STACK[0, 1:], metadata=None)
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", "mean:size=3", "--volume"
    )
    assert result.code == 1
    assert "needs pages of one size and type" in result.err
    assert "page 2 of the stack uint16 (60, 47)" in result.err


def test_filters_of_planes_alone_are_refused_before_any_work(command, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK)
    result = command("images", tmp_path / "in.tif", "-o", tmp_path / "o", "-f", "motion:length=5", "--volume")
    assert result.code == 2
    assert "motion" in result.err
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "o", "-f", "gaussian:sigma=[1,2]", "--volume"
    )
    assert result.code == 2


def test_memory_is_a_limit_for_stacks_and_pages(command, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK)
    for options in (["--volume"], []):
        result = command("images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", "gaussian:sigma=2",
                         "--memory", "20kB", *options)  # fmt: skip
        assert result.code == 1
        assert "--memory allows 0 MiB" in result.err
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", "sobel", "--memory", "many"
    )
    assert result.code == 2
    assert "must be a size such as 512MiB or 2GB" in result.err


@pytest.mark.parametrize("options", [
    {"chunks": (1, 1, 16, 20)}, {"chunks": (2, 3, 16, 20)}, {"chunks": (1, 2, 8, 10), "shards": (2, 6, 16, 20)},
])  # fmt: skip
def test_stacks_in_zarr(command, tmp_path, small, options):
    import zarr

    stacked = np.stack([STACK[:10], 60000 - STACK[10:20]])
    names = ("c", "z", "y", "x")
    array = zarr.create_array(
        tmp_path / "in.zarr", shape=stacked.shape, dtype="uint16", dimension_names=names, **options
    )
    array[...] = stacked
    result = command("images", tmp_path / "in.zarr", "-o", tmp_path / "out.zarr", "-f", "gaussian:sigma=[1,2,1]",
                     "--volume", "--verify", "100%")  # fmt: skip
    assert result.code == 0, result.err
    chain = Chain.parse("gaussian:sigma=[1,2,1]")
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "out.zarr")[...], np.stack([chain(one) for one in stacked])
    )

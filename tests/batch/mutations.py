"""Damaged images from sound ones: bit flips, cuts, splices, edited lengths, huge sizes, bombs; seeded."""

import io
import random
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image


def seeds():
    """Small sound files: name of the suffix → contents."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:40, 0:56]
    colour = np.stack([4 * y, 4 * x, 2 * (x + y)], -1).astype(np.uint8) ^ rng.integers(
        0, 9, (40, 56, 3), dtype=np.uint8
    )
    grey = colour[..., 0]
    alpha = np.dstack([colour, 255 - grey])
    deep = (grey.astype(np.uint16) * 257) ^ 5
    exif = Image.Exif()
    exif[0x010E] = "a picture" * 20
    found = []

    def pillow(suffix, array, **options):
        file = io.BytesIO()
        Image.fromarray(array).save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix], **options)
        found.append((suffix, file.getvalue()))

    pillow("jpg", colour, quality=80, exif=exif, dpi=(72, 72))
    pillow("jpg", grey, progressive=True)
    pillow("jpg", colour, restart_marker_blocks=2)
    pillow("png", colour, icc_profile=b"profile" * 30, exif=exif)
    pillow("png", alpha)
    pillow("png", deep)
    pillow("webp", colour, quality=70, exif=exif)
    pillow("webp", alpha, lossless=True, icc_profile=b"profile" * 30)
    for options in (
        {"photometric": "rgb"},
        {"photometric": "rgb", "compression": "deflate", "predictor": True},
        {"photometric": "rgb", "compression": "lzw", "tile": (16, 16)},
        {"photometric": "rgb", "compression": "jpeg"},
        {"photometric": "rgb", "planarconfig": "separate", "bigtiff": True},
    ):
        file = io.BytesIO()
        data = np.moveaxis(colour, -1, 0) if "planarconfig" in options else colour
        tifffile.imwrite(file, data, **options)
        found.append(("tif", file.getvalue()))
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([deep, deep[::-1]]), photometric="minisblack", compression="zstd")
    found.append(("tif", file.getvalue()))
    return found


def mutated(number, sources):
    """The mutation of that number: (suffix, content)."""
    rng = random.Random(number)
    suffix, data = sources[number % len(sources)]
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        rng.choice(_MUTATIONS)(data, rng, sources)
    if suffix == "png" and rng.random() < 0.7:
        data = _with_checksums(data)
    return suffix, bytes(data)


def _flip(data, rng, sources):
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_head(data, rng, sources):
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(len(data), 200))] = rng.randrange(256)


def _cut(data, rng, sources):
    del data[rng.randrange(8, len(data)) :]
    data += b"\0" * 9


def _splice(data, rng, sources):
    _, other = rng.choice(sources)
    start = rng.randrange(len(other))
    place = rng.randrange(min(len(data), 8), len(data))
    part = other[start : start + rng.randrange(1, 400)]
    if rng.random() < 0.5:
        data[place : place + len(part)] = part
    else:
        data[place:place] = part


def _remove(data, rng, sources):
    place = rng.randrange(min(len(data) - 1, 8), len(data))
    del data[place : place + rng.randrange(1, 60)]
    data += b"\0" * 9


def _huge_number(data, rng, sources):
    """Lengths, counts, offsets and sizes are numbers of 2 or 4 bytes."""
    size = rng.choice((2, 4))
    value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 60000, 300_000))
    place = rng.randrange(2, min(len(data), rng.choice((60, 400, 100_000))) - 4)
    data[place : place + size] = (value & (256**size - 1)).to_bytes(size, rng.choice(("big", "little")))


_MUTATIONS = (_flip, _flip_head, _cut, _splice, _remove, _huge_number, _huge_number)


def _with_checksums(data):
    """Repair the checksums of PNG chunks: damage that they hide gets to the decoder."""
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return data


def _chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bombs():
    """Small files that ask for gigabytes: name → content."""
    packer = zlib.compressobj(9)
    # After a full flush a part stands for itself: three gigabytes from 64 MiB.
    first, again = (packer.compress(bytes(64 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    zeros = first + 47 * again + packer.flush()

    def png(columns, rows, *chunks, pixels=zeros):
        header = _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
        return (
            b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
        )

    small = zlib.compress(bytes(4 * 13))
    yield "profile.png", png(4, 4, _chunk(b"iCCP", b"p\0\0" + zeros), pixels=small)
    yield "text.png", png(4, 4, _chunk(b"zTXt", b"Comment\0\0" + zeros), pixels=small)
    yield "xmp.png", png(4, 4, _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros), pixels=small)
    yield "longer.png", png(4, 4)
    yield "wide.png", png(0x7FFFFFFF, 1)
    yield "large.png", png(60000, 60000)
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((8, 8), np.uint8), compression="deflate")
    for tag, kind, count, value in (
        (256, 4, 1, 0x7FFFFFFF), (257, 4, 1, 60000), (258, 3, 1, 64), (277, 3, 1, 65535),
        (278, 4, 1, 0xFFFFFFFF), (273, 4, 0x3FFFFFFF, 8), (279, 4, 1, 0xFFFFFFFF), (34675, 7, 0xFFFFFFFF, 8),
    ):  # fmt: skip
        yield f"tag{tag}.tif", _with_tag(file.getvalue(), tag, kind, count, value)
    # A strip that unpacks to two gigabytes.
    data = _with_tag(file.getvalue(), 279, 4, 1, len(zeros))
    yield "strip.tif", _with_tag(data, 273, 4, 1, len(data)) + zeros
    yield (
        "webp.webp",
        b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<IBI", 10, 0x2F, 0x0FFFFFFF) + bytes(9),
    )
    jpeg = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(jpeg, "JPEG")
    data = bytearray(jpeg.getvalue())
    place = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, place + 5, 65500, 65500)
    yield "large.jpg", bytes(data)
    struct.pack_into(">HH", data, place + 5, 17000, 17000)
    yield "lying.jpg", bytes(data)


def _with_tag(data, tag, kind, count, value):
    """Edit one entry of the first directory of a little-endian TIFF, or take the last entry for it."""
    data = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    places = {
        struct.unpack_from("<H", data, start + 2 + 12 * i)[0]: start + 2 + 12 * i for i in range(entries)
    }
    place = places.get(tag, max(places.values()))
    struct.pack_into("<HHII", data, place, tag, kind, count, value)
    return bytes(data)

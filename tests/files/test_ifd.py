from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterworks.files import exif
from filterworks.files.ifd import _SIZES, EXIF, Entry, pack_ifd, read_ifd

KINDS = sorted(_SIZES)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    tags = draw(
        st.lists(
            st.integers(1, 60000).filter(lambda tag: tag not in (34665, 34853, 40965)),
            unique=True,
            min_size=1,
            max_size=9,
        )
    )
    found = []
    for tag in tags:
        kind, count = draw(st.sampled_from(KINDS)), draw(st.integers(1, 7))
        found.append(
            Entry(
                tag,
                kind,
                count,
                draw(st.binary(min_size=_SIZES[kind] * count, max_size=_SIZES[kind] * count)),
            )
        )
    return found


@given(entries(), st.sampled_from("<>"), st.booleans(), st.integers(0, 9), st.booleans())
def test_what_is_packed_can_be_read(
    tags: list[Entry], order: str, big: bool, start: int, nested: bool
) -> None:
    if nested:
        tags = [*tags, Entry(EXIF, 4, 1, b"", children=tuple(sorted(tags, key=lambda item: item.tag)))]
    packed = bytes(2 * start) + pack_ifd(tags, 2 * start, order, big=big, following=77)
    found, following = read_ifd(
        lambda offset, length: packed[offset : offset + length], 2 * start, order, big=big
    )
    assert following == 77
    assert sorted(found) == sorted(tag.tag for tag in tags)
    for tag in tags:
        assert found[tag.tag].in_order("<") == tag.data
        if tag.children:
            assert [child.in_order("<") for child in found[EXIF].children or ()] == [
                c.data for c in tag.children
            ]


@given(st.binary(max_size=200))
def test_a_damaged_exif_block_has_no_tags_or_some(block: bytes) -> None:
    for order in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        exif.unpack(order + block)
        exif.resolution_of(order + block)


@pytest.mark.parametrize("unit", [2, 3])
def test_resolution(unit: int) -> None:
    tags = {tag.tag: tag for tag in exif.resolution_entries((300, 150))}
    tags[296] = Entry(296, 3, 1, bytes((unit, 0)))
    assert exif.resolution_in(tags) == pytest.approx((300, 150) if unit == 2 else (762, 381))

"""LZW as TIFF has it, to be translated.

Codes have 9 to 12 bits, the first of them the highest, and grow one code early.
Source: Adobe, TIFF Revision 6.0, section 13.
"""

from __future__ import annotations

from filterworks.machine.intrinsics import (
    Bytes,
    Integers,
    Places,
    arithmetic_shift,
    hidden,
    put_word,
    reversed_bytes,
    word_at,
)
from filterworks.machine.translation import rarely_translated, translated

# Numbers that tables to work with hold: of strings, of where codes are looked up, of codes since a clearing.
STRINGS, SLOTS, CODES = 5120, 1 << 14, 4096
# Bytes in front of what is unpacked, one of each value, and behind it: the longest string and some more.
BEFORE, BEHIND = 256, 4096 + 64
_CLEAR, _END, _FIRST = 256, 257, 258
LITERALS = 256
# What unpacking comes to: all that is needed, less of it, or codes that there cannot be.
FINE, SHORT, WRONG = 1, 0, -1
# Codes between two clearings.
_FULL = 4096 - _FIRST


@rarely_translated
def last_code(data: Bytes, bit: int, width: int, is_old: int) -> int:
    """Return the code of so many bits from a bit on, and read no byte behind it."""
    place = bit >> 3
    end = bit + width
    code = 0
    count = 0
    while place << 3 < end:
        code = code | (data[place] << count) if is_old != 0 else (code << 8) | data[place]
        place = place + 1
        count = count + 8
    shift = bit & 7 if is_old != 0 else (place << 3) - end
    return (code >> shift) & ((1 << width) - 1)


@translated
def begins_with_clear(data: Bytes, start: int, count: int, is_old: int) -> int:
    """Return whether the first code is the one that clears the table."""
    if count < 2:
        return 0
    if is_old != 0:
        return 1
    return 1 if (data[start] << 1) | (data[start + 1] >> 7) == _CLEAR else 0


@translated
def unpack(  # noqa: C901  # one pass, one state
    data: Bytes, size: int, start: int, count: int, needed: int, table: Integers, room: Bytes, found: Integers
) -> int:
    """Unpack the `count` bytes from `start` on to place `BEFORE`; return `FINE`, `SHORT` or `WRONG`.

    Parameters
    ----------
    data, size
        What may be read.
    needed
        How many bytes are wanted: no more are unpacked.
    table
        Of each code: where in `room` its string begins, times 65536, and its length.
    room
        `BEFORE` bytes, 0 to 255, then as many as are needed and `BEHIND`.
    found
        How many bytes there are.
    """
    found[0] = 0
    if start < 0 or count < 0 or count > size or start > size - count:
        return WRONG
    if count == 0:
        return SHORT
    # Before 1989 the first bit of a code was the lowest, and codes did not grow early.
    is_old = 1 if count > 1 and data[start] == 0 and data[start + 1] & 1 == 1 else 0
    if begins_with_clear(data, start, count, is_old) == 0:
        return WRONG
    place = BEFORE
    limit = BEFORE + needed
    bit = 8 * start
    stop = 8 * (start + count)
    # Up to here a code of any length, and seven bytes after the one it begins in, can be read.
    safe = 8 * (size - 8)
    safe = safe if safe < stop - 12 else stop - 12
    width = 9
    grown = 511 + is_old
    next_code = _FIRST
    previous = 0
    while place < limit:
        code = _END
        if bit <= safe:
            word = word_at(data, bit >> 3)
            if is_old != 0:
                code = (word >> (bit & 7)) & ((1 << width) - 1)
            else:
                code = (reversed_bytes(word) << (bit & 7)) >> (64 - width)
        elif bit + width <= stop:
            code = last_code(data, bit, width, is_old)
        bit = bit + width
        if code == _CLEAR:
            width = 9
            grown = 511 + is_old
            next_code = _FIRST
            while code == _CLEAR:
                code = _END
                if bit + 9 <= stop:
                    code = last_code(data, bit, 9, is_old)
                bit = bit + 9
            if code == _END:
                found[0] = place - BEFORE
                return SHORT
            if code > 255:
                return WRONG
            room[place] = code
            previous = (place << 16) | 1
            place = place + 1
        else:
            if code == _END:
                found[0] = place - BEFORE
                return SHORT
            if code > next_code or next_code == STRINGS:
                return WRONG
            # The string before and the byte after it, which follows it, or is its own first.
            table[next_code] = previous + 1
            string = table[code]
            source = string >> 16
            length = string & 0xFFFF
            put_word(room, place, word_at(room, source))
            put_word(room, place + 8, word_at(room, source + 8))
            done = 16
            while done < length:
                put_word(room, place + done, word_at(room, source + done))
                done = done + 8
            if code == next_code:
                room[place + length - 1] = room[source]
            previous = (place << 16) | length
            place = place + length
            next_code = next_code + 1
            if next_code == grown and width < 12:
                width = width + 1
                grown = (1 << width) - 1 + is_old
    found[0] = needed
    return FINE


@translated
def put_codes(codes: Places, first: int, last: int, width: int, state: Integers, out: Bytes) -> None:
    """Write codes of so many bits; `state` is where, and bits that do not fill a byte with their number."""
    place = state[0]
    kept = state[1]
    count = state[2]
    for number in range(first, last):
        kept = (kept << width) | codes[number]
        count = count + width
        put_word(out, place, reversed_bytes(kept << (64 - count)))
        place = place + (count >> 3)
        count = count & 7
    state[0] = place
    state[1] = kept
    state[2] = count


@translated
def put_all_codes(codes: Places, count: int, state: Integers, out: Bytes) -> None:
    """Write codes since a clearing, each with as many bits as the table needs by then."""
    put_codes(codes, 0, count if count < 254 else 254, 9, state, out)
    if count > 254:
        put_codes(codes, 254, count if count < 766 else 766, 10, state, out)
    if count > 766:
        put_codes(codes, 766, count if count < 1790 else 1790, 11, state, out)
    if count > 1790:
        put_codes(codes, 1790, count, 12, state, out)


@translated
def pack(raw: Bytes, size: int, slots: Places, codes: Places, state: Integers, out: Bytes, place: int) -> int:
    """Pack `size` bytes, at least 1; return the place after them: twice as many and 64 bytes may be used.

    Parameters
    ----------
    slots
        The strings of the table: code before, byte, and code of both, in 12, 8 and 12 bits.
    codes
        Those since the last clearing.
    state
        Three numbers to work with.
    """
    state[0] = place
    state[1] = _CLEAR
    state[2] = 9
    for slot in range(SLOTS):
        slots[slot] = 0
    code = raw[0]
    part = code << 2
    count = 0
    for number in range(1, size):
        byte = raw[number]
        key = (code << 8) | byte
        slot = part ^ ((byte * 9541) & (SLOTS - 1))
        found = slots[slot] & 0xFFFFFFFF
        # All ones where the slot is taken. Nobody can tell beforehand whether the next string is known, so
        # nothing branches on that, only where another string has the slot, which is rare.
        known = hidden(arithmetic_shift(0 - found, 63))
        while ((found ^ key) & 0xFFFFF) & known != 0:
            slot = (slot + 1) & (SLOTS - 1)
            found = slots[slot] & 0xFFFFFFFF
            known = hidden(arithmetic_shift(0 - found, 63))
        slots[slot] = found | ((key | ((count + _FIRST) << 20)) & (known ^ -1))
        codes[count] = code
        count = count + 1 + known
        # Two bits of the key may follow the code here: those of a code are always the same.
        part = found >> 18 if found != 0 else byte << 2
        code = found >> 20 if found != 0 else byte
        if count == _FULL:
            codes[count] = _CLEAR
            put_all_codes(codes, count + 1, state, out)
            for slot in range(SLOTS):
                slots[slot] = 0
            count = 0
    codes[count] = code
    put_all_codes(codes, count + 1, state, out)
    # The decoder knows one string more by now.
    codes[0] = _END
    width = 9 if count < 253 else 10 if count < 765 else 11 if count < 1789 else 12
    put_codes(codes, 0, 1, width, state, out)
    # A byte more where the last one is full, as imagecodecs has it: files are the same either way.
    return state[0] + 1  # type: ignore[no-any-return]  # as above

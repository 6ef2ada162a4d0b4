"""Memory of which every byte beyond its end may be proved to be left alone."""

from __future__ import annotations

import ctypes
import mmap


class Guarded:
    """Bytes between two pages that nobody may touch, at the end of what lies between them."""

    def __init__(self, capacity: int) -> None:
        page = self.page = mmap.PAGESIZE
        self._size = (-(-capacity // page) + 2) * page
        self._map = mmap.mmap(-1, self._size)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.end = self.start + self._size - page
        assert protect(self.start, page, 0) == 0
        assert protect(self.end, page, 0) == 0

    def room(self, size: int) -> int:
        return self.end - size

    def holding(self, data: bytes) -> int:
        ctypes.memmove(self.end - len(data), data, len(data))
        return self.end - len(data)

    def fill(self, place: int, data: bytes) -> None:
        ctypes.memmove(place, data, len(data))

    def read(self, place: int, size: int) -> bytes:
        return ctypes.string_at(place, size)

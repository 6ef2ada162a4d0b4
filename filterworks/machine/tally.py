"""How many samples a loop cuts to the range of their dtype, each counted by one block only."""

from __future__ import annotations

from filterworks.machine.code import Function

# Bytes before the rows that are kept between two steps: how many samples were cut, and how many rows and
# numbers at the beginning of the block another one counts.
HEADER = 64


class Tally:
    """The count of a loop begun by :func:`loops.unstaged`.

    Tiles and blocks overlap where sizes are no multiples of theirs: the rows and lanes that are done again
    count once.
    """

    def __init__(self, code: Function) -> None:
        self._code = code
        self._row, self._column = (code.load("i64", code.at("i64", "%p_between", i)) for i in (1, 2))
        self._cut = code.slot("i64")
        code.store("i64", 0, self._cut)

    def rows_from(self, start: str, row: str) -> str:
        """Return the first counted row of a tile that begins at `row`, and would at `start` with room."""
        return self._code.sub(self._code.greatest(start, self._row), row)

    def lanes_from(self, begin: str, column: str) -> str:
        """Return the first counted lane of vectors that begin at `column`, and would at `begin` with room."""
        return self._code.sub(self._code.greatest(begin, self._column), column)

    def add(self, marks: str, lanes: int, is_counted: str, first_lane: str) -> None:
        """Count the marks of a vector from a lane on, if its row is counted."""
        code = self._code
        packed = code.value(f"bitcast <{lanes} x i1> {marks} to i{lanes}")
        bits = code.value(f"zext i{lanes} {packed} to i64") if lanes < 64 else packed
        shift = code.least(code.greatest(first_lane, 0), 63)
        bits = code.call("i64", "llvm.ctpop.i64", ("i64", code.value(f"lshr i64 {bits}, {shift}")))
        bits = code.value(f"select i1 {is_counted}, i64 {bits}, i64 0")
        code.store("i64", code.add(code.load("i64", self._cut), bits), self._cut)

    def write(self) -> None:
        """Write the count to where it is looked for."""
        self._code.store("i64", self._code.load("i64", self._cut), "%p_between")

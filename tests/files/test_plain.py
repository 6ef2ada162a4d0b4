"""Rows taken apart by compiled loops: the same as by polars, byte for byte."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from filterworks.files.tables import Reading, TextTable, plain
from filterworks.files.tables.writing import TextWriter

ROWS = [
    "1,2.5,a",
    "-3,0.1,b c",
    "4e3,-1.5E-7,",
    "5,,ü",
    "6.25,nan,x",
    "7,NaN ,y",
    "8, 2 ,z",
    "9,+.5,w",
    "10,5.,v",
    "11,123456789012345678901234567890,u",
    "12,0.000000000000000000001234567890123456789,t",
    "13,1e-310,s",
    "14,-0,r",
    "15,NA,q",
    "16,-999,p",
    "17,-999.0,o",
    "18,9007199254740993,n",
]
CASES = {
    "all": (ROWS, {"null": ("NA", "-999")}),
    "numbers": ([row for row in ROWS if "NA," not in row], {}),
    "semicolons": (
        [row.replace(",", ";").replace(".", ",") for row in ROWS],
        {"decimal": ",", "null": ("NA", "-999")},
    ),
    "one row": (ROWS[:1], {}),
}


class Kept:
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def copied(path, reading, suffix, size):
    """Return the numbers of a table, and the table written again with half of each."""
    kept, parts, ways = Kept(), [], set()
    with ThreadPoolExecutor(2) as executor:
        table = TextTable(path, reading)
        columns = ("n", "x")
        writer = TextWriter(kept, table, columns, suffix, executor, "")
        for block in table.blocks(
            columns, [n for n in table.names if suffix or n not in columns], executor, looked=(), size=size
        ):
            ways.add(block.plain is not None)
            parts.append(block.values.copy())
            writer.write(block, block.values / 2)
        writer.finish()
        writer.close()
    return np.concatenate(parts), kept.data, ways


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("suffix", [None, "_half"])
@pytest.mark.parametrize("case", CASES)
def test_loops_and_polars_agree(tmp_path, monkeypatch, case, suffix, last, end):
    rows, options = CASES[case]
    header = "n;x;t" if "decimal" in options else "n,x,t"
    text = end.join([header, *rows]) + end * last
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    reading = Reading(**options)
    values, data, ways = copied(path, reading, suffix, 1 << 20)
    assert ways == {True}
    for size in (1, 40, 100):
        again, small, ways = copied(path, reading, suffix, size)
        assert again.tobytes() == values.tobytes()
        assert (small, ways) == (data, {True})
    monkeypatch.setattr(plain, "_loops", lambda: None)
    by_polars, expected, ways = copied(path, reading, suffix, 1 << 20)
    assert ways == {False}
    np.testing.assert_array_equal(values, by_polars)
    assert data == expected


@pytest.mark.parametrize("row", ["1,2", "1,2,3,4", "x,2,3", "1,--2,3", "1,2e,3", "1,0x10,3", "1,1_000,3", ""])
def test_what_is_not_plain_is_left_to_those_who_can_say_why(row):
    text = f"1,2,3\n{row}\n4,5,6\n".encode()
    assert plain.scan(plain.Text.of(text), 3, (0, 1), (b",", "."), (), True) is None
    assert plain.scan(plain.Text.of(b"1,2,3\n4,5,6\n"), 3, (0, 1), (b",", "."), (), True) is not None


def test_numbers_of_all_lengths_are_read_as_python_reads_them():
    rng = np.random.default_rng(0)
    cells = []
    for whole in range(22):
        for decimals in range(24):
            for sign in ("", "-", "+"):
                digits = "".join(map(str, rng.integers(0, 10, whole + decimals)))
                small = "0" * whole + digits[whole:]
                for text in (digits, small):
                    cells += [f"{sign}{text[:whole]}.{text[whole:]}"] * (whole + decimals > 0)
                cells += [f"{sign}{digits[:whole]}.{digits[whole:]}e-{decimals}"] * (whole > 0)
                cells += [f"{sign}{digits[:whole]}"] * (whole > 0)
    cells += ["0.5"] * (3 * len(cells))  # where most are odd, others read them all
    text = plain.Text.of("".join(f"{cell},x\n" for cell in cells).encode())
    found = plain.scan(text, 2, (0,), (b",", "."), (), True)
    assert found.lines[0].tobytes() == np.array([float(cell) for cell in cells]).tobytes()


@pytest.mark.parametrize(
    "wrong", ["1.2.3", "0.12345678901234567x", "12345678.x", "1.-2", "0.123456789012345e6789-", "."]
)
def test_what_looks_like_a_number_and_is_none(wrong):
    lines = "0.25\n" * 9
    assert (
        plain.scan(plain.Text.of(f"{lines}{wrong}\n{lines}".encode()), 1, (0,), (b",", "."), (), True) is None
    )


def test_kinds_and_texts_of_columns():
    text = plain.Text.of(b"1,1.0,,x\n2,2e0,,y\n 3,3,,z\n")
    found = plain.scan(text, 4, (0, 1, 2), (b",", "."), (), True)
    assert plain.plain_kinds(found) == ["integer", "float", "empty"]
    assert plain.plain_texts(found, 0, 2) == ["1", "2"]
    assert plain.plain_texts(found, 2, 2) == []

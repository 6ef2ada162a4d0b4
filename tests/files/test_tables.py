"""Tables in text: what is not filtered comes back byte for byte, what cannot be read is named with its line."""

import gzip
import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from filterworks.errors import ArgumentError, FileError
from filterworks.files.tables import Column, Reading, open_table, select, write_table


def rewritten(
    path, columns=None, *, suffix=None, function=lambda x: x, size=1 << 23, name="out.csv", **reading
):
    """The table after a round trip through blocks of `size` bytes."""
    out = io.BytesIO()
    table = open_table(path, Reading(**reading))
    names = select(table.columns, columns, [])
    replaced = frozenset(names if suffix is None else ())
    kept = [one for one in table.names if one not in replaced]
    with ThreadPoolExecutor(2) as executor:
        writer = write_table(path, out, table, names, suffix, executor, name)
        for block in table.blocks(names, kept, executor, size=size):
            writer.write(block, function(block.values))
        writer.finish()
        writer.close()
    return out.getvalue()


@pytest.fixture
def table(tmp_path):
    def make(data, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


def raw_rows(data, delimiter=b","):
    """A direct reading of RFC 4180: the raw bytes of each field, and each line's end."""
    rows, fields, field, quoted, i = [], [], b"", False, 0
    while i < len(data):
        sign = data[i : i + 1]
        if sign == b'"':
            quoted = not quoted
            field += sign
        elif not quoted and sign == delimiter:
            fields.append(field)
            field = b""
        elif not quoted and (sign == b"\n" or data[i : i + 2] == b"\r\n"):
            end = b"\n" if sign == b"\n" else b"\r\n"
            rows.append(([*fields, field], end))
            fields, field = [], b""
            i += len(end) - 1
        else:
            field += sign
        i += 1
    if field or fields:
        rows.append(([*fields, field], b""))
    return rows


texts = st.text(st.sampled_from("ab ,;\"\n\rx0é日\t#'\\"), max_size=6)


def written(text, must_quote):
    if must_quote or any(sign in text for sign in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


numbers = st.one_of(
    st.sampled_from(["", "NaN", "nan", "NA", " 1.5", "-2 ", '"3.25"', '""', "1e5", "+7", "007", "-0"]),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(texts, st.booleans(), numbers, texts, st.booleans(), st.sampled_from(["\n", "\r\n"])), min_size=1, max_size=12),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3, 17, 1 << 20]),
)  # fmt: skip
def test_untouched_text_comes_back_byte_for_byte(tmp_path_factory, rows, mixed, last_end, mark, size):
    end = rows[0][-1]
    text = f'"first",value,last{end}'
    for first, q1, number, last, q2, own in rows:
        text += f"{written(first, q1)},{number},{written(last, q2)}{own if mixed else end}"
    text = text if last_end else text.removesuffix("\n").removesuffix("\r")
    data = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    path = tmp_path_factory.mktemp("fuzz") / "t.csv"
    path.write_bytes(data)
    got = rewritten(path, ["value"], null=("NA",), size=size)
    assert got.startswith(data[: 3 * mark])
    before, after = raw_rows(data[3 * mark :]), raw_rows(got[3 * mark :])
    assert [([f[0], f[-1]], e) for f, e in before] == [([f[0], f[-1]], e) for f, e in after]
    assert before[0] == after[0]
    for (old, _), (new, _) in zip(before[1:], after[1:], strict=True):
        bare = old[1].strip(b'"').strip()
        if bare.lower() in (b"", b"nan", b"na"):
            assert new[1] == old[1]
        else:
            assert float(new[1].strip(b'"')) == float(bare)
            assert new[1].startswith(b'"') == old[1].startswith(b'"')


@pytest.mark.parametrize("size", [1, 2, 5, 64, 1 << 20])
@pytest.mark.parametrize("data", [
    b"a,b\n1,x\n2.5,y\n",
    b"a,b\r\n1,x\r\n2.5,y",
    b"\xef\xbb\xbfa;b\n1;\"x;\"\"y\"\n2;\"z\nz\"\n",
    b"a\tb\n1\tx\n\n\n\n",
    b"a,b\n1,x\r\n2,y\n3,\"z\"\n4,w\r\n",
    b"a,b\n1, x \n2,\t\n3,\xc2\xa0\n",
    b"v\n1\n\n2\n",
    b"v\n1\n2",
    b"a|b\n1|'q\n",
    b"a,b\n",
    b"a,b",
])  # fmt: skip
def test_only_numbers_change(table, data, size):
    got = rewritten(table(data), ["v" if data.startswith(b"v") else "a"], size=size)
    assert got.replace(b".0", b"") == data


def test_block_sizes_change_nothing(table):
    rng = np.random.default_rng(3)
    lines = [f'{i},{float(x)!r},"n{i}\n",{y:.3f}' for i, (x, y) in enumerate(rng.normal(size=(200, 2)))]
    path = table(("i,x,note,y\n" + "\n".join(lines)).encode())
    whole = rewritten(path, ["x", "y"], function=lambda v: v / 3)
    for size in (1, 7, 100, 1000):
        assert rewritten(path, ["x", "y"], function=lambda v: v / 3, size=size) == whole


def test_results_are_the_shortest_text_that_reads_back(table):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**63, 20_000).view(np.float64)
    values = values[np.isfinite(values)]
    path = table(b"x\n" + b"1\n" * values.size)
    lines = rewritten(path, ["x"], function=lambda v: values[:, None]).split()[1:]
    assert [float(line) for line in lines] == values.tolist()
    digits = [len(line.lower().split(b"e")[0].strip(b"-0.").replace(b".", b"")) for line in lines]
    assert all(
        n <= len(repr(float(v)).split("e")[0].replace(".", "").strip("-0")) + 1
        for n, v in zip(digits, values, strict=True)
    )


def test_numbers_are_read_as_python_reads_them(table):
    rng = np.random.default_rng(2)
    texts = [
        f"{rng.integers(10**9)}.{rng.integers(10**17):017d}e{rng.integers(-300, 290)}" for _ in range(5000)
    ]
    texts += [
        "0.1",
        "1e-320",
        "9007199254740993",
        "123456789012345678901234567890",
        "2.2250738585072011e-308",
    ]
    seen = []
    rewritten(
        table(("x\n" + "\n".join(texts)).encode()), ["x"], function=lambda v: seen.append(v.copy()) or v
    )
    assert np.concatenate(seen)[:, 0].tolist() == [float(text) for text in texts]


def test_missing_values_keep_their_text_unless_they_are_filled(table):
    path = table(b"k,x\na,1\nb,\nc,NaN\nd,-999\ne,NA\nf, \n")
    assert rewritten(path, ["x"], null=("NA", "-999")) == b"k,x\na,1.0\nb,\nc,NaN\nd,-999\ne,NA\nf, \n"
    filled = rewritten(path, ["x"], null=("NA", "-999.0"), function=np.nan_to_num)
    assert filled == b"k,x\na,1.0\nb,0.0\nc,0.0\nd,0.0\ne,0.0\nf,0.0\n"
    lost = rewritten(path, ["x"], null=("NA",), function=lambda v: v * math.nan)
    assert lost == b"k,x\na,\nb,\nc,NaN\nd,\ne,NA\nf, \n"


def test_added_columns_leave_the_others_as_they_are(table):
    got = rewritten(table(b'a,"b"\r\n1,2\r\n,"4"\r\n'), suffix="_x", function=lambda v: v * 3)
    assert got == b'a,"b","a_x","b_x"\r\n1,2,3.0,6.0\r\n,"4",,"12.0"\r\n'
    with pytest.raises(FileError, match="has a column 'a_x' already"):
        rewritten(table(b"a,a_x\n1,2\n"), ["a"], suffix="_x")


@pytest.mark.parametrize(("data", "words"), [
    (b"", "t.csv: is empty (0 bytes)"),
    (b"a,b\n1,2\n3\n", "line 3: has 1 field where the header has 2"),
    (b"a,b\n1,2\n3,4,5\n", "line 3: has 3 fields where the header has 2"),
    (b"a,b\n1,2\n3,4,5\n6\n", "line 3: has 3 fields"),
    (b"a,b\n1,2\n\n3,4\n", "line 3: is blank"),
    (b"a,b\n1,\"x\n,\ny\"\n3\n", "line 5: has 1 field"),
    (b"a,a\n1,2\n", "line 1: columns 1 and 2 are both named 'a'"),
    (b"a,b\n1,x\ny,x\n", "line 3, column 'a': 'y' is not a number"),
    (b"a,b\n1,\"x\n\n\"\n\"y,\",x\n", "line 5, column 'a': '\"y,\"' is not a number"),
    (b"a,b\n1,\"x\n2,y\n", "line 2: a quote opens here and never closes"),
    (b"a,b\n1,x\n2,5\" pipe\n", "line 3: a quote"),
    (b"a,b\n1,5\" pipe\n2,6\" pipe\n", "line 2: a quote stands inside a field that does not begin with one"),
    (b"a,b\n\"x,1\n\"y\",2\n", "line 2: a quoted field begins here that does not end with its quote"),
    (b"a,b\n1,x\n2,\xe9t\xe9\n", "line 3, column 'b': byte 0xe9 is not UTF-8"),
    (b"a\xe9,b\n1,x\n", "line 1: byte 0xe9 is not UTF-8"),
    (b"\xff\xfea\x00,\x00", "is UTF-16"),
    (b"a,b\r1,2\r", "lines end in CR alone"),
    (b"\n1,2\n", "line 1: is blank"),
    (b'"a,b\n1,2\n', "line 1: a quote opens here and never closes"),
    (b'a,x;""y\rz\n1\n', "line 2: has 1 field where the header has 2"),
    (b"a,b\n1,x\n\xe9,2\n3\n", "line 3, column 'a': byte 0xe9 is not UTF-8"),
    (b"a,b\n1,x\n3\n\xe9,2\n", "line 3: has 1 field where the header has 2"),
    (b"a,b\n1,x\n" + b"1.5," * 600_000 + b"\n2,y\n", "line 3: has 600001 fields where the header has 2"),
    (b"a,b\n1,x\n" + b'"1",' * 600_000 + b"\n2,y\n", "line 3: has 600001 fields where the header has 2"),
    (b'a,b"c\n' + b"1,2\n" * 300_000, "line 1: a quote in the header does not close within 1048576 bytes"),
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_is_wrong_is_named_with_file_line_and_column(table, data, words, size):
    with pytest.raises(FileError) as caught:
        rewritten(table(data, "t.csv"), ["a"], size=size)
    assert words in str(caught.value)
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_lines_are_counted_through_all_blocks(table, size):
    path = table(b"a,b\n" + b'1,"two\nlines"\n' * 5000 + b"oops,2\n")
    with pytest.raises(FileError, match="line 10002, column 'a': 'oops'"):
        rewritten(path, ["a"], size=size)
    path = table(b"a,b\n" + b"1,2\n" * 300_000 + b"1,2,3\n" + b"1,2\n" * 10)
    with pytest.raises(FileError, match="line 300002: has 3 fields"):
        rewritten(path, ["a"], size=size << 8)


def test_quotes_may_be_taken_as_text(table):
    data = b'a,b\n1,5" pipe\n2,"\n'
    assert rewritten(table(data), ["a"], quotes=False).replace(b".0", b"") == data


def test_decimal_commas(table):
    data = b't;x;"y"\n1,5;2,25;"3,5"\n2;1.5;\n'
    with pytest.raises(FileError, match=r"line 3, column 'x': '1\.5' is not a number"):
        rewritten(table(data), ["x"], decimal=",")
    data = data.replace(b"1.5", b"-1e-30")
    for size in (1, 1 << 20):
        got = rewritten(table(data), decimal=",", size=size)
        assert got == b't;x;"y"\n1,5;2,25;"3,5"\n2,0;-1e-30;\n'
    assert [column.kind for column in open_table(table(data), Reading(decimal=",")).columns] == ["float"] * 3


def test_a_table_without_a_header(table):
    assert rewritten(table(b"1,x\n2,y\n"), ["1"], header=False) == b"1.0,x\n2.0,y\n"


@pytest.mark.parametrize(("data", "delimiter"), [
    (b"a;b\n1,5;2\n1,6;3\n", ";"),
    (b"a\tb c\n1\tx,y\n", "\t"),
    (b"a|b\n1|2\n", "|"),
    (b"a,b\n1,2;3\n", ","),
    (b'a;"b,c,d"\n1;2\n', ";"),
    (b"a\n1\n", ","),
])  # fmt: skip
def test_the_delimiter_is_found(table, data, delimiter):
    assert open_table(table(data), Reading()).dialect.delimiter.decode() == delimiter


def test_a_given_delimiter_is_checked():
    assert Reading(delimiter="tab").delimiter == "\t"
    for bad in ("", ";;", '"', "\n", "a", "."):
        with pytest.raises(ArgumentError, match="`delimiter` must be one character"):
            Reading(delimiter=bad)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_content_size=False).compress])
def test_compressed_tables(table, pack):
    data = b"a,b\n" + b"1.0,x\n" * 50_000
    half = len(data) // 2
    path = table(pack(data[:half]) + pack(data[half:]), "t.csv.packed")
    assert rewritten(path, ["a"], size=1000) == data
    with pytest.raises(FileError, match=r"t\.csv\.packed: its compressed data are damaged"):
        rewritten(table(pack(data)[:-7], "t.csv.packed"), ["a"])


def test_results_are_compressed_as_their_name_says(table):
    data = b"a,b\n" + b"1.0,x\n" * 5000
    assert gzip.decompress(rewritten(table(data), ["a"], name="o.csv.gz")) == data
    packed = rewritten(table(data), ["a"], name="o.csv.zst")
    assert zstandard.ZstdDecompressor().stream_reader(packed).read() == data
    assert rewritten(table(data), ["a"], name="o.csv.gz") == rewritten(table(data), ["a"], name="p.csv.gz")
    with pytest.raises(FileError, match="is text; its result stays text"):
        rewritten(table(data), ["a"], name="o.parquet")


def test_kinds_of_columns_and_their_choice(table):
    data = b'time,n,x,s,e,q\n2024-01-01,1,1.5,a,,"2"\n2024-01-02,2,3,,,"3"\n'
    found = open_table(table(data), Reading()).columns
    assert [column.kind for column in found] == ["text", "integer", "float", "text", "empty", "integer"]
    assert select(found, None, ["n"]) == ["x", "q"]
    assert select(found, ["q", "?"], []) == ["n", "x", "s", "e", "q"]
    assert select(found, ["dtype:numeric"], []) == ["n", "x", "q"]
    with pytest.raises(ArgumentError, match="unknown column 'tim': did you mean 'time'"):
        select(found, ["tim"], [])
    with pytest.raises(ArgumentError, match="unknown dtype 'flot': did you mean 'float'"):
        select(found, ["dtype:flot"], [])
    with pytest.raises(ArgumentError, match="no column here holds numbers"):
        select([Column("s", "text")], None, [])


@pytest.mark.parametrize(("cell", "columns"), [(b"c%d", 100_000), (b"x", 9_000), (b'"a,b"', 9_000)])
def test_a_row_of_a_table_may_have_very_many_columns(table, cell, columns):
    names = b",".join(b"column-%d" % n for n in range(columns))
    first = cell if b"%" not in cell else b"7"
    rows = [first + b"".join(b",%d.5" % (n + row) for n in range(1, columns)) for row in range(3)]
    data = names + b"\n" + b"\n".join(rows) + b"\n"
    path = table(data)
    assert len(select(open_table(path, Reading()).columns, None, [])) == columns - (first == cell)
    assert rewritten(path, ["column-[1-9]*"]) == data
    assert rewritten(path, ["column-7"], suffix="+").splitlines()[-1] == rows[-1] + b",9.5"


def test_kinds_are_those_of_the_first_rows_however_long_these_are(table):
    wide = b"," * 100_000  # three rows do not fit into what is read first
    path = table(
        b"a,b" + b"".join(b",column %d" % n for n in range(100_000)) + b"\n" + (b"1,x" + wide + b"\n") * 3
    )
    columns = open_table(path, Reading()).columns
    assert [column.kind for column in columns[:3]] == ["integer", "text", "empty"]


def test_an_unknown_column_of_very_many_does_not_name_them_all():
    columns = [Column(f"c{n}", "float") for n in range(1000)]
    with pytest.raises(ArgumentError, match=r"did you mean 'c999' .*c98, c99, … \(1000 in all\)$"):
        select(columns, ["c9999"], [])

import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topx import lines
from topx.errors import InputRejected, SettingsRejected
from topx.ratings import Ratings, Source, read, sources
from topx.settings import Columns, Data, load_run

ROWS = [("u1", "007", 5.0, 1000), ("u2", "7", 3.5, 2000), ("u1", "it's 5\" wide", 0.5, 3000)]
HEADS = {
    ",": "user_id,item_id,rating,timestamp",
    "\t": "userId\tmovieId\trating\ttimestamp",
    ";": "Customer ID;SKU;Score;Date",
    "|": "uid|product-id|stars|ts",
    "::": "user::item::rating::time",
}


def source(tmp_path: Path, text: str | bytes, name: str = "ratings.csv", *, given: bool = False) -> Source:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Source(name, path, given)


def rows(found: Ratings) -> list[tuple[object, ...]]:
    users, items = found.user_ids.to_pylist(), found.item_ids.to_pylist()
    levels = [] if found.levels is None else list(found.levels)
    times = [-1] * len(found.user) if found.time is None else (found.time // 1000).tolist()
    return [
        (users[u], items[i], levels[v] if v >= 0 else None, t)
        for u, i, v, t in zip(found.user, found.item, found.value, times, strict=True)
    ]


def aside(folder: Path) -> list[tuple[int, str, str]]:
    found = [
        json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text("utf-8").splitlines()
    ]
    return sorted((one["line"], one["reason"], one["text"]) for one in found)


def table(delimiter: str, *, header: bool) -> str:
    body = [delimiter.join([user, item, f"{value:g}", str(time)]) for user, item, value, time in ROWS]
    return "\n".join([HEADS[delimiter], *body] if header else body) + "\n"


def zstd(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as file:
        file.write(content)
    return packed.getvalue().to_pybytes()  # type: ignore[no-any-return]


PACKED = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "zstd twice": lambda text: zstd(text[:9]) + zstd(text[9:]),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("delimiter", list(HEADS))
def test_every_delimiter_header_and_compression_reads_the_same(
    tmp_path: Path, delimiter: str, header: bool, packed: str
) -> None:
    one = source(tmp_path, PACKED[packed](table(delimiter, header=header).encode()))
    found = read([one], Data(columns=Columns(time=3)))
    assert rows(found) == ROWS
    shown = {"\t": "tab"}.get(delimiter, f"`{delimiter}`")
    assert found.files[0].dialect.because.startswith(
        f"{shown} and {'a' if header else 'no'} header, because {3 + header} of the first {3 + header} lines "
    )


def test_columns_stand_where_the_settings_say(tmp_path: Path) -> None:
    one = source(tmp_path, "when,what,stars,who\n900000000,i,4,u\n")
    by_name = Data(columns=Columns(user="WHO", item="what", value="stars", time="when"))
    by_place = Data(columns=Columns(user=3, item=1, value=2, time=0), header=True)
    assert rows(read([one], by_name)) == rows(read([one], by_place)) == [("u", "i", 4.0, 900000000)]
    without = Data(columns=Columns(user=3, item=1, value="none", time="none"), header=True)
    assert rows(read([one], without)) == [("u", "i", None, -1)]


@pytest.mark.parametrize(
    "head",
    [
        "reviewerID,asin,overall,unixReviewTime",
        "user_id:token,item_id:token,rating:float,timestamp:float",
        "CustomerNo,StockCode,Quantity,InvoiceDate",
        "visitorid,itemid,event,timestamp",
    ],
)
def test_common_column_names_are_recognised(tmp_path: Path, head: str) -> None:
    dialect = read([source(tmp_path, f"{head}\na,b,1,900000000\nc,d,2,900000000\n")], Data()).files[0].dialect
    assert (dialect.user, dialect.item, dialect.value, dialect.time) == (0, 1, 2, 3)


def test_without_header_a_value_and_a_time_are_told_apart_by_their_look(tmp_path: Path) -> None:
    found = read([source(tmp_path, "a,b,Drama,881250949,4\nc,d,Comedy,881250950,5\n")], Data())
    assert rows(found) == [("a", "b", 4.0, 881250949), ("c", "d", 5.0, 881250950)]
    assert found.files[0].dialect.because.endswith("not used: column 2")


def test_ids_keep_zeros_and_lose_outer_blanks_and_unicode_forms(tmp_path: Path) -> None:
    found = read([source(tmp_path, "user,item\n 01 ,caf\u00e9\n01,cafe\u0301\n1,x\n")], Data())
    assert [row[:2] for row in rows(found)] == [("01", "café"), ("01", "café"), ("1", "x")]
    assert found.warnings == (
        "1 user ids were written with outer blanks or in another Unicode form than NFC; "
        "1 of them are the same as another id",
        "1 item ids were written with outer blanks or in another Unicode form than NFC; "
        "1 of them are the same as another id",
    )


def test_quoted_fields_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    text = 'user,item,rating\nu,"Alien, the ""8th""",4\nv,"two\nlines",5\nw,plain,3\nx,"un\n\nlike",x\n'
    found = read([source(tmp_path, text)], Data(max_quarantined_share=1), quarantine=tmp_path / "q")
    assert rows(found) == [
        ("u", 'Alien, the "8th"', 4.0, -1),
        ("v", "two\nlines", 5.0, -1),
        ("w", "plain", 3.0, -1),
    ]
    assert found.line.tolist() == [2, 3, 5]
    assert aside(tmp_path / "q") == [(6, "value", 'x,"un\n\nlike",x')]
    assert found.files[0].rows == 4


def test_each_kind_of_bad_row_goes_aside_with_its_line_and_reason(tmp_path: Path) -> None:
    bad = [
        (b"u,i", "columns", "u,i"),
        (b"u,i,4,1,1", "columns", "u,i,4,1,1"),
        (b"u\xff,i,4,1", "encoding", "u\\xff,i,4,1"),
        (b"u,i\0,4,1", "encoding", "u,i\0,4,1"),
        (b'u,"i,4,1', "quotes", 'u,"i,4,1'),
        (b'u,a"b,"4,1', "quotes", 'u,a"b,"4,1'),
        (b" ,i,4,1", "user", " ,i,4,1"),
        (b"u,,4,1", "item", "u,,4,1"),
        (b",,x,x", "user", ",,x,x"),
        (b"u,i,four,1", "value", "u,i,four,1"),
        (b"u,i,,1", "value", "u,i,,1"),
        (b"u,i,nan,1", "value", "u,i,nan,1"),
        (b"u,i,1e999,1", "value", "u,i,1e999,1"),
        (b"u,i,4,", "time", "u,i,4,"),
        (b"u,i,4,-5", "time", "u,i,4,-5"),
        (b"u,i,4,2021-02-30", "time", "u,i,4,2021-02-30"),
        (b"u,i,4,2101-01-01", "time", "u,i,4,2101-01-01"),
        (b"userId,movieId,rating,timestamp", "value", "userId,movieId,rating,timestamp"),
    ]
    text = b"\nuserId,movieId,rating,timestamp\n" + b"".join(b"v,j,5,2\n\n" + one + b"\n" for one, _, _ in bad)
    found = read([source(tmp_path, text)], Data(max_quarantined_share=0.6), quarantine=tmp_path / "q")
    assert aside(tmp_path / "q") == [(5 + 3 * at, reason, shown) for at, (_, reason, shown) in enumerate(bad)]
    assert rows(found) == [("v", "j", 5.0, 2)] * len(bad)
    assert found.line.tolist() == [3 + 3 * at for at in range(len(bad))]
    assert found.files[0].rows == 2 * len(bad)
    assert found.files[0].quarantine.examples["item"] == ["line 26: u,,4,1"]


def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    body = [f"u{n},i{n},{n % 5 + 1}" for n in range(50)]
    body[10], body[30] = 'u10,"open,1', 'u30,"open,2'
    found = read([source(tmp_path, "\n".join(body))], Data(), quarantine=tmp_path / "q")
    assert len(found.user) == 48
    assert aside(tmp_path / "q") == [(11, "quotes", 'u10,"open,1'), (31, "quotes", 'u30,"open,2')]


def test_a_quoted_field_never_takes_a_refused_line_along(tmp_path: Path) -> None:
    text = b"v,j,5\n" * 50 + b'u,"open,1\nu,\xff,3\nu,i\0,2\nu,i,4\nw,k",2\n'
    found = read([source(tmp_path, text)], Data(), quarantine=tmp_path / "q")
    assert [(line, reason) for line, reason, _ in aside(tmp_path / "q")] == [
        (51, "quotes"),
        (52, "encoding"),
        (53, "encoding"),
    ]
    assert found.files[0].rows == 55
    assert rows(found)[50:] == [("u", "i", 4.0, -1), ("w", 'k"', 2.0, -1)]


def test_control_characters_around_a_number_are_no_crash(tmp_path: Path) -> None:
    found = read([source(tmp_path, "a,b,\x1f4\n" + "c,d,5\n" * 50)], Data(), quarantine=tmp_path / "q")
    assert [row[:2] for row in aside(tmp_path / "q")] == [(1, "encoding")]
    assert len(found.user) == 50


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_byte_order_mark_and_blank_lines_do_not_matter(tmp_path: Path, end: str) -> None:
    text = "\ufeffuser,item,rating\nu,i,4\n\nv,j,5".replace("\n", end)
    found = read([source(tmp_path, text)], Data())
    assert rows(found) == [("u", "i", 4.0, -1), ("v", "j", 5.0, -1)]
    assert found.line.tolist() == [2, 4]


@pytest.mark.parametrize(
    "time",
    [
        "1609556645",
        "1609556645000",
        "1609556645000000",
        "1609556645000000000",
        "1609556645.0",
        " 1609556645 ",
        "2021-01-02 03:04:05",
        "2021-01-02T03:04:05.25",
        "2021-01-02T03:04:05Z",
        "2021-01-02 12:04:05+09:00",
    ],
)
def test_times_are_epochs_of_every_unit_and_iso_8601(tmp_path: Path, time: str) -> None:
    found = read([source(tmp_path, f"user,item,time\nu,i,{time}\nv,j,2021-01-02\n")], Data())
    assert [row[3] for row in rows(found)] == [1609556645, 1609545600]


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    found = read([source(tmp_path, "user;item;rating\nu;i;4,5\nv;j;.5\nw;k;+3\n")], Data())
    assert [row[2] for row in rows(found)] == [4.5, 0.5, 3.0]


def test_event_names_are_read_without_case_and_unknown_ones_are_named(tmp_path: Path) -> None:
    text = "user,item,event\nu,i,Bought\nu,j, seen\nu,k,stolen\nu,l,WISHED\n"
    found = read([source(tmp_path, text)], Data(max_quarantined_share=0.25), quarantine=tmp_path / "q")
    assert [row[2] for row in rows(found)] == ["bought", "seen", "wished"]
    assert aside(tmp_path / "q") == [(4, "event", "u,k,stolen")]
    with pytest.raises(
        InputRejected, match=r"event 1 \(data.strengths names no such event: `stolen` 1; line 4"
    ):
        read([source(tmp_path, text)], Data())


def test_a_file_that_changes_its_mind_behind_the_head_is_read_as_what_most_rows_are(tmp_path: Path) -> None:
    numbers = "".join(f"user{n},item{n},5\n" for n in range(20_000))
    events = "".join(f"user{n},item{n},bought\n" for n in range(60_000))
    data = Data(max_quarantined_share=0.5)
    found = read([source(tmp_path, f"user,item,value\n{numbers}{events}")], data, quarantine=tmp_path / "q")
    assert found.levels == ("bought",)
    assert found.files[0].quarantine.reasons == Counter(event=20_000)
    assert len(aside(tmp_path / "q")) == 20_000


def test_values_and_times_that_only_some_files_have(tmp_path: Path) -> None:
    full = source(tmp_path, "user,item,rating,time\nu,i,4,900000000\n", "a.csv")
    bare = source(tmp_path, "user,item\nv,j\n", "b.csv")
    found = read([full, bare], Data())
    assert rows(found) == [("u", "i", 4.0, -1), ("v", "j", None, -1)]
    assert found.warnings == (
        "no value in b.csv: each of its rows counts as positive",
        "no time in b.csv: the times of the other files are not used",
    )


def test_hidden_files_and_markers_are_left_out_by_name(tmp_path: Path) -> None:
    for name in ["a.csv", "sub/b.csv", ".hidden", "_SUCCESS", "_temporary/0/c.csv", "sub_$folder$"]:
        source(tmp_path, "", name)
    (tmp_path / "folder").mkdir()
    found, ignored = sources(tmp_path)
    assert [one.name for one in found] == ["a.csv", "sub/b.csv"]
    assert ignored == [".hidden", "_SUCCESS", "_temporary/0/c.csv", "sub_$folder$"]


def test_all_bad_files_are_named_at_once_each_with_what_to_do(tmp_path: Path) -> None:
    texts: dict[str, bytes] = {
        "binary.csv": bytes(range(256)),
        "blank.csv": b"\n\n",
        "book.xlsx": b"PK\x03\x04rest",
        "column.csv": b"a\nb\n",
        "empty.csv": b"",
        "names.csv": b"alpha,beta,gamma\nx,y,5\n",
        "wide.csv": "u,i\n".encode("utf-16-le"),
    }
    files = [source(tmp_path, text, name) for name, text in texts.items()]
    with pytest.raises(InputRejected) as caught:
        read([*files, Source("gone.csv", tmp_path / "gone.csv")], Data())
    message = str(caught.value)
    assert message.startswith("8 problems:\n- binary.csv: it is binary; upload text, one row")
    for part in [
        "blank.csv: it is empty; upload rows",
        "book.xlsx: it is a ZIP archive or spreadsheet; upload",
        "column.csv: it has one column (first line: `a`); a rating file needs a user and an item",
        "empty.csv: it is empty",
        "gone.csv: there is no such file",
        "names.csv: 2 problems:\n- no user column is recognised among alpha, beta, gamma; set data.columns.u",
        "wide.csv: it is binary; upload text",
    ]:
        assert part in message


WORDS = [("Zoë", "Café", 4.0, -1), ("Zoë", "naïve; \n", 5.0, -1), ("ß", "Café", 1.0, -1)]
KOREAN = [("김철수", "텐트", 4.0, -1), ("이영희", "텐트; \n", 5.0, -1)]


@pytest.mark.parametrize("packed", ["plain", "gzip"])
@pytest.mark.parametrize(
    ("encoding", "declared", "expected"),
    [
        ("latin-1", "latin-1", WORDS),
        ("cp949", "CP949", KOREAN),
        ("utf-16-le", "utf-16-le", KOREAN),
        ("utf-16", None, KOREAN),  # its byte order mark tells
        ("utf-16", "latin-1", WORDS),
        ("utf-8-sig", "cp949", KOREAN),
    ],
)
def test_an_encoding_is_declared_or_marked(
    tmp_path: Path, encoding: str, declared: str | None, expected: list[Any], packed: str
) -> None:
    lines = ["user;item;rating", *(f'{user};"{item}";{value:g}' for user, item, value, _ in expected)]
    text = ("\r\n".join(lines) + "\r\n").encode(encoding)
    found = read([source(tmp_path, PACKED[packed](text))], Data(encoding=declared))
    assert rows(found) == [(user, item.strip(), value, time) for user, item, value, time in expected]
    marked = {"utf-16": "utf-16, ", "utf-8-sig": ""}
    assert found.files[0].dialect.because.startswith(marked.get(encoding, f"{declared}, ") + "`;` and a header")


def test_a_row_that_is_not_of_the_declared_encoding_is_set_aside(tmp_path: Path) -> None:
    text = "".join(f"사용자{n},텐트{n},5\n" for n in range(40)).encode("cp949") + b"u\xff,i,5\n"
    one = source(tmp_path, text)
    found = read([one], Data(encoding="cp949"), quarantine=tmp_path / "bad")
    assert found.files[0].rows == 41
    assert len(found.line) == 40
    assert aside(tmp_path / "bad") == [(41, "encoding", "u\\xff,i,5")]
    with pytest.raises(InputRejected, match=r"its bytes are not utf-16-le .*set data\.encoding"):
        read(
            [source(tmp_path, "u,i,5\n".encode("utf-16-le") + b"\0\xd8", "odd.csv")], Data(encoding="utf-16-le")
        )


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "undefined", ""])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(SettingsRejected, match=r"data\.encoding is .*choose one that Python knows"):
        load_run({"data": {"encoding": encoding}})


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_packed_file_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path, kind: str) -> None:
    whole = PACKED[kind]("".join(f"u{n},i{n * n},5\n" for n in range(200_000)).encode())
    for size in (12, len(whole) // 2, len(whole) - 1):
        one = source(tmp_path, whole[:size], "cut.csv")
        with pytest.raises(InputRejected, match=f"cut.csv: the {kind} data is damaged"):
            read([one], Data())


def test_damaged_gzip_and_files_without_a_good_row_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"u{n},i{n * n},5\n" for n in range(200_000)).encode())
    files = [
        source(tmp_path, whole[: len(whole) // 2], "cut.csv.gz"),
        source(tmp_path, whole[:-100] + bytes(100), "noise.csv.gz"),
    ]
    with pytest.raises(InputRejected) as caught:
        read(files, Data())
    assert str(caught.value).startswith(
        "2 problems:\n- cut.csv.gz: the gzip data is damaged (Compressed file ended"
    )
    with pytest.raises(InputRejected) as caught:
        read(
            [
                source(tmp_path, "user,item,rating\n", "head.csv"),
                source(tmp_path, "user,item,rating\nu,i,bad\n", "bad.csv"),
                source(tmp_path, "user,item,rating\n" + "u,i,4\n" * 10, "good.csv"),
            ],
            Data(),
        )
    assert str(caught.value) == (
        "2 problems:\n- head.csv: it holds a header and no rows; upload rows or delete it\n"
        "- bad.csv: none of its 1 rows can be used: value 1 (the value is no number: `bad` 1; line 2: u,i,bad)"
    )


def test_too_many_bad_rows_stop_the_run_with_counts_and_examples(tmp_path: Path) -> None:
    text = "u,i,4\n" * 7 + "u,,4\n" * 2 + "u,i\n"
    with pytest.raises(InputRejected) as caught:
        read([source(tmp_path, text)], Data())
    assert str(caught.value) == (
        "3 of 10 rows cannot be used, more than data.max_quarantined_share, 0.2, allows; ratings.csv: "
        "item 2 (no item; line 8: u,,4); "
        "columns 1 (the row has another number of columns than the file; line 10: u,i)"
    )
    assert len(read([source(tmp_path, text)], Data(max_quarantined_share=0.3)).user) == 7


def test_settings_that_do_not_fit_the_file_are_named(tmp_path: Path) -> None:
    one = source(tmp_path, "user,item\nu,i\n")
    with pytest.raises(
        InputRejected, match=r"data.columns.value is 'stars', but the file has 2 columns \(user, item\)"
    ):
        read([one], Data(columns=Columns(value="stars")))
    with pytest.raises(InputRejected, match=r"data.columns gives user and item the same column, 1; choose"):
        read([one], Data(columns=Columns(user=1, item=1)))


@settings(deadline=None, max_examples=40)
@given(
    cells=st.lists(
        st.tuples(*[st.sampled_from(["u", "ü", '"q"', "a,b", "1", " x"])] * 2, st.integers(1, 5)), min_size=3
    ),
    order=st.randoms(use_true_random=False),
    delimiter=st.sampled_from(["\t", ";", "|"]),
    cut=st.integers(1, 2),
    packed=st.sampled_from(list(PACKED)),
)
def test_order_cut_compression_and_delimiter_of_rows_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[tuple[str, str, int]],
    order: object,
    delimiter: str,
    cut: int,
    packed: str,
) -> None:
    def files(some: list[tuple[str, str, int]], mark: str, parts: int) -> list[Source]:
        folder = tmp_path_factory.mktemp("files")
        found = []
        for part in range(parts):
            body = [
                mark.join(['"' + cell.replace('"', '""') + '"' for cell in (u, i)] + [str(v)])
                for u, i, v in some[part::parts]
            ]
            text = "\n".join([mark.join(["user", "item", "rating"]), *body]).encode()
            found.append(source(folder, PACKED[packed](text) if part else text, f"{part}.csv"))
        return found

    mixed = list(cells)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = read(files(cells, ",", 1), Data()), read(files(mixed, delimiter, cut), Data())
    assert one.user_ids.equals(other.user_ids)
    assert one.item_ids.equals(other.item_ids)
    assert (
        Counter(rows(one))
        == Counter(rows(other))
        == Counter((u.strip(), i.strip(), float(v), -1) for u, i, v in cells)
    )


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(alphabet='u1,"\n\r\0é5x ', max_size=80).map(lambda text: text.encode())
    | st.binary(max_size=40),
    block=st.integers(20, 200),
)
def test_no_row_is_lost_whatever_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, block: int
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    data = Data(
        delimiter=",",
        header=False,
        columns=Columns(user=0, item=1, value=2, time="none"),
        max_quarantined_share=1,
    )
    good = b"u,i,5\n" * 200  # so that there is a good row, three columns, and nothing taken for binary
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        found = read([source(folder, good + text)], data, quarantine=folder / "q")
    bad = aside(folder / "q")
    assert found.files[0].rows == len(found.user) + len(bad)
    ended = (good + text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    physical = [one.removeprefix(b"\xef\xbb\xbf") for one in ended]
    for line, _, shown in bad:
        assert shown.split("\n")[0] == physical[line - 1].decode("utf-8", "backslashreplace")
    if b'"' not in text:
        assert found.files[0].rows == sum(bool(one) for one in physical)
        assert sorted([*found.line.tolist(), *(line for line, _, _ in bad)]) == [
            number for number, one in enumerate(physical, 1) if one
        ]


@settings(deadline=None)
@given(text=st.text(alphabet='ab,"\n\r', max_size=60), block=st.integers(1, 9))
def test_blocks_are_whole_lines_and_together_the_file(text: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        parts = list(lines.blocks(io.BytesIO(text.encode())))
    whole = text.replace("\r\n", "\n").replace("\r", "\n")
    assert b"".join(parts).decode() == whole + ("\n" if whole and not whole.endswith("\n") else "")
    assert all(part.endswith(b"\n") for part in parts)


def test_many_rows_keep_their_own_ids(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    u, i = random.integers(0, 50_000, 300_000), random.integers(0, 5_000, 300_000)
    text = "\n".join(
        f"user-{a:06d},sku-{b:05d},{a % 5 + 1}" for a, b in zip(u.tolist(), i.tolist(), strict=True)
    )
    found = read([source(tmp_path, text)], Data())
    assert len(found.user) == 300_000
    assert found.user_ids[int(found.user[-1])].as_py() == f"user-{u[-1]:06d}"
    assert found.user_ids.to_pylist() == sorted({f"user-{a:06d}" for a in u.tolist()})

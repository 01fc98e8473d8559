"""Every kind of input of the table "where v1 fails", given to the programs as a user would."""

import bz2
import gzip
import lzma
from pathlib import Path

import pandas as pd
import pytest
from backports import zstd
from helpers import error_line, run_program, write_fasta

from virnucflow.cli import InputError
from virnucflow.fasta import BGZF_END, read_fasta

TWO = b">one first\nGCCGCCGCAGCC\nGCCGCC\n>two\nGCCGCAGCAGCC\n"
HALVES = (TWO[:20], TWO[20:])


def split(tmp_path: Path, content: bytes, *options: str, code: int = 0, name: str = "in.fa") -> str:
    fasta = tmp_path / name
    fasta.write_bytes(content)
    outputs = ["--chunks", tmp_path / "out" / "chunks.fa", "--sequences", tmp_path / "out" / "sequences.tsv"]
    said = run_program("split_fasta", "--fasta", fasta, "--chunk-length", 500, *outputs, *options, code=code)
    if code:
        assert not list(tmp_path.glob("out/*")), "something was left half-written"
        return error_line(said).replace(str(tmp_path) + "/", "")
    return said


def sequences(tmp_path: Path) -> list[list[str]]:
    table = (tmp_path / "out" / "sequences.tsv").read_text()
    assert table.splitlines()[0] == "sequence_id\tlength\tchunks\tstatus"
    return [line.split("\t") for line in table.splitlines()[1:]]


def bgzip(*blocks: bytes, end: bytes = BGZF_END) -> bytes:
    """Blocks as bgzip writes them: gzip members that state their size in an extra field."""
    members = b""
    for block in blocks:
        member = gzip.compress(block)
        size = (len(member) + 8 - 1).to_bytes(2, "little")
        members += member[:3] + b"\4" + member[4:10] + b"\6\0BC\2\0" + size + member[10:]
    return members + end


def damaged(codec) -> bytes:
    """Two streams with one bit of the second's first byte turned."""
    second = codec.compress(HALVES[1])
    return codec.compress(HALVES[0]) + bytes([second[0] ^ 1]) + second[1:]


READABLE = {
    "plain": TWO,
    "gzip": gzip.compress(TWO),
    "bgzip, several members and an empty one": b"".join(map(gzip.compress, (*HALVES, b""))),
    "bgzip with its last block": bgzip(*HALVES),
    "bzip2": bz2.compress(TWO),
    "bzip2, several streams": b"".join(map(bz2.compress, HALVES)),
    "xz": lzma.compress(TWO),
    "xz, several streams and padding": b"\0\0\0\0".join(map(lzma.compress, HALVES)) + bytes(8),
    "xz, much padding": bytes(1 << 21).join(map(lzma.compress, HALVES)),
    "zstd": zstd.compress(TWO),
    "zstd, several frames": b"".join(map(zstd.compress, HALVES)),
    "byte-order mark": b"\xef\xbb\xbf" + TWO,
    "byte-order mark in gzip": gzip.compress(b"\xef\xbb\xbf" + TWO),
    "CRLF": TWO.replace(b"\n", b"\r\n"),
    "CR": TWO.replace(b"\n", b"\r"),
    "blank lines": b"\n  \n" + TWO.replace(b"\n", b"\n\n"),
    "no final newline": TWO.rstrip(),
    "blanks in the sequence": TWO.replace(b"GCAG", b" GC\tAG "),
}


@pytest.mark.parametrize("kind", READABLE)
def test_readable(kind: str, tmp_path: Path) -> None:
    split(tmp_path, READABLE[kind])
    assert sequences(tmp_path) == [["one", "18", "1", "ok"], ["two", "12", "1", "ok"]]
    chunks = (tmp_path / "out" / "chunks.fa").read_bytes()
    assert chunks == b">one_chunk_1\nGCCGCCGCAGCCGCCGCC\n>two_chunk_1\nGCCGCAGCAGCC\n"


REFUSED = {
    "text before the first header": (b"hello\n>x\nACGT\n", "in.fa, line 1: text before the first header: 'hello'"),
    "text after blank lines": (b"\n\nACGT\n", "in.fa, line 3: text before the first header"),
    "FASTQ": (b"@r1\nACGT\n+\nIIII\n", "in.fa, line 1: this looks like FASTQ; convert it"),
    "binary": (bytes(range(256)), "in.fa, line 1: not a FASTA file but binary data"),
    "zip": (b"PK\x03\x04" + bytes(50), "in.fa, line 1: not a FASTA file but binary data"),
    "UTF-16": (">x\nACGT\n".encode("utf-16"), "in.fa, line 1: not a FASTA file but binary data"),
    "protein": (b">x\nACGT\n>p\nMKVLEE\n", "in.fa, line 4: 'L' is not a nucleotide"),
    "digits": (b">x\nACGT\nAC1GT\n", "in.fa, line 3: '1' is not a nucleotide"),
    "a NUL": (b">x\nAC\0GT\n", "in.fa, line 2: '\\x00' is not a nucleotide"),
    "an umlaut": (">x\nACÄGT\n".encode(), "in.fa, line 2: "),
    "a header in Latin-1": (b">x\nACGT\n>caf\xe9\nACGT\n", "in.fa, line 3: the header is not UTF-8; convert"),
    "a control character in the header": (b">x\x07y\nACGT\n", "in.fa, line 1: a control character in the header"),
    "a cut gzip file": (gzip.compress(TWO * 100)[:-20], "in.fa: the compressed file is cut or damaged"),
    "a damaged gzip file": (gzip.compress(TWO)[:12] + b"\xff" * 20, "in.fa: the compressed file is cut or damaged"),
    "a cut bzip2 file": (bz2.compress(TWO)[:-9], "in.fa: the compressed file is cut or damaged"),
    "a cut xz file": (lzma.compress(TWO)[:-9], "in.fa: the compressed file is cut or damaged"),
    "a damaged zstd file": (zstd.compress(TWO)[:8] + b"\xff" * 20, "in.fa: the compressed file is cut or damaged"),
    "a cut zstd file": (zstd.compress(TWO)[:-9], "in.fa: the compressed file is cut or damaged"),
    "bzip2 with a damaged second stream": (damaged(bz2), "in.fa: the compressed file is cut or damaged"),
    "xz with a damaged second stream": (damaged(lzma), "in.fa: the compressed file is cut or damaged"),
    "bzip2 with something behind": (bz2.compress(TWO) + b"more", "in.fa: the compressed file is cut or damaged"),
    "bgzip cut between blocks": (
        bgzip(HALVES[0], end=b""),
        "in.fa: the compressed file is cut or damaged (it ends bef",
    ),
    "a comment line that looks like a header": (b">a\nACGT\n;x>y\n", "in.fa, line 3: ';' is not a nucleotide"),
    "a comment line with a control character": (b">a\nACGT\n;\x01\n", "in.fa, line 3: ';' is not a nucleotide"),
    "duplicate names": (
        b">a\nACGT\n>b\nACGT\n>a other\nACGT\n>b\nAC\n>a\nAC\n",
        "duplicate sequence names: 'a' in in.fa line 1, in.fa line 5, in.fa line 9; 'b' in in.fa line 3, in.fa line 7; "
        "rename them or use duplicate_ids: rename",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    content, message = REFUSED[kind]
    assert message in split(tmp_path, content, code=2)


def test_missing_file_and_bad_arguments(tmp_path: Path) -> None:
    outputs = ["--chunks", tmp_path / "c.fa", "--sequences", tmp_path / "s.tsv"]
    missing = ["--fasta", tmp_path / "nowhere.fa", "--chunk-length", 500, *outputs]
    assert "nowhere.fa: no such file" in error_line(run_program("split_fasta", *missing, code=2))
    assert "--chunk-length 0" in run_program("split_fasta", "--fasta", __file__, "--chunk-length", 0, *outputs, code=2)
    assert "not a regular file" in error_line(
        run_program("split_fasta", "--fasta", "/dev/null", "--chunk-length", 500, *outputs, code=2)
    )


def test_duplicates_are_renamed_and_reported(tmp_path: Path) -> None:
    content = b">a\nACGT\n>a_2\nACGTA\n>a\nACGTAC\n>a\nACGTACG\n>\nACG\n>\nACG\n"
    said = split(tmp_path, content, "--duplicate-ids", "rename")
    assert [row[0] for row in sequences(tmp_path)] == ["a", "a_2", "a_3", "a_4", "", "_2"]
    assert "in.fa, line 5: duplicate name 'a' is renamed to 'a_3'" in said
    assert "in.fa, line 7: duplicate name 'a' is renamed to 'a_4'" in said
    chunks = (tmp_path / "out" / "chunks.fa").read_text()
    assert ">a_3_chunk_1\nACGTAC\n" in chunks and ">a_4_chunk_1\nACGTACG\n" in chunks


def test_comment_line_is_sequence_as_in_v1_but_not_silently(tmp_path: Path) -> None:
    said = split(tmp_path, b">r1\n;comment\nGCC\n;more\n")
    assert "in.fa, line 2: a line that begins with ';' is read as sequence" in said
    assert said.count("is read as sequence") == 1, "once a file is enough"
    assert sequences(tmp_path) == [["r1", "16", "1", "ok"]]


def test_rna_is_read_but_not_silently(tmp_path: Path) -> None:
    said = split(tmp_path, b">r1\nGCU\n>r2\nGCT\n>r3\nacu\n")
    assert "in.fa: U in 2 sequences; a codon with U gives no residue: replace U by T" in said


def test_input_is_never_written_over(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {"a": "ACGT"})
    arguments = ["--fasta", fasta, "--chunk-length", 500, "--chunks", fasta, "--sequences", tmp_path / "s.tsv"]
    assert "also named as an output" in error_line(run_program("split_fasta", *arguments, code=2))
    assert fasta.read_text() == ">a\nACGT\n"


@pytest.mark.parametrize("content", [b"", b"\n\n \n", gzip.compress(b"")], ids=["empty", "blank", "empty gzip"])
def test_empty_file(content: bytes, tmp_path: Path) -> None:
    split(tmp_path, content)
    assert sequences(tmp_path) == []
    assert (tmp_path / "out" / "chunks.fa").read_bytes() == b""


def test_records_without_sequence_are_listed(tmp_path: Path) -> None:
    split(tmp_path, b">e1\nACGT\n>e2\n>e3\n\n>e4\nAC\n>e5")
    assert [(row[0], row[3]) for row in sequences(tmp_path)] == [
        ("e1", "ok"), ("e2", "empty"), ("e3", "empty"), ("e4", "ok"), ("e5", "empty"),
    ]  # fmt: skip


def test_names_that_look_like_chunks_and_frames_keep_their_identity(tmp_path: Path) -> None:
    names = ["aF1", "a_chunk_1", "a_chunk_1F1", "_chunk_", "x_chunk__chunk_7", "a"]
    write_fasta(tmp_path / "in.fa", dict.fromkeys(names, "GCCGCCGCAGCC"))
    split(tmp_path, (tmp_path / "in.fa").read_bytes())
    frames = tmp_path / "frames.parquet"
    run_program("translate_frames", "--chunks", tmp_path / "out" / "chunks.fa", "--frames", frames)
    table = pd.read_parquet(frames)
    assert list(table["sequence_id"].unique()) == names
    assert set(table["chunk"]) == {1}
    assert (table["name"] == table["sequence_id"] + "_chunk_1" + table["frame"]).all()


def test_chunks_of_something_else_are_refused(tmp_path: Path) -> None:
    chunks = write_fasta(tmp_path / "chunks.fa", {"a_chunk_1": "ACGT", "b": "ACGT"})
    said = run_program("translate_frames", "--chunks", chunks, "--frames", tmp_path / "f.parquet", code=2)
    assert "chunks.fa, line 3: 'b' is not the name of a chunk" in error_line(said)
    assert not (tmp_path / "f.parquet").exists()


def test_several_files_are_one_list(tmp_path: Path) -> None:
    files = [tmp_path / "a.fa", tmp_path / "b.fa.xz", tmp_path / "c"]
    files[0].write_bytes(b">a\nACGT")
    files[1].write_bytes(lzma.compress(b">b\nACGT\n"))
    files[2].write_bytes(gzip.compress(b">c\nACGT\n>a\nAC"))
    outputs = ["--chunks", tmp_path / "c.fa", "--sequences", tmp_path / "s.tsv"]
    said = run_program("split_fasta", "--fasta", *files, "--chunk-length", 500, *outputs, code=2)
    assert f"'a' in {files[0]} line 1, {files[2]} line 3" in error_line(said)


@pytest.mark.parametrize("shards", [1, 3, 17, 200])
def test_shards_are_contiguous_slices_of_about_equal_bases(shards: int, tmp_path: Path) -> None:
    write_fasta(tmp_path / "in.fa", {f"s{i}": "ACGTT" * (i * 37 % 300) for i in range(60)})
    files = [tmp_path / f"{shard:03}.fa" for shard in range(shards)]
    whole, table = tmp_path / "whole.fa", tmp_path / "s.tsv"
    for outputs in ([whole], files):
        run_program(
            "split_fasta",
            "--fasta",
            tmp_path / "in.fa",
            "--chunk-length",
            500,
            "--chunks",
            *outputs,
            "--sequences",
            table,
        )
    assert b"".join(file.read_bytes() for file in files) == whole.read_bytes()
    bases = [sum(len(record.sequence) for record in read_fasta(file)) for file in files]
    assert max(abs(number - sum(bases) / shards) for number in bases) <= 500


def test_utf8_names_that_end_in_bytes_that_latin1_calls_blank(tmp_path: Path) -> None:
    path = tmp_path / "in.fa"
    path.write_text(">voilà\nACGT\n>x nommé là\nAC\n", encoding="utf-8")
    records = list(read_fasta(path))
    assert [(record.name, record.header) for record in records] == [("voilà", "voilà"), ("x", "x nommé là")]


def test_errors_name_the_line_in_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "in.fa"
    path.write_text(">x\n" + "ACGT\n" * 5000 + "ACXGT\n")
    with pytest.raises(InputError, match="line 5002: 'X' is not a nucleotide"):
        list(read_fasta(path))

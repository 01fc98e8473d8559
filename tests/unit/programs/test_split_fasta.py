"""Every kind of input of the table "where v1 fails", given to the programs as a user would."""

import bz2
import gzip
import lzma
import re
from pathlib import Path

import pandas as pd
import pytest
from backports import zstd
from helpers import error_line, run_program, with_digest, write_fasta

from translate_frames import translate
from virnucflow.cli import InputError
from virnucflow.files.tables import read_provenance, read_sequences
from virnucflow.sequences.chunk_files import digest_path, read_chunks
from virnucflow.sequences.compressed import BGZF_END
from virnucflow.sequences.fasta import read_fasta

TWO = b">one first\nGCCGCCGCAGCC\nGCCGCC\n>two\nGCCGCAGCAGCC\n"
HALVES = (TWO[:20], TWO[20:])


def split(tmp_path: Path, content: bytes, *options: str, code: int = 0, name: str = "in.fa") -> str:
    fasta = tmp_path / name
    fasta.write_bytes(content)
    outputs = ["--chunks", tmp_path / "out" / "chunks.fa", "--sequences", tmp_path / "out" / "sequences.parquet"]
    said = run_program("split_fasta", "--fasta", fasta, "--chunk-length", 500, *outputs, *options, code=code)
    if code:
        assert not list(tmp_path.glob("out/*")), "something was left half-written"
        return error_line(said).replace(str(tmp_path) + "/", "")
    return said


def sequences(tmp_path: Path) -> list[tuple]:
    table = read_sequences(tmp_path / "out" / "sequences.parquet")
    return list(table[["sequence_id", "length", "chunks"]].itertuples(index=False, name=None))


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
    assert sequences(tmp_path) == [("one", 18, 1), ("two", 12, 1)]
    chunks = (tmp_path / "out" / "chunks.fa").read_bytes()
    assert chunks == b">one_chunk_1\nGCCGCCGCAGCCGCCGCC\n>two_chunk_1\nGCCGCAGCAGCC\n"


REFUSED = {
    "text before the first header": (b"hello\n>x\nACGT\n", "in.fa, line 1: text before the first header: 'hello'"),
    "text after blank lines": (b"\n\nACGT\n", "in.fa, line 3: text before the first header"),
    "FASTQ": (b"@r1\nACGT\n+\nIIII\n", "in.fa, line 1: this looks like FASTQ; give it in the column reads"),
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
    said = split(tmp_path, b">r1\n;comment\nGCC\n ;mo re\n")
    assert "in.fa, line 2: a line that begins with ';' is read as sequence" in said
    assert said.count("is read as sequence") == 1, "once a file is enough"
    assert sequences(tmp_path) == [("r1", 16, 1)]


RNA = b">r1\nGCUAAUaau\n>r2\nGCT\n>r3\nacu\n"


@pytest.mark.parametrize(
    ("rna", "chunks", "said"),
    [
        ("as_dna", b">r1_chunk_1\nGCTAATaat\n>r2_chunk_1\nGCT\n>r3_chunk_1\nact\n", "U was read as T in 2 sequences"),
        ("keep", b">r1_chunk_1\nGCUAAUaau\n>r2_chunk_1\nGCT\n>r3_chunk_1\nacu\n", "U was kept in 2 sequences, where"),
    ],
)
def test_rna_is_read_as_dna_or_kept_and_counted(rna: str, chunks: bytes, said: str, tmp_path: Path) -> None:
    assert said in split(tmp_path, RNA, "--rna", rna).splitlines()[-1]
    assert (tmp_path / "out" / "chunks.fa").read_bytes() == chunks
    table = read_sequences(tmp_path / "out" / "sequences.parquet")
    assert list(table["uracils"]) == [3, 0, 1]
    provenance = read_provenance(tmp_path / "out" / "sequences.parquet")
    assert (provenance["rna"], provenance["records"], provenance["rna_records"]) == (rna, 3, 2)


def test_u_is_read_as_t_unless_the_user_wants_otherwise(tmp_path: Path) -> None:
    split(tmp_path, RNA)
    assert (tmp_path / "out" / "chunks.fa").read_bytes().startswith(b">r1_chunk_1\nGCTAATaat\n")
    assert "U was" not in split(tmp_path, TWO)


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
    assert sequences(tmp_path) == [("e1", 4, 1), ("e2", 0, 0), ("e3", 0, 0), ("e4", 2, 1), ("e5", 0, 0)]


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


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("b", "'b' is not the name of a chunk"),
        ("_chunk_", "'_chunk_' is not the name of a chunk"),
        ("b_chunk_0", "'b_chunk_0' is not the name of a chunk"),
        ("b_chunk_01", "'b_chunk_01' is not the name of a chunk"),
        ("b_chunk_\u0661", "is not the name of a chunk"),
        ("b_chunk_2147483648", "'b_chunk_2147483648' is not the name of a chunk"),
        ("b_chunk_" + "1" * 5000, "is not the name of a chunk"),
        ("b_chunk_1\nAC\u00ff", "not a sequence"),
    ],
)
def test_chunks_of_something_else_are_refused(record: str, message: str, tmp_path: Path) -> None:
    """Though their digest is right."""
    chunks = tmp_path / "chunks.fa"
    chunks.write_text(f">a_chunk_1\nACGT\n>{record}\nACGT\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"chunks\.fa, line 3: .*{re.escape(message)}; make chunks with split_fasta"):
        list(translate(with_digest(chunks)))
    said = run_program("translate_frames", "--chunks", chunks, "--frames", tmp_path / "f.parquet", code=2)
    assert "chunks.fa, line 3: " in error_line(said) and not (tmp_path / "f.parquet").exists()


def test_damaged_chunks_are_refused(tmp_path: Path) -> None:
    """Of 400 damaged files of chunks, 236 once gave other frames with exit code 0."""
    chunks, frames = tmp_path / "out" / "chunks.fa", tmp_path / "f.parquet"
    split(tmp_path, b">one first\nGCCGCCGCAGCCGCCGCC\n>two\nGCCGCAGCAGCC\n")
    content, digest = chunks.read_bytes(), digest_path(chunks).read_bytes()
    names = [name for part in read_chunks(chunks) for name in part.names.to_pylist()]
    assert names == ["one_chunk_1", "two_chunk_1"]
    damaged = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
    damaged += [content[:i] for i in range(len(content))] + [content + b"\n", content * 2]
    for other in damaged:
        chunks.write_bytes(other)
        with pytest.raises(
            InputError, match=r"chunks\.fa: damaged: not what chunks\.fa\.xxh3 beside it says; make both"
        ):
            list(read_chunks(chunks))
    said = run_program("translate_frames", "--chunks", chunks, "--frames", frames, code=2)
    assert f"{chunks}: damaged: not what chunks.fa.xxh3" in error_line(said) and not frames.exists()
    chunks.write_bytes(content)
    for other in (b"", digest[:-1], digest[:5] + bytes([digest[5] ^ 1]) + digest[6:], bytes(100)):
        digest_path(chunks).write_bytes(other)
        with pytest.raises(InputError, match=r"chunks\.fa: damaged: not what"):
            list(read_chunks(chunks))
    digest_path(chunks).unlink()
    with pytest.raises(InputError, match=r"chunks\.fa: no digest beside it \(chunks\.fa\.xxh3\); make both again with"):
        list(read_chunks(chunks))


def test_many_duplicates_are_told_in_a_short_line(tmp_path: Path) -> None:
    said = split(tmp_path, b"".join(b">contig %d\nA\n" % number for number in range(3000)), code=2)
    assert "'contig' in in.fa line 1, in.fa line 3, in.fa line 5, in.fa line 7, in.fa line 9, and 2,995 more; " in said
    assert said.endswith("rename them or use duplicate_ids: rename (names end at the first blank)")
    names = [b">%s%d\nA\n" % (b"n" * 2000, number % 700) for number in range(1500)]
    said = split(tmp_path, b"".join(names), code=2)
    assert len(said) < 1100 and said.endswith("and 1,490 more, of 700 names; rename them or use duplicate_ids: rename")


def test_of_many_renamed_records_a_thousand_are_told(tmp_path: Path) -> None:
    said = split(tmp_path, b">a\nA\n" * 1101, "--duplicate-ids", "rename")
    assert said.count("is renamed to") == 1000 and "100 more duplicate names are renamed" in said
    assert [row[0] for row in sequences(tmp_path)][-1] == "a_1101"


REQUIRED = {
    "split_fasta": ["--fasta", "x", "--chunk-length", "5", "--chunks", "x", "--sequences", "x"],
    "translate_frames": ["--chunks", "x", "--frames", "x"],
    "list_proteins": ["--fasta", "x", "--sequences", "x", "--proteins", "x"],
    "cluster_sequences": ["--fasta", "x", "--sequences", "x", "--labels", "x", "--clusters", "x"],
}


@pytest.mark.parametrize(
    ("program", "option"),
    [
        ("split_fasta", "--dup"),
        ("translate_frames", "--chunk"),
        ("list_proteins", "--prot"),
        ("cluster_sequences", "--c"),
    ],
)
def test_an_option_has_its_whole_name(program: str, option: str) -> None:
    """A file of the name `--dup=rename` was once taken for an option."""
    assert f"unrecognized arguments: {option}=rename" in run_program(
        program, *REQUIRED[program], f"{option}=rename", code=2
    )


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

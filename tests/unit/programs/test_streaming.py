"""Whatever is given to split_fasta, its memory is bounded, and what cannot be a sequence is refused without reading on.

The bombs have one stream of a compressor many times: kilobytes that become one line of many gigabytes.
"""

import bz2
import gzip
import hashlib
import lzma
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from backports import zstd
from helpers import SCRIPTS, error_line, run_program
from xxhash import xxh3_128_hexdigest

import split_fasta
from virnucflow.files.tables import read_provenance, read_sequences
from virnucflow.sequences import batches, cutter, fasta, names
from virnucflow.sequences.chunks import chunk_coordinates, chunk_name, chunk_totals
from virnucflow.sequences.fasta import read_fasta
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.names import Names
from virnucflow.sequences.records import records_of

MEGABYTE = 1 << 20
MOST_MEMORY = 500 * MEGABYTE
CODECS = {"gz": gzip, "bz2": bz2, "xz": lzma, "zst": zstd}


# A process counts the memory of the one that started it as its own, so a small one starts it.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def measured(fasta: Path, out: Path, *options: str) -> tuple[int, str, int]:
    """Split a file; exit code, what was said, and the most memory that was resident, in bytes."""
    arguments = ["--fasta", fasta, "--chunk-length", "500", "--chunks", out / "c.fa", "--sequences", out / "s.parquet"]
    command = [sys.executable, "-c", MEASURE, sys.executable, SCRIPTS / "split_fasta.py", *arguments, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.returncode, done.stderr, int(done.stdout) * 1024


def bomb(path: Path, codec: ModuleType, start: bytes, filling: bytes, megabytes: int, end: bytes = b"") -> Path:
    """A file of `start`, `filling` so many times that it is of this size, and `end`."""
    size = 4 if codec is bz2 else 50  # bzip2 is slow
    stream = codec.compress(filling * (size * MEGABYTE // len(filling)))
    with path.open("wb") as file:
        file.write(codec.compress(start))
        for _ in range(megabytes // size):
            file.write(stream)
        file.write(codec.compress(end))
    return path


@pytest.mark.parametrize("name", CODECS)
def test_a_line_of_many_bases_goes_by_in_pieces(name: str, tmp_path: Path) -> None:
    path = bomb(tmp_path / "in", CODECS[name], b">x\n", b"A", 700, b"!")
    code, said, memory = measured(path, tmp_path / "out")
    assert code == 2 and "in, line 2: '!' is not a nucleotide" in error_line(said)
    assert memory < MOST_MEMORY and not list(tmp_path.glob("out/*"))


def test_a_sequence_of_one_line_is_split_in_bounded_memory(tmp_path: Path) -> None:
    code, said, memory = measured(bomb(tmp_path / "in", zstd, b">x\n", b"ACGTACGTAC", 700), tmp_path / "out")
    assert code == 0 and memory < MOST_MEMORY, said
    first = next(iter((tmp_path / "out" / "c.fa").open()))
    assert first == ">x_chunk_1\n" and (tmp_path / "out" / "c.fa").stat().st_size > 700 * MEGABYTE


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    ("start", "filling", "message"),
    [
        (b">x\n", b"\0", "in, line 2: '\\x00' is not a nucleotide"),
        (b"", b"\0", "in, line 1: not a FASTA file but binary data"),
        (b"", b"hello ", "in, line 1: text before the first header: 'hello hello"),
        (b">", b"x", "in, line 1: the header is longer than 1,000,000 bytes; shorten it"),
        (b">x\nACGT\n>", b"x y", "in, line 3: the header is longer than 1,000,000 bytes; shorten it"),
        (b"LOCUS       ", b"x", "in, line 1: longer than 1,048,576 bytes; restore the file"),
        (b">x\nACGT\n;", b"x>", "in, line 3: ';' is not a nucleotide"),
    ],
)
def test_a_line_that_is_no_sequence_is_refused_at_once(
    start: bytes, filling: bytes, message: str, name: str, tmp_path: Path
) -> None:
    """Reading all of the 200 GB (bzip2: 16) would take longer than any test may."""
    path = bomb(tmp_path / "in", CODECS[name], start, filling, 16_000 if name == "bz2" else 200_000)
    code, said, memory = measured(path, tmp_path / "out")
    assert code == 2 and message in error_line(said)
    assert memory < MOST_MEMORY


def test_a_record_costs_no_more_than_16_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of what Python and NumPy allocate. What is held until there is enough to be written is made little."""
    monkeypatch.setattr(split_fasta, "ROWS", 1000)
    monkeypatch.setattr(cutter, "BLOCK", 1000)
    monkeypatch.setattr(fasta, "BLOCK", 1000)
    arguments = ["--fasta", tmp_path / "in.fa", "--chunk-length", 500, "--chunks", tmp_path / "c.fa"]
    monkeypatch.setattr(sys, "argv", ["split_fasta.py", *map(str, arguments), "--sequences", str(tmp_path / "s")])
    most = []
    for records in (10_000, 60_000):
        (tmp_path / "in.fa").write_text("".join(f">a_longer_name_{number}\nA\n" for number in range(records)))
        tracemalloc.start()
        split_fasta.main()
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] - most[0] < 16 * 50_000 + MEGABYTE


def test_the_longest_record_of_genbank_is_read_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "in.gb").open("w") as file:
        file.write("LOCUS       L               39000000 bp    DNA     linear   VRL 01-JAN-2020\n")
        file.write("FEATURES             Location/Qualifiers\n     CDS             1..9\nORIGIN\n")
        for first in range(1, 39_000_000, 60):
            file.write(f"{first:9}{' acgtacgtac' * 6}\n")
        file.write("//\n")
    code, said, memory = measured(tmp_path / "in.gb", tmp_path / "out")
    assert code == 0 and memory < MOST_MEMORY, said


def xz_with_dictionary(content: bytes, code: int) -> bytes:
    """xz that declares a dictionary of 2 ** (code / 2 + 12) bytes, for an even code (specification, 5.3.1)."""
    data = bytearray(lzma.compress(content))
    header = slice(12, 12 + 4 * (data[12] + 1))
    data[16] = code
    data[header.stop - 4 : header.stop] = zlib.crc32(data[header.start : header.stop - 4]).to_bytes(4, "little")
    return bytes(data)


def zstd_with_window(content: bytes, log: int) -> bytes:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return compressor.compress(content) + compressor.flush()


WINDOWS = {
    "zstd": (zstd_with_window(b">x\nACGT\n", 27), zstd_with_window(b">x\nACGT\n", 28)),
    "xz": (xz_with_dictionary(b">x\nACGT\n", 28), xz_with_dictionary(b">x\nACGT\n", 32)),
}


@pytest.mark.parametrize("kind", WINDOWS)
def test_the_memory_that_decompression_asks_for_is_bounded(kind: str, tmp_path: Path) -> None:
    usual, large = WINDOWS[kind]
    (tmp_path / "in").write_bytes(usual)
    assert measured(tmp_path / "in", tmp_path / "out")[0] == 0
    (tmp_path / "in").write_bytes(large)
    code, said, memory = measured(tmp_path / "in", tmp_path / "refused")
    assert code == 2 and "in: needs more than 128 MB of memory to be decompressed; compress it" in error_line(said)
    assert memory < MOST_MEMORY


def ended(of_file: Iterator[batches.Batch]) -> list[tuple[str, int, int]]:
    """Names, lines and lengths of records."""
    together = list(batches.with_ended(of_file))
    names = [name for batch, _ in together for name in batch.names]
    numbers = [pair for _, records in together for pair in zip(records.lines.tolist(), records.lengths.tolist())]
    return [(name, *pair) for name, pair in zip(names, numbers, strict=True)]


def test_blocks_may_end_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The parts of a file are the same in blocks of any size."""
    content = b"\xef\xbb\xbf \t\r\n\n>one two\r\nAC GT\r\r\n;old > no\n".replace(b" > no", b" no")
    content += "AC\n>ünï \n>e\n\n>\tx y\nAC\r\nG>T\n".encode()
    (tmp_path / "in.fa").write_bytes(content)
    (tmp_path / "plain.fa").write_text(">a b\nACGT\nAC\n\n>b\n>\nA\n>c\n\nAC\nAC\nA")
    expected = list(read_fasta(tmp_path / "in.fa", check_letters=False))
    assert [(record.name, record.sequence) for record in expected] == [
        ("one", "ACGT;oldnoAC"), ("ünï", ""), ("e", ""), ("x", "ACG>T"),
    ]  # fmt: skip
    assert [record.line for record in expected] == [3, 8, 9, 11]
    for size in range(4, len(content) + 1):  # the first block has more than the byte-order mark
        monkeypatch.setattr(fasta, "BLOCK", size)
        assert list(read_fasta(tmp_path / "in.fa", check_letters=False)) == expected
        for path in (tmp_path / "in.fa", tmp_path / "plain.fa"):
            assert ended(fasta.read_fasta_batches(path, check_letters=False)) == [
                (record.name, record.line, len(record.sequence)) for record in read_fasta(path, check_letters=False)
            ]
        with pytest.raises(fasta.InputError, match="line 13: '>' is not a nucleotide"):
            list(read_fasta(tmp_path / "in.fa"))


class Collected:
    """Chunks as Cutter gives them to be written."""

    def __init__(self) -> None:
        self.chunks: list[tuple[str, bytes]] = []

    def write(self, names: pa.StringArray, letters: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        assert (starts + lengths <= len(letters) - fasta.LINE_WIDTH).all()
        for name, start, length in zip(names.to_pylist(), starts, lengths, strict=True):
            self.chunks.append((name, letters[start : start + length].tobytes()))


@pytest.mark.parametrize("size", [1, 7, 99, 5000])
@pytest.mark.parametrize("chunk_length", [3, 4, 5, 10, 100, 500])
def test_pieces_of_any_size_are_cut_into_the_same_chunks(
    size: int, chunk_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks, and in texts to be written, of any size as well."""
    letters = random.Random(3)
    lengths = [0, 1, 5, 5, 6, 1234, 0, 999, 31, 1020, 3, 0]
    sequences = {f"s{number}": bytes(letters.choices(b"ACGT", k=length)) for number, length in enumerate(lengths)}
    expected = [
        (chunk_name(name, number), sequence[start:end])
        for name, sequence in sequences.items()
        for number, (start, end) in enumerate(chunk_coordinates(len(sequence), chunk_length), start=1)
    ]
    chunks, bases = chunk_totals(np.array(lengths), chunk_length)
    assert (chunks.sum(), bases.sum()) == (len(expected), sum(len(chunk) for _, chunk in expected))
    for block in (1, 50, 1 << 20):
        monkeypatch.setattr(batches, "LETTERS", block)
        monkeypatch.setattr(cutter, "BLOCK", block)
        monkeypatch.setattr(cutter, "MOST_TEXT", block)
        parts: list[batches.Part] = []
        for number, (name, sequence) in enumerate(sequences.items()):
            pieces = (sequence[start : start + size] for start in range(0, len(sequence), size))
            parts += [batches.Heading(name, name, number), *pieces]
        collected = Collected()
        cut = cutter.Cutter(collected, chunk_length)
        for batch in batches.batched(iter(parts)):
            cut.add(batch, batch.names, np.array([len(sequences[name]) for name in batch.names], dtype=np.int64))
        cut.cut()
        assert collected.chunks == expected


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
def test_names_are_counted_and_made_unique(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain implementation does, which holds them all."""
    monkeypatch.setattr(names, "BLOCK", block)
    chosen = random.Random(4)
    for number in (0, 1, 2, 5, 40, 200):
        given = [chosen.choice(["a", "a_2", "a_3", "a_2_2", "b", "", "_2", f"c{number}"]) for _ in range(number)]
        found = Names()
        found.add(given)
        found.sort()
        count = Counter(given)
        several = [times for times in count.values() if times > 1]
        assert found.repeated() == (len(several), sum(several))
        assert [found.times(name) for name in given] == [count[name] for name in given]
        assert found.times("elsewhere") == 0
        taken, seen, expected = set(given), Counter(), []
        for name in given:
            seen[name] += 1
            new = name
            if seen[name] > 1:
                while (new := f"{name}_{seen[name]}") in taken:
                    seen[name] += 1
                taken.add(new)
            expected.append(new)
        assert [found.unique(name) for name in given] == expected
        assert len(set(expected)) == number


BEFORE = b">a one\nACGTACGTAC\n>b\nGG\n"
CHANGED = {
    "other letters": BEFORE.replace(b"GG", b"GC"),
    "another case": BEFORE.replace(b"GG", b"Gg"),
    "another name": BEFORE.replace(b">b", b">c"),
    "another description": BEFORE.replace(b"one", b"two"),
    "a record more": BEFORE + b">c\nAC\n",
    "a record less": BEFORE[: BEFORE.index(b">b")],
    "longer": BEFORE.replace(b"GG", b"GGG"),
    "shorter": BEFORE.replace(b"ACGTACGTAC", b"ACGTACGTA"),
    "very much longer": BEFORE.replace(b"GG", b"G" * 5000),
    "nothing": b"",
    "the same, compressed": gzip.compress(BEFORE),
}


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("kind", CHANGED)
def test_a_file_that_changes_between_both_passes(
    kind: str, repeated: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [tmp_path / "1.fa", tmp_path / "2.fa"]
    files[0].write_bytes(b">b\nACGT\n" if repeated else b">x\nACGT\n")
    files[1].write_bytes(BEFORE)
    real = split_fasta.split

    def change_and_split(*arguments: object) -> None:
        files[1].write_bytes(CHANGED[kind])
        real(*arguments)

    monkeypatch.setattr(split_fasta, "split", change_and_split)
    outputs = ["--chunks", *(tmp_path / "out" / f"{n}.fa" for n in range(3)), "--sequences", tmp_path / "out" / "s"]
    arguments = ["--fasta", *files, "--chunk-length", 3, "--duplicate-ids", "rename", *outputs]
    monkeypatch.setattr(sys, "argv", ["split_fasta.py", *map(str, arguments)])
    with pytest.raises(fasta.InputError, match=r"2\.fa: .* the file changed while the run was on; run again"):
        split_fasta.main()
    assert not list(tmp_path.glob("out/*"))


def test_later_readers_compare_what_they_read_with_what_was_split(tmp_path: Path) -> None:
    path, table = tmp_path / "in.fa", tmp_path / "s.parquet"
    path.write_bytes(BEFORE)
    run_program(
        "split_fasta", "--fasta", path, "--chunk-length", 500, "--chunks", tmp_path / "c.fa", "--sequences", table
    )
    split = read_sequences(table)
    assert [(row.sequence_id, record.sequence) for row, record in records_of([Input("fasta", (path,))], split)] == [
        ("a", "ACGTACGTAC"), ("b", "GG"),
    ]  # fmt: skip
    for kind in CHANGED.keys() - {"another description", "the same, compressed"}:
        path.write_bytes(CHANGED[kind])
        with pytest.raises(fasta.InputError, match=r"in\.fa: not what was split into chunks: the file changed while"):
            list(records_of([Input("fasta", (path,))], split))
    path.write_bytes(CHANGED["other letters"])
    said = run_program("list_proteins", "--fasta", path, "--sequences", table, "--proteins", tmp_path / "p", code=2)
    assert f"{path}: not what was split into chunks: the file changed while" in error_line(said)
    assert not (tmp_path / "p").exists()


def test_the_input_files_are_in_the_provenance_as_they_are_stored(tmp_path: Path) -> None:
    files = {"1.fa": BEFORE, "2.fa": gzip.compress(b">c\nAC\n") + gzip.compress(b""), "3.fa": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths, table = [tmp_path / name for name in files], tmp_path / "s.parquet"
    run_program(
        "split_fasta", "--fasta", *paths, "--chunk-length", 500, "--chunks", tmp_path / "c.fa", "--sequences", table
    )
    assert read_provenance(table) == {
        "inputs": [
            {"path": str(tmp_path / name), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        ],
        "rna": "as_dna", "records": 3, "rna_records": 0, "shards": 1,
    }  # fmt: skip
    digests = [xxh3_128_hexdigest(text) for text in (b"a\nACGTACGTAC", b"b\nGG", b"c\nAC")]
    assert list(read_sequences(table)["digest"]) == digests

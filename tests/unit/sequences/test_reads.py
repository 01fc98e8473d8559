"""Reads as a user gives them to split_fasta: FASTQ and BAM, single and in pairs, whole, damaged, and a part of them."""

import bz2
import gzip
import lzma
import random
import re
from pathlib import Path

import pysam
import pytest
from backports import zstd
from Bio.Seq import reverse_complement
from helpers import error_line, run_program

import split_fasta
from virnucflow.cli import InputError
from virnucflow.files.tables import read_provenance, read_sequences
from virnucflow.sequences import reads
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.mates import pair_of_id, pair_of_names
from virnucflow.sequences.records import read_subsample, records_of
from virnucflow.sequences.subsample import draw

TWO = b"@one first\nGCCGCCGCAGCC\n+\nIIIIIIIIIIII\n@two\nGCN\n+\n@+>\n"
FIRSTS = {"a": "ACGTT", "b": "GG"}
SECONDS = {"a": "CCCA", "b": "T"}


def fastq(records: dict[str, str], end: str = "") -> bytes:
    return "".join(f"@{name}{end} of a run\n{text}\n+\n{'I' * len(text)}\n" for name, text in records.items()).encode()


def split(folder: Path, *options: object, code: int = 0) -> str:
    """What split_fasta says of these inputs; of an error its line, without the folder."""
    outputs = ["--chunks", folder / "out" / "chunks.fa", "--sequences", folder / "out" / "sequences.parquet"]
    said = run_program("split_fasta", *options, "--chunk-length", 300, *outputs, code=code)
    if code:
        assert not list(folder.glob("out/*")), "something was left half-written"
        return error_line(said).replace(f"{folder}/", "")
    return said


def chunks(folder: Path) -> str:
    return (folder / "out" / "chunks.fa").read_text()


def rows(folder: Path) -> list[tuple]:
    table = read_sequences(folder / "out" / "sequences.parquet")
    return list(table[["sequence_id", "length", "mate"]].itertuples(index=False, name=None))


READABLE = {
    "plain": TWO,
    "gzip": gzip.compress(TWO),
    "gzip, several members": gzip.compress(TWO[:20]) + gzip.compress(TWO[20:]),
    "bzip2": bz2.compress(TWO),
    "xz": lzma.compress(TWO),
    "zstd": zstd.compress(TWO),
    "byte-order mark": b"\xef\xbb\xbf" + TWO,
    "CRLF": TWO.replace(b"\n", b"\r\n"),
    "CR": TWO.replace(b"\n", b"\r"),
    "no final newline": TWO.rstrip(),
    "names again": TWO.replace(b"+\nII", b"+one first\nII").replace(b"+\n@", b"+two\n@"),
}


@pytest.mark.parametrize("kind", READABLE)
def test_fastq_is_read_as_its_fasta(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(READABLE[kind])
    split(tmp_path, "--reads", tmp_path / "in")
    assert rows(tmp_path) == [("one", 12, 0), ("two", 3, 0)]
    assert chunks(tmp_path) == ">one_chunk_1\nGCCGCCGCAGCC\n>two_chunk_1\nGCN\n"


def test_no_reads_and_reads_without_a_base(tmp_path: Path) -> None:
    (tmp_path / "none.fq").write_bytes(b"")
    (tmp_path / "empty.fq").write_bytes(b"@e\n\n+\n\n@f\nA\n+\nI\n")
    split(tmp_path, "--reads", tmp_path / "none.fq", tmp_path / "empty.fq")
    assert rows(tmp_path) == [("e", 0, 0), ("f", 1, 0)]


@pytest.mark.parametrize("ends", [("", ""), ("/1", "/2"), (".1", ".2")])
@pytest.mark.parametrize("layout", ["paired", "interleaved"])
def test_mates_are_told_apart_by_the_end_of_their_names(layout: str, ends: tuple[str, str], tmp_path: Path) -> None:
    files = [fastq(FIRSTS, ends[0]), gzip.compress(fastq(SECONDS, ends[1]))]
    if layout == "interleaved":
        files = [b"".join(fastq({name: of[name]}, end) for name in FIRSTS for of, end in zip((FIRSTS, SECONDS), ends))]
    paths = [tmp_path / f"{number}.fq" for number, _ in enumerate(files)]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    split(tmp_path, f"--{layout}", *paths)
    assert rows(tmp_path) == [("a/1", 5, 1), ("a/2", 4, 2), ("b/1", 2, 1), ("b/2", 1, 2)]
    assert chunks(tmp_path).startswith(">a/1_chunk_1\nACGTT\n>a/2_chunk_1\nCCCA\n")
    inputs = read_provenance(tmp_path / "out" / "sequences.parquet")["inputs"]
    assert [one["bytes"] for one in inputs] == list(map(len, files))
    [first, *_] = records_of([Input(layout, tuple(paths))], read_sequences(tmp_path / "out" / "sequences.parquet"))
    assert first[1].header == "a/1 of a run" and first[1].sequence == "ACGTT"


@pytest.mark.parametrize(
    ("first", "second", "pair"),
    [
        ("r", "r", "r"), ("r/1", "r/2", "r"), ("r.1.1", "r.1.2", "r.1"), ("r.1", "r.1", "r.1"), ("r/1", "r/1", None),
        ("r/2", "r/1", None), ("r/1", "r", None), ("r", "r/2", None), ("r/1", "r.2", None), ("r1", "r2", None),
        ("r.2", "r.3", None), ("r", "s", None),
    ],
)  # fmt: skip
def test_names_of_mates(first: str, second: str, pair: str | None) -> None:
    assert pair_of_names(first, second) == pair


def test_pairs_of_renamed_mates_are_not_those_of_others() -> None:
    assert list(map(pair_of_id, ["r/1", "r/2", "r/1_2", "r/2_2", "r_2/1", "a/1/2"])) == [
        "r", "r", "r/_2", "r/_2", "r_2", "a/1",
    ]  # fmt: skip


A, B, ODD = fastq({"a": "A"}), fastq(FIRSTS), fastq({"a": "A", "c": "C"})
NOT_FASTQ = "not FASTQ (Premature end of file encountered."
# Of pairs: the layout, the files, and what is said.
NO_PAIRS = {
    "names that differ": (
        "paired", B, ODD,
        "1.fq, record 2: 'b' has no mate, as 2.fq, record 2: 'c' is none; give both reads in the same order",
    ),
    "a second read too many": ("paired", A, ODD, "2.fq, record 2: 'c' has no mate, as 1.fq ends before; give both"),
    "a second read too few": ("paired", B, A, "1.fq, record 2: 'b' has no mate, as 2.fq ends before; give both"),
    "files in the wrong order": (
        "paired", fastq({"a": "A"}, "/2"), fastq({"a": "A"}, "/1"),
        "1.fq, record 1: 'a/2' has no mate, as 2.fq, record 1: 'a/1' is none; give both reads in the same order",
    ),
    "an odd number": ("interleaved", A * 3, b"", "1.fq, record 3: 'a' has no mate, as 1.fq ends before; give both"),
    "a pair twice": (
        "paired", A * 2, A * 2,
        "names: 'a/1' in 1.fq record 1, 1.fq record 2; 'a/2' in 2.fq record 1, 2.fq record 2; rename them",
    ),
    "the second cut": ("paired", TWO, TWO[:-8], f"2.fq, line 6: {NOT_FASTQ}"),
}  # fmt: skip
# Of single files: the content, and what is said.
WRONG = {
    "a quality too long": (TWO.replace(b"@+>", b"@+>>"), "1.fq, line 8: not FASTQ (Length of sequence and qual"),
    "cut in a record": (TWO[:-8], f"1.fq, line 6: {NOT_FASTQ}"),
    "a line lost": (TWO.replace(b"+\nI", b"I"), "1.fq, line 3: not FASTQ (Line expected to start with '+'"),
    "another name again": (TWO.replace(b"+\nI", b"+b\nI"), "1.fq, line 3: not FASTQ (Sequence descriptions don't"),
    "FASTA": (b">x\nACGT\n", "1.fq, line 1: this looks like FASTA or GenBank; give it in the column fasta"),
    "FASTA, compressed": (gzip.compress(b">x\nACGT\n"), "1.fq, line 1: this looks like FASTA or GenBank"),
    "SAM": (b"@HD\tVN:1.6\n", "1.fq, line 1: this looks like SAM or CRAM; convert it to BAM with 'samtools"),
    "CRAM": (b"CRAM\3\0" + bytes(20), "1.fq, line 1: this looks like SAM or CRAM; convert it"),
    "text": (b"hello\n", "1.fq, line 1: not a FASTQ file, which begins with '@', and not BAM; give"),
    "a protein": (TWO.replace(b"GCN", b"GEN"), "1.fq, record 2: 'E' is not a nucleotide; give DNA or RNA"),
    "a blank in the sequence": (TWO.replace(b"GCN", b"G N"), "1.fq, record 2: ' ' is not a nucleotide"),
    "a control character": (TWO.replace(b"two", b"t\x07o"), "1.fq, record 2: a control character in the name"),
    "no ASCII": (TWO.replace(b"two", "tw\u00f6".encode()), "1.fq: not FASTQ (Non-ASCII characters found in record)"),
    "cut in compression": (gzip.compress(TWO * 99)[:-9], "1.fq: the compressed file is cut or damaged"),
    "one name twice": (TWO * 2, "names: 'one' in 1.fq record 1, 1.fq record 3; 'two' in 1.fq record 2, 1.fq"),
    "a line without end": (zstd.compress(b"@" + b"x" * 50_000_000), "1.fq, line 1: longer than 20,000,000 bytes"),
}
REFUSED = NO_PAIRS | {kind: ("reads", content, b"", message) for kind, (content, message) in WRONG.items()}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    layout, first, second, message = REFUSED[kind]
    files = [tmp_path / f"{number}.fq" for number in (1, 2)]
    for path, content in zip(files, (first, second), strict=True):
        path.write_bytes(content)
    assert message in split(tmp_path, f"--{layout}", *files[: 2 if layout == "paired" else 1], code=2)


def test_a_program_without_input_says_so(tmp_path: Path) -> None:
    assert "no input; give --fasta, --reads, --interleaved or --paired" in split(tmp_path, code=2)


HEADER = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}, "SQ": [{"SN": "chromosome", "LN": 10**6}]})
Alignment = tuple[str, int, str]  # name, flag, letters as they are stored


def write_bam(path: Path, *alignments: Alignment) -> Path:
    """Aligned, unless the flag says otherwise."""
    with pysam.AlignmentFile(str(path), "wb", header=HEADER) as file:
        for place, (name, flag, letters) in enumerate(alignments):
            one = pysam.AlignedSegment(HEADER)
            one.query_name, one.flag, one.query_sequence = name, flag, letters
            if not flag & 0x4:
                one.reference_id, one.reference_start, one.cigarstring = 0, place, f"{len(letters)}M"
            file.write(one)
    return path


def test_bam_gives_the_reads_as_they_were_sequenced(tmp_path: Path) -> None:
    bam = write_bam(tmp_path / "in.bam", ("u", 0x4, "ACGT"), ("f", 0, "AACN"), ("r", 0x10, "AACRN"), ("e", 0x4, ""))
    split(tmp_path, "--reads", bam)
    assert rows(tmp_path) == [("u", 4, 0), ("f", 4, 0), ("r", 5, 0), ("e", 0, 0)]
    assert chunks(tmp_path) == ">u_chunk_1\nACGT\n>f_chunk_1\nAACN\n>r_chunk_1\nNYGTT\n"


def test_bam_says_itself_which_reads_are_mates_wherever_they_are(tmp_path: Path) -> None:
    bam = write_bam(
        tmp_path / "in.bam", ("a", 0x1 | 0x80, "CC"), ("b", 0x1 | 0x40, "GG"), ("s", 0, "T"), ("a/1", 0x1 | 0x40, "AA")
    )
    split(tmp_path, "--reads", bam)
    assert rows(tmp_path) == [("a/2", 2, 2), ("b/1", 2, 1), ("s", 1, 0), ("a/1", 2, 1)]


def test_alignments_that_are_no_reads_of_their_own_are_left_out_and_counted(tmp_path: Path) -> None:
    flags = {"first": 0, "secondary": 0x100, "supplementary": 0x800, "qc": 0x200, "copy": 0x400, "both": 0x100 | 0x400}
    bam = write_bam(tmp_path / "in.bam", *((name, flag, "ACGT") for name, flag in flags.items()))
    said = split(tmp_path, "--reads", bam)
    assert rows(tmp_path) == [("first", 4, 0)]
    [file] = read_provenance(tmp_path / "out" / "sequences.parquet")["inputs"]
    assert file["left_out"] == {"secondary": 2, "supplementary": 1, "qc_failed": 1, "duplicate": 1}
    assert "in.bam: left out by their flags: 2 secondary, 1 supplementary, 1 qc_failed, 1 duplicate" in said
    assert file["bytes"] == bam.stat().st_size and len(file["sha256"]) == 64


def damage(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("name", "option", "change", "message"),
    [
        ("in.bam", "--reads", lambda bam: bam[:-28], "in.bam: the compressed file is cut or damaged (it ends before"),
        ("in.bam", "--reads", lambda bam: bam[: len(bam) // 2], "in.bam: the compressed file is cut or damaged"),
        ("in.bam", "--reads", lambda bam: bam[:-3000] + bam[-28:], "in.bam: not a BAM file that can be read"),
        ("in.bam", "--reads", lambda bam: damage(bam, len(bam) - 3000), "in.bam: not a BAM file that can be read"),
        ("in.data", "--reads", bytes, "in.data: this is BAM; give it a name that ends in .bam"),
        ("in.bam", "--interleaved", bytes, "in.bam: BAM says itself which reads are mates; leave reads_2 and"),
        ("in.bam", "--fasta", bytes, "in.bam, line 1: this is BAM; give it in the column reads"),
    ],
)
def test_bam_that_is_refused(name: str, option: str, change, message: str, tmp_path: Path) -> None:
    chosen = random.Random(1)
    letters = ["".join(chosen.choices("ACGT", k=150)) for _ in range(2000)]
    bam = write_bam(tmp_path / "in.bam", *((f"r{number}", 0, text) for number, text in enumerate(letters)))
    content = bam.read_bytes()
    bam.unlink()
    (tmp_path / name).write_bytes(change(content))
    assert message in split(tmp_path, option, tmp_path / name, code=2)


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        (("x", 0x1, "A"), "in.bam, record 2: 'x' is of a pair, but neither its first nor its second read;"),
        (("x", 0x1 | 0x40 | 0x80, "A"), "in.bam, record 2: 'x' is of a pair, but neither its first nor"),
        (("x", 0, "A=C"), "in.bam, record 2: '=' is not a nucleotide"),
        (("x\x07", 0, "A"), "in.bam, record 2: a control character in the name"),
        (("x y", 0, "A"), "in.bam, record 2: 'x y' is no name of a read; give each one without blanks"),
        (("r", 0, "A"), "'r' in in.bam record 1, in.bam record 2; rename them"),
    ],
)
def test_alignments_that_are_refused(alignment: Alignment, message: str, tmp_path: Path) -> None:
    bam = write_bam(tmp_path / "in.bam", ("r", 0, "ACGT"), alignment)
    assert message in split(tmp_path, "--reads", bam, code=2)


def many(number: int) -> list[tuple[str, str, str]]:
    """Pairs: their name, the first read, and the second."""
    chosen = random.Random(2)
    return [(f"r{i}", *("".join(chosen.choices("ACGT", k=20)) for _ in range(2))) for i in range(number)]


@pytest.fixture
def pairs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "1.fq", tmp_path / "2.fq"]
    for mate, path in enumerate(paths, start=1):
        path.write_bytes(fastq({pair[0]: pair[mate] for pair in many(1000)}))
    return paths


def test_a_subsample_is_of_so_many_pairs_and_the_same_for_the_same_seed(pairs: list[Path], tmp_path: Path) -> None:
    drawn = {}
    for number, seed in ((100, 5), (100, 5), (40, 5), (100, 6), (1000, 5), (2000, 5)):
        said = split(tmp_path, "--paired", *pairs, "--subsample-reads", number, "--subsample-seed", seed)
        if (number, seed) in drawn:
            assert drawn[number, seed] == chunks(tmp_path)
        drawn[number, seed] = chunks(tmp_path)
        assert f"{min(1000, number)} of 1000 reads, pairs counted as one, are drawn" in said
    of = {key: set(re.findall(r">(r\d+)/1", text)) for key, text in drawn.items()}
    assert all(set(re.findall(r">(r\d+)/2", text)) == of[key] for key, text in drawn.items()), "both mates or none"
    assert {key: len(names) for key, names in of.items()} == {
        (100, 5): 100, (40, 5): 40, (100, 6): 100, (1000, 5): 1000, (2000, 5): 1000,
    }  # fmt: skip
    assert of[40, 5] < of[100, 5] and len(of[100, 5] & of[100, 6]) < 50
    places = sorted(int(name[1:]) for name in of[100, 5])
    assert 300 < sum(places) / 100 < 700, "from all over the file"


def test_the_same_reads_are_drawn_of_bam_and_sequences_of_fasta_all_stay(pairs: list[Path], tmp_path: Path) -> None:
    split(tmp_path, "--paired", *pairs, "--subsample-reads", 50)
    expected = {name for name, *_ in rows(tmp_path)}
    one_way = [(name, 0x1 | 0x40, first) for name, first, _ in many(1000)]
    other_way = [(name, 0x1 | 0x80 | 0x10, reverse_complement(second)) for name, _, second in many(1000)]
    (tmp_path / "in.fa").write_text(">contig\nACGT\n")
    inputs = ["--reads", write_bam(tmp_path / "in.bam", *one_way, *other_way), "--fasta", tmp_path / "in.fa"]
    split(tmp_path, *inputs, "--subsample-reads", 50)
    assert {name for name, *_ in rows(tmp_path)} == expected | {"contig"}


def test_later_readers_take_the_reads_that_were_drawn_and_notice_others(pairs: list[Path], tmp_path: Path) -> None:
    split(tmp_path, "--paired", *pairs, "--subsample-reads", 50, "--subsample-seed", 7)
    table = tmp_path / "out" / "sequences.parquet"
    noted = read_provenance(table)["subsample"]
    assert (noted["reads"], noted["of"], noted["seed"]) == (50, 1000, 7)
    sources, subsample = [Input("paired", tuple(pairs))], read_subsample(table)
    found = [
        (row.sequence_id, record.sequence) for row, record in records_of(sources, read_sequences(table), subsample)
    ]
    of_all = {f"{name}/{mate}": read for name, *both in many(1000) for mate, read in enumerate(both, start=1)}
    assert len(found) == 100 and all(of_all[name] == sequence for name, sequence in found)
    said = run_program("list_proteins", "--paired", *pairs, "--sequences", table, "--proteins", tmp_path / "p")
    assert "0 proteins of 0 GenBank records" in said
    with pytest.raises(InputError, match=r"1\.fq: not what was split into chunks: the file changed while"):
        list(records_of(sources, read_sequences(table)))


def test_drawing_holds_no_more_than_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is looked for more often gives the same."""
    names = [f"r{number}" for number in range(5000)]
    expected = draw(names, 30, 1)
    monkeypatch.setattr("virnucflow.sequences.subsample.LEAST_HELD", 7)
    assert draw(names, 30, 1) == draw([*names, *names], 30, 1) == expected
    assert sum(name in expected for name in names) == 30
    all_of_them = draw(names, 5000, 1)
    assert all(name in all_of_them for name in names)


@pytest.mark.parametrize("block", [1, 2, 7])
def test_blocks_may_end_anywhere(block: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("virnucflow.sequences.fasta.BLOCK", block)
    (tmp_path / "in.fq").write_bytes(TWO.replace(b"\n", b"\r\n"))
    letters = [
        part for part in reads.read_reads_parts(Input("reads", (tmp_path / "in.fq",))) if isinstance(part, bytes)
    ]
    assert letters == [b"GCCGCCGCAGCC", b"GCN"]


def test_reads_that_change_between_both_passes(pairs: list[Path], monkeypatch, tmp_path: Path) -> None:
    real = split_fasta.split

    def change_and_split(*arguments: object) -> None:
        pairs[1].write_bytes(pairs[1].read_bytes().replace(b"ACG", b"ACC"))
        real(*arguments)

    monkeypatch.setattr(split_fasta, "split", change_and_split)
    outputs = ["--chunks", tmp_path / "out" / "c.fa", "--sequences", tmp_path / "out" / "s"]
    arguments = ["split_fasta.py", "--paired", *pairs, "--chunk-length", 300, *outputs]
    monkeypatch.setattr("sys.argv", list(map(str, arguments)))
    with pytest.raises(InputError, match=r"2\.fq: .* the file changed while the run was on; run again"):
        split_fasta.main()
    assert not list(tmp_path.glob("out/*"))

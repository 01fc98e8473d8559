"""GenBank files as input: the sequences of FASTA, the annotated proteins, and errors that name file and line."""

import gzip
import lzma
from pathlib import Path

import pytest
from Bio import SeqIO
from helpers import error_line, run_program, write_fasta

from virnucflow.cli import InputError
from virnucflow.files.tables import PROTEINS, SEQUENCES, read_parquet
from virnucflow.sequences.fasta import Record, read_fasta, whole
from virnucflow.sequences.genbank import is_genbank
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.records import stream_records

ONE = """\
LOCUS       AB000001                  24 bp    DNA     linear   VRL 01-JAN-2020
DEFINITION  A virus,
            complete genome.
ACCESSION   AB000001
VERSION     AB000001.2
FEATURES             Location/Qualifiers
     source          1..24
     CDS             join(1..9,13..24)
                     /product="a protein"
                     /translation="MKLREL
                     PK"
     CDS             complement(4..12)
                     /pseudo
     CDS             1..9
                     /translation="MKL"
ORIGIN
        1 atgaaattgc gggaattgcc anaa
//
"""
TWO = ONE.replace("AB000001", "AB000002")
BARE = ONE[: ONE.index("     CDS")].replace("AB000001", "AB000003") + ONE[ONE.index("ORIGIN") :]
SEQUENCE = "ATGAAATTGCGGGAATTGCCANAA"
LINES = [f"{first:9}{' acgtacgtac' * tens}\n" for first, tens in ((1, 6), (61, 6), (121, 3))]
LONG = (
    "LOCUS       AB000004                 150 bp    DNA     linear   VRL 01-JAN-2020\n"
    f"DEFINITION  .\nACCESSION   AB000004\nVERSION     AB000004.1\nORIGIN\n{''.join(LINES)}//\n"
)
RELEASE = "GBVRL1.SEQ          Genetic Sequence Data Bank\n                      June 15 2020\n\n   2 loci\n\n"


def write(folder: Path, text: str | bytes, name: str = "in.gb") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def read(path: Path) -> list[Record]:
    return [whole(heading, letters) for heading, letters in stream_records(Input("fasta", (path,)), annotation=True)]


READABLE = {
    "plain": (ONE + TWO, [1, 19]),
    "gzip": (gzip.compress((ONE + TWO).encode()), [1, 19]),
    "xz": (lzma.compress((ONE + TWO).encode()), [1, 19]),
    "CRLF": ((ONE + TWO).replace("\n", "\r\n"), [1, 19]),
    "CR": ((ONE + TWO).replace("\n", "\r"), [1, 19]),
    "byte-order mark": ("\ufeff" + ONE + TWO, [1, 19]),
    "byte-order mark of a release": ("\ufeff" + RELEASE + ONE + TWO, [6, 24]),
    "blank lines": ("\n\n" + ONE + "\n\n" + TWO + "\n", [3, 23]),
    "a file of GenBank's releases": (RELEASE + ONE + TWO, [6, 24]),
    "no final newline": ((ONE + TWO).rstrip(), [1, 19]),
}


@pytest.mark.parametrize("kind", READABLE)
def test_readable(kind: str, tmp_path: Path) -> None:
    text, lines = READABLE[kind]
    path = write(tmp_path, text, "any.name")
    records = read(path)
    assert [record.name for record in records] == ["AB000001.2", "AB000002.2"]
    assert records[0].header == "AB000001.2 A virus, complete genome"
    assert [record.line for record in records] == lines
    assert {record.sequence for record in records} == {SEQUENCE}
    assert {record.proteins for record in records} == {("MKLRELPK", "MKL")}


def test_a_record_without_version_or_annotation(tmp_path: Path) -> None:
    record = read(write(tmp_path, BARE.replace("VERSION     AB000003.2\n", "")))[0]
    assert (record.name, record.sequence, record.proteins) == ("AB000003", SEQUENCE, ())


def test_proteins_are_those_of_cds_alone(tmp_path: Path) -> None:
    text = ONE.replace("CDS             1..9", "mat_peptide     1..9")
    assert read(write(tmp_path, text))[0].proteins == ("MKLRELPK",)


def test_fasta_is_not_taken_for_genbank(tmp_path: Path) -> None:
    for text in (">LOCUS x\nACGT\n", "", "\n>x\nAC\n", ">x Genetic Sequence Data Bank\nAC\n"):
        assert not is_genbank(write(tmp_path, text))
    assert [record.proteins for record in read(write(tmp_path, ">x\nACGT\n"))] == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + TWO[:-3], "line 19: this record does not end with '//', so the file is cut"),
        (ONE + TWO[:300], "line 19: this record does not end with '//', so the file is cut"),
        (ONE + ONE[: ONE.index("ORIGIN")] + "CONTIG      join(X1.1:1..24)\n//\n", "line 19: AB000001.2 has no seq"),
        (ONE.replace("        1 atgaaattgc gggaattgcc anaa\n", ""), "line 1: AB000001.2 has no sequence"),
        (ONE.replace("gggaattgcc", "mkvleefqpp"), "line 1: AB000001.2: 'L' is not a nucleotide; give DNA or RNA"),
        ("LOCUS       x y\n//\n", "line 1: not a GenBank record"),
        ("LOCUS x\n//\n", "line 1: not a GenBank record (LOCUS is not followed by blanks"),
        ("LOCUS       x\n//\n", "line 1: x has no sequence"),
        (ONE + " " * 2_000_000 + "\n" + TWO, "line 19: longer than 1,048,576 bytes"),
        ("LOCUS       x\nORIGIN\n        1 acgt\n//\n", "line 1: x: LOCUS says no number of bases, but 4 are there"),
        (TWO + ONE.replace("24 bp", "25 bp"), "line 19: AB000001.2: LOCUS says 25 bases, but 24 are there"),
        (TWO + ONE.replace("24 bp", "23 bp"), "line 19: AB000001.2: LOCUS says 23 bases, but 24 are there"),
        (ONE[:-3] + TWO, "line 1: this record does not end with '//' before the next, in line 18; restore"),
        (ONE.replace("//", "/") + TWO, "line 18: after 24 bases the line must begin with the number 25"),
        (ONE.replace("//", "/ /") + TWO, "line 18: after 24 bases the line must begin with the number 25"),
        (ONE.replace("ORIGIN\n", ""), "line 1: "),
        (ONE.replace("ORIGIN\n", "0RIGIN\n"), "line 1: "),
        (ONE.replace("attgc gg", "attgcgg\n"), "line 18: after 12 bases the line must begin with the number 13"),
        (LONG.replace(LINES[1], ""), "line 7: after 60 bases the line must begin with the number 61"),
        (LONG.replace(LINES[2], ""), "line 1: AB000004.1: LOCUS says 150 bases, but 120 are there"),
        (LONG.replace(LINES[0], LINES[0].replace("acgt", "act", 1)), "line 7: after 59 bases the line must begin with"),
        (LONG.replace(LINES[0] + LINES[1], LINES[1] + LINES[0]), "line 6: after 0 bases the line must begin with"),
        (ONE.replace("FEATURES             Location/Qualifiers\n", ""), "line 1: a feature without a line FEATURES"),
        (RELEASE + ONE.replace("LOCUS ", "L0CUS ") + TWO, "line 23: '//' ends a record that does not begin with LOC"),
        (ONE[: ONE.index('"MKL"')] + TWO[TWO.index(" 24 bp") :], "line 16: a line below FEATURES is of another record"),
        (ONE + TWO.replace("LOCUS ", "locus "), "line 19: text between records: 'locus       AB000002"),
        (ONE.replace("VRL", "VRL" * 400_000), "line 1: longer than 1,048,576 bytes"),
        (ONE.replace("FEATURES", "COMMENT     x\n" * 80_000 + "FEATURES"), "line 1: the header is longer than 1,000"),
        (ONE.replace("AB000001.2", "AB000001.2 \x1b[2J"), "line 1: the name 'AB000001.2 \\x1b[2J' is not one word"),
        (" " + ONE, "in.gb: no line begins with LOCUS"),
        (RELEASE, "in.gb: no line begins with LOCUS"),
        (ONE + "what is this?\n" + TWO, "line 19: text between records: 'what is this?'"),
        (ONE.replace("A virus", "A vir\xfcs").encode("latin-1"), "line 1: this record is not UTF-8"),
        (ONE + TWO.replace("AB000002.2", "my contig 1"), "line 19: the name 'my contig 1' is not one word"),
        (ONE + TWO.replace("A virus", "A \x1bvirus"), "line 19: a control character in VERSION or DEFINITION"),
        (TWO.replace("FEATURES", "REFERENCE1  (bases 1 to 9)\n  AUTHORS   A\nFEATURES"), "line 1: not a GenBank rec"),
        (gzip.compress((ONE + TWO).encode())[:-30], "the compressed file is cut or damaged"),
        (ONE + ONE, "duplicate sequence names: 'AB000001.2' in"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    path, out = write(tmp_path, text), tmp_path / "out"
    options = ["--chunks", out / "chunks.fa", "--sequences", out / "sequences.parquet", "--chunk-length", 500]
    said = error_line(run_program("split_fasta", "--fasta", path, *options, code=2))
    assert str(path) in said and message in said
    assert not list(tmp_path.glob("out/*"))


def test_what_biopython_finds_odd_is_logged_some_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = ONE.replace("     linear   VRL 01-JAN-2020", "")
    path = write(tmp_path, odd * 13)
    assert len(read(path)) == 13
    assert f"{path}, line 1: Truncated LOCUS line found" in caplog.text
    assert caplog.text.count("Truncated LOCUS") == 10
    assert f"{path}: 3 more" in caplog.text


def test_what_is_not_read_of_the_annotation_is_not_judged(tmp_path: Path) -> None:
    """An escape sequence in a feature's location once reached the log."""
    path = write(tmp_path, ONE.replace("join(1..9,13..24)", "\x1b]0;owned\x07\x1b[2J1..x9"))
    options = ["--chunks", tmp_path / "c.fa", "--sequences", tmp_path / "s.parquet", "--chunk-length", 500]
    assert run_program("split_fasta", "--fasta", path, *options).count("\n") == 1
    said = run_program(
        "list_proteins", "--fasta", path, "--sequences", tmp_path / "s.parquet", "--proteins", tmp_path / "p.parquet"
    )
    assert "\x1b" not in said
    assert read_parquet(tmp_path / "p.parquet", PROTEINS)["proteins"].to_pylist() == [["MKLRELPK", "MKL"]]


@pytest.mark.parametrize("indent", [0, 8, 11])
def test_the_indent_of_sequence_lines_does_not_matter(indent: int, tmp_path: Path) -> None:
    """Biopython drops a letter where the numbers are one column to the left."""
    text = ONE.replace("        1 atg", " " * indent + "1 atg")
    assert read(write(tmp_path, text))[0].sequence == SEQUENCE


def test_a_long_record_is_read_and_a_very_long_one_refused(tmp_path: Path) -> None:
    head, line = "LOCUS       L               {} bp    DNA     linear   VRL 01-JAN-2020\nORIGIN\n", " acgtacgtac" * 6
    for lines, refused in ((700_000, True), (100_000, False)):
        origin = "".join(f"{1 + 60 * number:9}{line}\n" for number in range(lines))
        path = write(tmp_path, head.format(60 * lines) + origin + "//\n")
        if refused:
            with pytest.raises(InputError, match=r"in\.gb, line 1: a record of more than 50,000,000 bytes; give it as"):
                read(path)
        else:
            assert read(path)[0].sequence == "ACGTACGTAC" * 6 * lines


def test_genbank_and_fasta_are_cut_into_the_same_chunks(tmp_path: Path) -> None:
    path = write(tmp_path, ONE + TWO + BARE)
    SeqIO.write(SeqIO.parse(path, "genbank"), tmp_path / "in.fa", "fasta")
    for name in ("in.gb", "in.fa"):
        run_program(
            "split_fasta", "--fasta", tmp_path / name, "--chunk-length", 10,
            "--chunks", tmp_path / f"{name}.chunks", "--sequences", tmp_path / f"{name}.parquet",
        )  # fmt: skip
    assert (tmp_path / "in.gb.chunks").read_bytes() == (tmp_path / "in.fa.chunks").read_bytes()
    tables = [read_parquet(tmp_path / f"{name}.parquet", SEQUENCES) for name in ("in.gb", "in.fa")]
    assert tables[0] == tables[1]
    assert len(list(read_fasta(tmp_path / "in.gb.chunks"))) == 9


def test_proteins_are_listed_under_the_names_that_the_sequences_have(tmp_path: Path) -> None:
    """Also where duplicates were renamed; what is of FASTA has no annotation, a bare record no protein."""
    first, last = write(tmp_path, ONE, "a.gb"), write(tmp_path, ONE + BARE, "c.gb")
    write_fasta(tmp_path / "b.fa", {"plain": "ACGT", "empty": ""})
    files = [first, tmp_path / "b.fa", last]
    table = tmp_path / "sequences.parquet"
    run_program(
        "split_fasta", "--fasta", *files, "--chunk-length", 500, "--duplicate-ids", "rename",
        "--chunks", tmp_path / "chunks.fa", "--sequences", table,
    )  # fmt: skip
    said = run_program("list_proteins", "--fasta", *files, "--sequences", table, "--proteins", tmp_path / "p.parquet")
    found = read_parquet(tmp_path / "p.parquet", PROTEINS)
    assert found["sequence_id"].to_pylist() == ["AB000001.2", "AB000001.2_2", "AB000003.2"]
    assert found["proteins"].to_pylist() == [["MKLRELPK", "MKL"]] * 2 + [[]]
    assert "1 records have no CDS with /translation, for example AB000003.2" in said
    said = run_program(
        "list_proteins", "--fasta", *files[::-1], "--sequences", table, "--proteins", tmp_path / "q.parquet", code=2
    )
    assert "not what was split into chunks" in error_line(said) and not (tmp_path / "q.parquet").exists()

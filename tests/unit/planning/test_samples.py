"""Sample sheets: what editors, shells and Excel make of them is read, and what is wrong is told in one line each."""

from pathlib import Path

import pytest
from helpers import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.io import PeriodicityDetector

from planning.messages import PlanningError
from planning.samples import REPEATS, Sample, read_samples


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("one.fa", "two.fa"):
        (tmp_path / name).write_text(">x\nACGT\n")
    return tmp_path / "s.tsv"


def read(sheet: Path, text: str | bytes) -> dict[str, Sample]:
    sheet.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_samples(sheet.name)


def refusal(sheet: Path, text: str | bytes) -> list[str]:
    with pytest.raises(PlanningError) as error:
        read(sheet, text)
    return str(error.value).splitlines()


def test_samples_their_files_and_where_the_sheet_names_them(sheet: Path) -> None:
    text = "sample\tfasta\tattention\tlabels\n# b\tthree.fa\nb\ttwo.fa\t\tl.tsv\na\tone.fa\tstandard\t\nb\tone.fa\t\t\n"
    samples = read(sheet, text)
    assert list(samples) == ["b", "a"]
    assert samples["b"].paths == ["two.fa", "one.fa"] and samples["b"].labels == ["l.tsv"]
    assert samples["b"].attention is None and samples["a"].attention == "standard" and samples["a"].labels == []
    assert [(file.column, file.line) for file in samples["b"].files] == [("fasta", 3), ("labels", 3), ("fasta", 5)]
    assert samples["b"].files[2].place == "samples: s.tsv, line 5"


def test_reads_are_given_to_programs_by_their_layout_and_in_the_order_of_the_sheet(sheet: Path) -> None:
    header = "sample\tfasta\treads\treads_2\tinterleaved\n"
    rows = [
        "a\t\ta_1.fq\ta_2.fq",
        "a\t\tb_1.fq\tb_2.fq",
        "a\tone.fa",
        "a\ttwo.fa",
        "a\t\ti.fq\t\tYes",
        "a\t\t-s.fq\t\tno",
    ]
    sample = read(sheet, header + "\n".join(rows))["a"]
    assert " ".join(sample.options) == (
        "--paired a_1.fq a_2.fq --paired b_1.fq b_2.fq --fasta one.fa two.fa --interleaved i.fq --reads ./-s.fq"
    )
    assert sample.paths == ["a_1.fq", "a_2.fq", "b_1.fq", "b_2.fq", "one.fa", "two.fa", "i.fq", "-s.fq"]
    assert [file.column for file in sample.files][:2] == ["reads", "reads_2"] and sample.has_reads
    samples = read(sheet, "sample\tfasta\treads\nf\tone.fa\t\ns\t\ts.fq\nb\t\tb.bam\n")
    assert [sample.may_have_pairs for sample in (sample, *samples.values())] == [True, False, False, True]
    assert [sample.has_reads for sample in samples.values()] == [False, True, True]


def test_a_sheet_of_reads_needs_no_column_fasta(sheet: Path) -> None:
    assert read(sheet, "sample\treads\na\ts.fq\n")["a"].options == ["--reads", "s.fq"]


PLAIN = "sample\tfasta\na\tone.fa\n"
READS = "sample\tfasta\treads\treads_2\tinterleaved\tlabels\n"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffsample\tfasta\r\na\tone.fa\r\n",
        "sample\tfasta\ra\tone.fa",
        "sample\tfasta\n\n\t\n \t \na\tone.fa\n\t\t\t\n",
        "sample\tfasta\t\t\r\na\tone.fa\t\t\r\n",
        "sample\tfasta\na\tone.fa\t\t\t\n",
        "#sample\tfasta\na\tone.fa\n",
        "# made by hand\n# sample\tfasta\n#b\ttwo.fa\na\tone.fa\n",
        "#sample\tfasta\tlabels\nsample\tfasta\na\tone.fa\n",
        "Sample\tFASTA\na\tone.fa\n",
        ' "sample" \tfasta \n"a"\t\'one.fa\'\n',
        "sample\tfasta\na \t one.fa \n",
        "sample\tfasta\n\u00a0a\t\"one.fa \"\u00a0\n",
        "fasta\tsample\none.fa\ta\n",
        "sample\tNotes\tfasta\tcomment\tdescription\na\t\x1bnew\tone.fa\t\t\n",
        "sample\tfasta\tattention\tlabels\na\tone.fa\n",
        "sample\tfasta\na\t./one.fa\n",
    ],
)  # fmt: skip
def test_what_is_plain_is_read(text: str, sheet: Path) -> None:
    [sample] = read(sheet, text).values()
    assert sample.name == "a" and sample.paths == ["one.fa"] and sample.attention is None and sample.labels == []


def test_names_and_values_that_are_no_numbers_and_quotes_that_belong_to_a_name(sheet: Path) -> None:
    text = 'sample\tfasta\tattention\n001\tone.fa\tFlash\n1.10\ta "b.fa\t\nx\t"say ""hi"".fa"\t\ny\t./ \'c\'\t\n'
    samples = read(sheet, text)
    assert list(samples) == ["001", "1.10", "x", "y"] and samples["001"].attention == "flash"
    assert [sample.paths for sample in samples.values()] == [["one.fa"], ['a "b.fa'], ['say "hi".fa'], [" 'c'"]]


def test_a_value_of_a_sample_may_be_in_one_of_its_rows(sheet: Path) -> None:
    text = "sample\tfasta\tattention\tlabels\na\tone.fa\t\tl.tsv\na\ttwo.fa\tstandard\tl.tsv\n"
    assert read(sheet, text)["a"].attention == "standard" and read(sheet, text)["a"].labels == ["l.tsv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column sample, fasta or reads; give a tab-separated table with a header"),
        ("sample,fasta\na,one.fa\n", "line 1: no column sample, fasta or reads; give a tab-separated table"),
        ("sample fasta\na one.fa\n", "line 1: no column sample, fasta or reads; give a tab-separated table"),
        ("sample\tfasta\n", "s.tsv: no sample; add a row with sample and fasta"),
        (PLAIN + "b two.fa\n", "line 3: 1 field under 2 columns; separate them with tabs"),
        (PLAIN + "b\ttwo.fa\tx\n", "line 3: 3 fields under 2 columns; separate them with tabs"),
        ("sample\tfasta\t\na\tone.fa\tx\n", "line 2: 3 fields under 2 columns"),
        ("sample\t\tfasta\na\tx\tone.fa\n", "line 2: 'x' is in a column without a name; name it or remove it"),
        ("sample\tfasta\tatention\na\tone.fa\t\n", "line 1: column 'atention' is not known; did you mean attention?"),
        ("sample\tfasta\tzzz\na\tone.fa\t\n", "known are sample, fasta, reads, reads_2, interleaved, attention, lab"),
        ("sample\tfasta\tnotes\tNotes\n", "line 1: column notes is there twice; remove one"),
        ("sample\tfasta\tfasta\na\tone.fa\ttwo.fa\n", "line 1: column fasta is there twice; remove one"),
        ("sample\tfasta\n\tone.fa\n", "line 2: no name of a sample; give one in each row"),
        ("sample\treads_2\na\ts.fq\n", "line 1: no column fasta or reads; give a tab-separated table"),
        (READS + "a\n", "line 2: 1 field under 6 columns; separate them with tabs"),
        (READS + "a\tone.fa\ts.fq\n", "line 2: fasta and reads in one row; give each a row of its own"),
        (READS + "a\tone.fa\t\tl.fq\n", "line 2: fasta and reads in one row; give each a row of its own"),
        (READS + "a\t\t\tt.fq\n", "line 2: reads_2 without reads; give the file of the first reads of the pairs"),
        (READS + "a\t\ts.fq\tt.fq\tyes\n", "line 2: interleaved is for pairs in one file; give that in reads"),
        (READS + "a\tone.fa\t\t\tyes\n", "line 2: interleaved is for pairs in one file; give that in reads"),
        (READS + "a\t\ts.fq\t\tmaybe\n", "line 2: interleaved 'maybe' is not known; use yes, or leave it empty"),
        (READS + "a\t\ts.bam\t\tyes\n", "line 2: BAM says itself which reads are mates; leave reads_2 and interleaved"),
        (READS + "a\t\ts.fq\tt.bam\n", "line 2: BAM says itself which reads are mates; leave reads_2 and interleaved"),
        (READS + "a\t\ts.fq\t\t\tl.tsv\n", "line 2: sample 'a' has labels, which are not for reads; leave them"),
        (READS + "a\t\ts.fq\na\tone.fa\t\t\t\tl.tsv\n", "line 3: sample 'a' has labels, which are not for reads;"),
        (READS + "a\t\ts.fq\ts.fq\n", "line 2: sample 'a' names a file twice, here and in line 2; remove one"),
        (READS + "a\t\ts.fq\na\t\tt.fq\ts.fq\n", "line 3: sample 'a' names a file twice, here and in line 2;"),
        (READS + "a\t\ts.fq\thttps://x.org/y.fq\n", "line 2: 'https://x.org/y.fq' is an address (https://); download"),
        (READS + "a\t\ts\x1b.fq\n", "line 2: reads 's\\x1b.fq' has the control character U+001B; remove it"),
        ("sample\tfasta\na\t\n", "line 2: no fasta and no reads; give the path of a FASTA or GenBank file, or"),
        ("sample\tfasta\nsoil 1\tone.fa\n", "line 2: sample 'soil 1': use letters (a to z), digits, '.', '_' and '-'"),
        ("sample\tfasta\nBöden\tone.fa\n", "line 2: sample 'Böden': use letters (a to z)"),
        ("sample\tfasta\n../a\tone.fa\n", "line 2: sample '../a': use letters"),
        ("sample\tfasta\n" + "xy" * 125 + "\tone.fa\n", "250 letters; use at most 100"),
        ("sample\tfasta\n" + "A" * 27 + "\tone.fa\n", "ends in 20 times 'A'; choose another name"),
        ("sample\tfasta\nSummary.tsv\tone.fa\n", "results/ has a file of this name; choose another"),
        ("sample\tfasta\na\0\tone.fa\n", "line 2: sample 'a\\x00' has the control character U+0000; remove it"),
        ("sample\tfasta\na\u2028b\tone.fa\n", "line 2: sample 'a\\u2028b' has the control character U+2028; remove it"),
        ("sample\tfasta\na\tone\x1b[31m.fa\n", "line 2: fasta 'one\\x1b[31m.fa' has the control character U+001B"),
        ("sample\tfasta\ns1\tone.fa\nS1\tone.fa\n", "line 3: sample 'S1' differs only in case from 's1' of line 2"),
        ("sample\tfasta\na\thttps://x.org/y.fa\n", "line 2: 'https://x.org/y.fa' is an address (https://); download"),
        (PLAIN + "a\tone.fa\n", "line 3: sample 'a' names a file twice, here and in line 2; remove one"),
        (PLAIN + "a\tf/../one.fa\n", "line 3: sample 'a' names a file twice, here and in line 2; remove one"),
        (PLAIN + "a\tlink.fa\n", "line 3: sample 'a' names a file twice, here and in line 2; remove one"),
        (PLAIN + "a\tno.fa\na\tx/../no.fa\n", "line 4: sample 'a' names a file twice, here and in line 3; remove one"),
        ("sample\tfasta\tattention\na\tone.fa\tfast\n", "line 2: attention 'fast' is not known; use flash or standard"),
        (
            "sample\tfasta\tattention\na\tone.fa\tflash\na\ttwo.fa\tstandard\n",
            "line 3: sample 'a' has several values of attention; use one",
        ),
        (
            "sample\tfasta\tlabels\na\tone.fa\tx\na\ttwo.fa\ty\n",
            "line 3: sample 'a' has several values of labels; use one",
        ),
        ("sample\tfasta\na\tone.fa\n".encode("utf-16"), "line 1: UTF-16; save the table as tab-separated text"),
        ("sample\tfasta\nBöden\tone.fa\n".encode("latin-1"), "line 2: not UTF-8; save the table as tab-separated text"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(text: str | bytes, message: str, sheet: Path) -> None:
    Path("f").mkdir()
    Path("link.fa").symlink_to("one.fa")
    [line] = refusal(sheet, text)
    assert message in line and line.startswith("samples: s.tsv") and len(line) < 300


def test_all_rows_that_are_wrong_are_named_at_once_up_to_ten(sheet: Path) -> None:
    lines = refusal(sheet, "sample\tfasta\n" + "a!\tone.fa\n" * 3)
    assert [line.split(": ")[1] for line in lines] == ["s.tsv, line 2", "s.tsv, line 3", "s.tsv, line 3"] + [
        "s.tsv, line 4"
    ] * 2
    lines = refusal(sheet, "sample\tfasta\n" + "".join(f"a!{number}\tone.fa\n" for number in range(5000)))
    assert len(lines) == 11 and lines[-1] == "and 4990 more problems"


def test_a_header_below_a_row_is_none(sheet: Path) -> None:
    lines = refusal(sheet, "a\tone.fa\n#sample\tfasta\nb\ttwo.fa\n")
    assert lines[-1].startswith("samples: s.tsv, line 1: no column sample, fasta or reads;")


def test_a_sheet_that_is_none(sheet: Path) -> None:
    for path, message in [
        ("nowhere.tsv", "samples: nowhere.tsv: there is no such file; check the path"),
        ("~/s.tsv", "samples: ~/s.tsv: there is no such file; a home folder or variable is not expanded here"),
        (".", "samples: .: is a folder; give a tab-separated table in UTF-8"),
        ("/dev/zero", "samples: /dev/zero: is no table of samples;"),
        ("x" * 5000, "File name too long"),
    ]:
        with pytest.raises(PlanningError) as error:
            read_samples(path)
        assert message in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


@settings(deadline=None, derandomize=True)
@given(st.text("Ab.", min_size=1, max_size=5), st.integers(1, 30), st.text("Ab.", max_size=40))
def test_names_that_trip_snakemake_are_those_that_are_refused(unit: str, times: int, before: str) -> None:
    name = (before + unit * times)[:100]
    assert bool(REPEATS.search(name)) == bool(PeriodicityDetector().is_periodic(name))


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200) | st.text("sample\tfasta\n\r\"'# ,a/\0\u2028{}", max_size=60).map(str.encode))
def test_any_bytes_are_a_sheet_or_are_refused_in_short_lines(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    sheet = tmp_path_factory.getbasetemp() / "any.tsv"
    for content in (data, b"sample\tfasta\n" + data):
        sheet.write_bytes(content)
        try:
            samples = read_samples(str(sheet))
        except PlanningError as error:
            assert len(str(error)) < 10_000 and str(error).replace("\n", "").isprintable()
        else:
            assert all(sample.paths and all(sample.paths) for sample in samples.values())


def test_the_example_of_the_repository() -> None:
    assert read_samples(str(REPOSITORY / "config" / "samples.tsv"))

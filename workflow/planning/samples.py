"""The sample sheet: a row for each input file, as text editors, shells and Excel write it."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from planning.messages import PlanningError, control_character, named, nearest, shown
from planning.paths import arguments, hint, identity, plain

INPUTS = ("fasta", "reads", "reads_2")  # columns of files with sequences
COLUMNS = ("sample", *INPUTS, "interleaved", "attention", "labels")
LEAST_FIELDS = 2  # of a row: a sample and a file
YES, NO = ("yes", "true"), ("", "no", "false")  # values of `interleaved`
REMARKS = ("notes", "comment", "description")  # columns for the user alone
ATTENTIONS = ("flash", "standard")
MOST_BYTES = 50_000_000
FILES_OF_RESULTS = ("summary.tsv", "report.html")  # beside the samples' folders
LONGEST_NAME = 100  # of a sample; file systems take 255 bytes, with what the rules add
# Snakemake takes a wildcard's value that ends in 20 repeats of anything for an endless recursion.
REPEATS = re.compile(r"(.+)\1{19}$")


@dataclass(frozen=True)
class InputFile:
    """A path that the sheet names, in its `column` (one of INPUTS, or labels), and where.

    `layout` is the option by which programs are given its sequences; labels have none.
    """

    path: str
    column: str
    sheet: str
    line: int
    layout: str = ""

    @property
    def place(self) -> str:
        """How a message about this path begins."""
        return place(self.sheet, self.line)


@dataclass
class Sample:
    """A sample of the sheet; `attention` is None where the sheet leaves it to the config."""

    name: str
    line: int
    files: list[InputFile] = field(default_factory=list)
    attention: str | None = None

    @property
    def inputs(self) -> list[InputFile]:
        """The files with sequences, in the sheet's order."""
        return [file for file in self.files if file.layout]

    @property
    def paths(self) -> list[str]:
        """The paths of the files with sequences."""
        return [file.path for file in self.inputs]

    @property
    def options(self) -> list[str]:
        """The files with sequences as programs take them: an option for all of a layout that follow one another, and
        for each two files of pairs."""
        groups = groupby(self.inputs, key=lambda file: (file.layout, file.line if file.layout == "paired" else 0))
        return [word for (layout, _), files in groups for word in (f"--{layout}", *arguments(f.path for f in files))]

    @property
    def has_reads(self) -> bool:
        """Whether any of the files are of reads."""
        return any(file.layout != "fasta" for file in self.inputs)

    @property
    def may_have_pairs(self) -> bool:
        """Whether any of the reads are of pairs; of BAM, only the file itself says it."""
        return any(file.layout in ("paired", "interleaved") or is_bam(file.path) for file in self.inputs)

    @property
    def labels(self) -> list[str]:
        """The path of the table of labels, or nothing."""
        return [file.path for file in self.files if file.column == "labels"]


@dataclass(frozen=True)
class Row:
    """Cleaned fields of a line; those of optional columns may be empty."""

    line: int
    sample: str
    fasta: str = ""
    reads: str = ""
    reads_2: str = ""
    interleaved: str = ""
    attention: str = ""
    labels: str = ""

    @property
    def layout(self) -> str:
        """What the files of the row are, as the options of programs are called."""
        if self.fasta:
            return "fasta"
        return "paired" if self.reads_2 else "interleaved" if self.interleaved in YES else "reads"


def place(sheet: str, line: int) -> str:
    """How a problem begins that is in this line of the sheet."""
    return f"samples: {named(sheet)}, line {line}"


def read_samples(sheet: str) -> dict[str, Sample]:
    """The samples by their names, in the sheet's order. PlanningError names all that is wrong, each with its line."""
    problems: list[tuple[int, str]] = []  # with their lines
    rows = _rows(sheet, problems)
    samples: dict[str, Sample] = {}
    folded: dict[str, Sample] = {}
    first_files: dict[tuple[str, object], InputFile] = {}
    for row in rows:
        problems += [(row.line, problem) for problem in _row_problems(row)]
        sample = samples.setdefault(row.sample, Sample(row.sample, row.line))
        other = folded.setdefault(row.sample.casefold(), sample)
        if sample.line == row.line and other is not sample:
            problem = f"sample {shown(row.sample)} differs only in case from {shown(other.name)} of line {other.line}"
            problems.append((row.line, f"{problem}; rename one, as some disks hold both for the same"))
        for column in INPUTS:
            if not (path := getattr(row, column)):
                continue
            file = InputFile(path, column, sheet, row.line, row.layout)
            first = first_files.setdefault((row.sample, identity(path)), file)
            if first is not file:
                problem = f"sample {shown(row.sample)} names a file twice, here and in line {first.line}; remove one"
                problems.append((row.line, problem))
            sample.files.append(file)
        if row.labels and row.labels not in sample.labels:
            if sample.labels:
                problems.append((row.line, f"sample {shown(row.sample)} has several values of labels; use one"))
            sample.files.append(InputFile(row.labels, "labels", sheet, row.line))
        if row.attention:
            if sample.attention not in (None, row.attention):
                problems.append((row.line, f"sample {shown(row.sample)} has several values of attention; use one"))
            sample.attention = row.attention
    for sample in samples.values():
        if sample.labels and sample.has_reads:
            problem = f"sample {shown(sample.name)} has labels, which are not for reads; leave them empty"
            problems.append((next(file.line for file in sample.files if file.column == "labels"), problem))
    if problems:
        raise PlanningError(*(f"{place(sheet, line)}: {problem}" for line, problem in sorted(problems)))
    if not samples:
        raise PlanningError(f"samples: {named(sheet)}: no sample; add a row with sample and fasta or reads")
    return samples


def _text(sheet: str) -> str:
    """The whole sheet, decoded."""
    start = f"samples: {named(sheet)}"
    try:
        status = Path(sheet).stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            what = "is a folder" if stat.S_ISDIR(status.st_mode) else "is no table of samples"
            raise PlanningError(f"{start}: {what}; give a tab-separated table in UTF-8")
        data = Path(sheet).read_bytes()
    except FileNotFoundError:
        raise PlanningError(f"{start}: there is no such file; {hint(sheet)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PlanningError(f"{start}: {reason}; give a tab-separated table in UTF-8") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        why = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        raise PlanningError(f"{start}, line {line}: {why}; save the table as tab-separated text in UTF-8") from None


def _rows(sheet: str, problems: list[tuple[int, str]]) -> Iterator[Row]:
    """The rows below the header, without comments and blank lines."""
    lines = enumerate(re.split(r"\r\n|\n|\r", _text(sheet)), start=1)
    table = [(number, [_clean(part) for part in line.split("\t")]) for number, line in lines]
    table = [(number, fields) for number, fields in table if any(fields)]
    first, columns = _header(sheet, table)
    for number, fields in table:
        if number <= first or fields[0].startswith("#"):
            continue
        while len(fields) > len(columns) and not fields[-1]:
            fields.pop()
        if len(fields) > len(columns) or len(fields) < LEAST_FIELDS:
            count = f"{len(fields)} field{'s' * (len(fields) > 1)}"
            problems.append((number, f"{count} under {len(columns)} columns; separate them with tabs"))
            continue
        row = dict(zip(columns, fields + [""] * (len(columns) - len(fields)), strict=True))
        if row.get("", ""):
            problems.append((number, f"{shown(row[''])} is in a column without a name; name it or remove it"))
        row |= {name: plain(row[name]) for name in (*INPUTS, "labels") if name in row}
        row |= {name: row[name].lower() for name in ("interleaved", "attention") if name in row}
        yield Row(number, **{name: value for name, value in row.items() if name in COLUMNS})


def _header(sheet: str, table: list[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """The line of the header, which may begin with #, and its columns, "" for those without a name."""
    first = next((index for index, (_, fields) in enumerate(table) if fields[0][:1] != "#"), len(table))
    candidates = [*table[first : first + 1], *reversed(table[:first])]
    headers = [(number, fields) for number, fields in candidates if not _missing(_names(fields))]
    number, fields = [*headers, *candidates, (1, [])][0]
    names = _names(fields)
    start = place(sheet, number)
    problems = [
        f"{start}: column {shown(name)} is not known; {nearest(name, (*COLUMNS, *REMARKS))}"
        for name in dict.fromkeys(names)
        if name and name not in COLUMNS + REMARKS
    ]
    named_twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    problems += [f"{start}: column {named(name)} is there twice; remove one" for name in named_twice]
    if missing := _missing(names):
        if len(fields) < 2:  # most likely of commas or blanks
            problems = []
        problems.append(f"{start}: no column {', '.join(missing)}; give a tab-separated table with a header")
    if problems:
        raise PlanningError(*problems)
    while names and not names[-1]:
        names.pop()
    return number, names


def _missing(names: list[str]) -> list[str]:
    """The columns that a sheet must have and that are not among these."""
    return ["sample"] * ("sample" not in names) + ["fasta or reads"] * (not {"fasta", "reads"} & set(names))


def _names(fields: list[str]) -> list[str]:
    """Names of columns as a header has them, in any case, the first perhaps after a #."""
    return [name.lstrip("# ").lower() if index == 0 else name.lower() for index, name in enumerate(fields)]


def _clean(text: str) -> str:
    """A field without the blanks and the quotes around it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"').strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].strip()
    return text


def _row_problems(row: Row) -> Iterator[str]:
    for name in COLUMNS:
        value = getattr(row, name)
        if control := control_character(value):
            yield f"{name} {shown(value)} has the control character {control}; remove it"
            return
    if not row.sample:
        yield "no name of a sample; give one in each row"
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", row.sample):
        allowed = "letters (a to z), digits, '.', '_' and '-'"
        yield f"sample {shown(row.sample)}: use {allowed}, and begin with a letter or digit"
    elif row.sample.casefold() in FILES_OF_RESULTS:
        yield f"sample {shown(row.sample)}: results/ has a file of this name; choose another"
    elif len(row.sample) > LONGEST_NAME:
        yield f"sample {shown(row.sample)}: {len(row.sample)} letters; use at most {LONGEST_NAME}"
    elif repeats := REPEATS.search(row.sample):
        yield f"sample {shown(row.sample)} ends in 20 times {shown(repeats[1])}; choose another name"
    yield from _problems_of_files(row)
    if row.attention not in ("", *ATTENTIONS):
        yield f"attention {shown(row.attention)} is not known; use {' or '.join(ATTENTIONS)}, or leave it empty"
    for path in filter(None, (*(getattr(row, column) for column in INPUTS), row.labels)):
        if address := re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
            yield f"{shown(path)} is an address ({address[0]}); download the file and give its path"


def _problems_of_files(row: Row) -> Iterator[str]:
    """Of a row's files with sequences."""
    if not row.fasta and not row.reads and not row.reads_2:
        yield "no fasta and no reads; give the path of a FASTA or GenBank file, or of a FASTQ or BAM file of reads"
    if row.fasta and (row.reads or row.reads_2):
        yield "fasta and reads in one row; give each a row of its own"
        return
    if row.reads_2 and not (row.reads or row.fasta):
        yield "reads_2 without reads; give the file of the first reads of the pairs in reads"
    if row.interleaved not in (*YES, *NO):
        yield f"interleaved {shown(row.interleaved)} is not known; use yes, or leave it empty"
    if row.interleaved in YES and (row.reads_2 or not row.reads):
        yield "interleaved is for pairs in one file; give that in reads, and leave fasta and reads_2 empty"
    if (row.reads_2 or row.interleaved in YES) and any(map(is_bam, (row.reads, row.reads_2))):
        yield "BAM says itself which reads are mates; leave reads_2 and interleaved empty"


def is_bam(path: str) -> bool:
    """Whether a file is called as BAM files are, which `split_fasta` holds it to."""
    return path.endswith(".bam")

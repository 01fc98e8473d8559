"""The estimate of a run: what it has to compute, how long that takes, and what room; before anything is computed."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from planning import cost
from planning.batches import Scope
from planning.cost import MEASURED_CARD, Work
from planning.messages import PlanningError
from planning.samples import Sample
from planning.sizes import matrix_values
from virnucflow.cli import one_line
from virnucflow.files.progress import in_time

MOST_SECONDS = 120  # to count
COUNTED = ("sequences", "bases", "chunks", "frames", "residues")  # what the table has of the counts
OTHER_CARD = "A100"  # that is named at the start of a run, besides the one that was measured

Counts = Mapping[str, tuple[float, float]]  # value and 95 % error of each quantity


class Row(NamedTuple):
    """A row of results/estimate.tsv. `basis`: counted, sampled, planned, measured or projected."""

    sample: str
    quantity: str
    value: float
    error: float
    unit: str
    card: str
    precision: str
    basis: str


@dataclass(frozen=True)
class Run:
    """A run as it is planned, and the counts of each sample and of all together.

    `scopes` are its batches with those of sampled frames, `paired` says how many samples may have pairs of reads.
    """

    pack: Mapping[str, Any]
    config: Mapping[str, Any]
    scopes: Collection[Scope]
    attentions: Mapping[str, str]
    shards: Mapping[str, int]
    gated: Collection[str]
    paired: int
    samples: Mapping[str, Counts]
    total: Counts

    def work(self, attention: str = "") -> Work:
        """What is to be embedded, of samples with an attention or of all."""
        names = [name for name, its in self.attentions.items() if attention in ("", its)]
        frames, residues, nucleotides = (
            sum(self.samples[name][quantity][0] for name in names) for quantity in ("frames", "residues", "nucleotides")
        )
        shards = {name: self.shards[name] for name in names}
        return Work(frames, residues, nucleotides, sum(shards.values()), cost.jobs_of_shards(self.scopes, shards))

    def gate_work(self) -> Work:
        """What the gate embeds once more, by standard in fp32."""
        frames = sum(min(self.config["gate"]["frames"], self.samples[name]["frames"][0]) for name in self.gated)
        jobs = cost.jobs_of_shards(self.scopes, dict.fromkeys(self.gated, 1), sampled=True)
        return self.work("flash").part(frames, len(self.gated), jobs)

    def jobs(self) -> dict[str, int]:
        """The jobs of all of it, by their rules."""
        return cost.count_jobs(self.scopes, self.shards, self.gated, self.paired)

    def error(self, quantity: str = "frames") -> float:
        """The relative error of the counts, which is that of all that is in proportion to them."""
        value, error = self.total[quantity]
        return error / value if value else 0.0

    def gpu_seconds(self, card: str, precision: str) -> float:
        """Of a card for all samples by their attentions, with the gate."""
        return (
            cost.gpu_seconds(self.pack, self.work("flash"), card, precision, self.config["attention_kernel"])
            + cost.gpu_seconds(self.pack, self.work("standard"), card, "fp32")
            + self.gate_seconds(card)
        )

    def gate_seconds(self, card: str) -> float:
        """Of a card for the gate."""
        return cost.gpu_seconds(self.pack, self.gate_work(), card, "fp32")

    def standard_seconds(self, card: str) -> float:
        """Of a card, if all samples had `attention: standard`, which needs no gate."""
        return cost.gpu_seconds(self.pack, self.work(), card, "fp32")

    def core_seconds(self) -> float:
        """Of a processor's core for the encoders, with the gate."""
        return (
            cost.core_seconds(self.pack, self.work("flash"), "flash")
            + cost.core_seconds(self.pack, self.work("standard"), "standard")
            + cost.core_seconds(self.pack, self.gate_work(), "standard")
        )


def count_samples(
    program: Path, samples: Iterable[Sample], config: Mapping[str, Any], frames: str
) -> tuple[dict[str, Counts], Counts]:
    """What count_frames.py finds in the files of samples, of each and of all, by the frames that the pack takes.

    PlanningError with its last line where it fails, as in a Python that has not what it needs.
    """
    files = {
        sample.name: [
            {"layout": layout, "paths": [file.path for file in some]}
            for layout, some in groupby(sample.inputs, key=lambda file: file.layout)
        ]
        for sample in samples
    }
    with tempfile.TemporaryDirectory() as folder:
        inputs, counts = Path(folder, "inputs.json"), Path(folder, "counts.json")
        inputs.write_text(json.dumps({"samples": files, "reads": config["subsample"]["reads"]}), encoding="utf-8")
        options = ["--chunk-length", config["chunk_length"], "--scored-frames", frames, "--rna", config["rna"]]
        command = [sys.executable, program, "--inputs", inputs, "--counts", counts, *options]
        try:
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=MOST_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise PlanningError(f"counting the input's frames took more than {MOST_SECONDS} seconds") from None
        if done.returncode:
            raise PlanningError(_why(done.stderr))
        found = json.loads(counts.read_text(encoding="utf-8"))
    return found["samples"], found["run"]


def _why(stderr: str) -> str:
    last = next(reversed(stderr.strip().splitlines()), "count_frames.py was killed")
    advice = "; install envs/run.txt for the Python of snakemake" if "ModuleNotFoundError" in last else ""
    return one_line(last + advice)


def remaining(
    samples: Mapping[str, Counts], total: Counts, shares: Mapping[str, float]
) -> tuple[dict[str, Counts], Counts]:
    """The counts of what is left to embed: a share of each sample."""
    parts: dict[str, Counts] = {
        name: {quantity: (share * samples[name][quantity][0], share * samples[name][quantity][1]) for quantity in total}
        for name, share in shares.items()
    }
    of_run: dict[str, tuple[float, float]] = {}
    for quantity, (value, error) in total.items():
        left = sum(counts[quantity][0] for counts in parts.values())
        of_run[quantity] = (left, error * left / value if value else error)
    return parts, of_run


def rows(run: Run) -> Iterator[Row]:
    """The rows of results/estimate.tsv: of each sample, and of all together ones without a sample."""
    for sample, counts in [*run.samples.items(), ("", run.total)]:
        for quantity in COUNTED:
            value, error = counts[quantity]
            yield Row(sample, quantity, value, error, "", "", "", "sampled" if error else "counted")
    yield from (Row("", f"jobs {rule}", number, 0, "", "", "", "planned") for rule, number in run.jobs().items())
    yield Row("", "jobs", sum(run.jobs().values()), 0, "", "", "", "planned")
    relative = run.error()

    def projected(quantity: str, value: float, unit: str, card: str = "", precision: str = "") -> Row:
        basis = "projected" if card not in ("", MEASURED_CARD) else "measured"
        return Row("", quantity, value, relative * value, unit, card, precision, basis)

    for keep, size in room(run).items():
        yield projected(f"work, keep: {keep}", size, "bytes")
    if not any(matrix_values(run.pack).values()):
        return
    for card in cost.CARDS:
        for precision in cost.PRECISIONS:
            if (seconds := run.gpu_seconds(card, precision)) < float("inf"):
                yield projected("run", seconds / 3600, "GPU hours", card, precision)
        yield projected("gate", run.gate_seconds(card) / 3600, "GPU hours", card, "fp32")
        yield projected("attention: standard", run.standard_seconds(card) / 3600, "GPU hours", card, "fp32")
    yield projected("encoders without a GPU", run.core_seconds() / 3600, "core hours", precision="fp32")
    steps = cost.steps_seconds(run.total["frames"][0], sum(run.jobs().values()))
    yield projected("other steps", steps / 3600, "core hours")


def room(run: Run) -> dict[str, float]:
    """Bytes in work/, by the setting `keep`: of all frames, and once more of those that the gate has sampled."""
    frames = run.total["frames"][0]
    again = run.gate_work().frames / frames if frames else 0
    of_gate = {quantity: again * run.total[quantity][0] for quantity in ("rows", "frames", "residues", "nucleotides")}
    counts = {quantity: value + of_gate.get(quantity, 0) for quantity, (value, _) in run.total.items()}
    return cost.work_bytes(run.pack, counts)


def as_table(table: Iterable[Row]) -> str:
    """Rows as tab-separated text; values have so many digits as anyone can use."""
    lines = ["\t".join(Row._fields)]
    for row in table:
        numbers = [
            f"{number:.0f}" if row.unit in ("", "bytes") else f"{number:.4g}" for number in (row.value, row.error)
        ]
        lines.append("\t".join([row.sample, row.quantity, *numbers, row.unit, row.card, row.precision, row.basis]))
    return "\n".join(lines) + "\n"


def described(run: Run) -> str:
    """The estimate for people."""
    jobs = run.jobs()
    on_gpu = sum(number for rule, number in jobs.items() if rule.startswith("embed_"))
    lines = [
        "Estimate of the whole run; what is there already is not taken off.\n",
        f"{len(run.samples):,} samples, {counted(run)}",
        f"{sum(jobs.values()):,} jobs, {on_gpu:,} of which embed",
        "Room in work/: "
        + ", ".join(f"{in_bytes(size)} with keep: {keep}" for keep, size in room(run).items())
        + f"; it is {run.config['keep']}",
    ]
    if not any(matrix_values(run.pack).values()):
        return "\n".join([*lines, "How long it takes is known when the model pack is built.\n"])
    lines += ["", "GPU hours       fp16       fp8   of which the gate   attention: standard (fp32)"]
    for card in cost.CARDS:
        hours = [run.gpu_seconds(card, precision) for precision in cost.PRECISIONS]
        fp16, fp8, gate, standard = map(in_hours, [*hours, run.gate_seconds(card), run.standard_seconds(card)])
        lines.append(
            f"{card:9s}{fp16:>11}{fp8:>10}{gate:>20}{standard:>29}{'' if card == MEASURED_CARD else '   projected'}"
        )
    steps = cost.steps_seconds(run.total["frames"][0], sum(jobs.values()))
    lines += [
        "",
        f"Without a GPU the encoders take {in_hours(run.core_seconds())} core hours; "
        f"all other steps take {in_hours(steps)}",
    ]
    return "\n".join(lines) + "\n"


def words_at_start(run: Run, jobs: int, cores: int | None) -> str:
    """Three lines for the start of a run with so many jobs; `cores` are those of this machine, if they embed."""
    keep = run.config["keep"]
    if not any(matrix_values(run.pack).values()):
        time = "How long that takes is known when the model pack is built"
    elif cores:
        time = f"About {in_time(run.core_seconds() / cores)} on {cores} cores"
    else:
        asked = run.config["precision"]["flash"]
        precision = "fp16" if asked == "auto" else asked  # on a GPU
        hours = [run.gpu_seconds(MEASURED_CARD, precision), run.gpu_seconds(OTHER_CARD, precision)]
        on_other = f", {in_hours(hours[1])} on an {OTHER_CARD} (projected)" if hours[1] < float("inf") else ""
        time = (
            f"About {in_hours(hours[0])} GPU hours on an {MEASURED_CARD} in {precision}{on_other}; of which the gate "
            f"{in_hours(run.gate_seconds(MEASURED_CARD))}; attention: standard would take "
            f"{in_hours(run.standard_seconds(MEASURED_CARD))}"
        )
    rest = f"Jobs: {jobs:,}; room in work/: {in_bytes(room(run)[keep])} (keep: {keep}); snakemake estimate says more"
    return f"To embed: {counted(run)}\n{time}\n{rest}"


def counted(run: Run) -> str:
    """The counts with their error, in words."""
    numbers = ", ".join(f"{run.total[quantity][0]:,.0f} {quantity}" for quantity in ("sequences", "chunks", "frames"))
    worst = max(run.error("chunks"), run.error("frames"))
    how = f"chunks and frames ± {100 * worst:.1f} %, by a sample of the input" if worst else "all counted"
    return f"{numbers} ({how})"


def in_hours(seconds: float) -> str:
    """Hours to two digits, and a dash where there are none."""
    hours = seconds / 3600
    return "-" if hours == float("inf") else f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def in_bytes(size: float) -> str:
    """Megabytes, gigabytes or terabytes, as fits."""
    value, unit = next(
        ((size / factor, unit) for factor, unit in ((1e12, "TB"), (1e9, "GB")) if size >= factor), (size / 1e6, "MB")
    )
    return f"{value:.1f} {unit}"

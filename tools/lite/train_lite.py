"""Train a small model pack from labelled FASTA files: two encoders, of 5 million parameters together, and a classifier.

For one GPU, about ten minutes (it runs on a CPU as well, for tests). A header is
NAME|label=1|group=...|family=...|organism=...|source=...|representative=1 with label 1 for a virus; lite_data.py says
more. Of --fasta, 4 % of each group are held back, whole clusters of like sequences: they calibrate the scores and are
the figures for known families. --test-fasta is for figures alone. Both encoders first predict masked tokens, then learn
the labels of fragments of 300 to 500 bases, by a fragment's best frame, as the workflow calls chunks.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer

from lite_data import Genomes, gc_content, learn_tokenizer, read_labelled_fasta
from lite_model import LITE, LiteModel, LiteShape
from lite_training import Settings, Trainer
from virnucflow.cli import InputError, add_settings, argument_parser, log, read_settings, run, staged
from virnucflow.files.tables import write_tsv
from virnucflow.measures.discrimination import STRANDS, by_group, by_stratum
from virnucflow.measures.figures import save_reliability
from virnucflow.measures.reliability import reliability
from virnucflow.packs.pack import describe
from virnucflow.packs.pack_files import CLASSIFIER, FILES, REFERENCE
from virnucflow.packs.reference import save_reference
from virnucflow.packs.weights import save_weights
from virnucflow.published.reference_values import reference_values
from virnucflow.scoring.classifier import viral_logit
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.training.clusters import cluster, sketch
from virnucflow.training.fit import calibrate

# How much is drawn of each group, viruses and others each by themselves; of any other group, OTHER_GROUPS.
GROUPS = {
    "euk_virus": 0.50, "phage": 0.48, "prophage": 0.02,
    "plant": 0.26, "bacteria": 0.29, "vertebrate": 0.18, "invertebrate": 0.10, "fungi": 0.08, "archaea": 0.03,
    "protozoa": 0.04, "mitochondria": 0.02,
}  # fmt: skip
OTHER_GROUPS = 0.02
# Phages of actinobacteria, whose GC content is high, are most of those that are sequenced.
FEW_HOSTS, FEW_HOSTS_SHARE = "viral_phagesdb_actinophages", 0.4
UNIT_POWER, CLUSTER_POWER, SEQUENCE_POWER = 0.4, 0.5, 0.7  # below 1, the large count for less than their bases
HELD_BACK = 0.04  # of the bases of each group
LARGEST_HELD_BACK = 400_000  # bases a cluster
LENGTHS = (500, 300)
KNOWN = "known families"  # the set that is held back
SCORERS = ("both", "nucleotide alone", "protein alone")
LOGITS = [*SCORERS, *STRANDS]  # a strand's is by both encoders
EVALUATED = 4096  # fragments at a time


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--fasta", type=Path, nargs="+", required=True, help="labelled sequences to train on")
    parser.add_argument("--test-fasta", type=Path, nargs="*", default=[], help="labelled sequences for figures alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hidden", type=int, default=LITE.hidden, help=f"of the classifier; default: {LITE.hidden}")
    add_settings(parser, Settings)
    parser.add_argument("--about", default="", help="for pack.json: what the sequences are, and the pack is good for")
    parser.add_argument("--licence", default="MIT", help="of the pack; default: MIT")
    parser.add_argument("--model", type=Path, required=True, help="directory of the pack, to be written")
    return parser.parse_args()


def hold_back(table: pd.DataFrame, seed: int) -> np.ndarray:
    """True for whole clusters of about HELD_BACK of each group's bases."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(table), dtype=bool)
    bases = table.groupby("cluster")["length"].sum()
    for _, members in table.groupby("group"):
        wanted = HELD_BACK * members["length"].sum()
        for name in random.permutation(members["cluster"].unique()):
            if wanted <= 0:
                break
            if bases[name] < LARGEST_HELD_BACK:
                held |= (table["cluster"] == name).to_numpy()
                wanted -= bases[name]
    return held


def weights(table: pd.DataFrame) -> np.ndarray:
    """How often each sequence is drawn, other things being equal.

    A group has its share, then each family, or each cluster where there is none, or each organism and source of others,
    then each cluster in it, then each sequence; the large count for less than their bases.
    """
    table = table.reset_index(drop=True)
    few_hosts = (table["source"] == FEW_HOSTS) | table["family"].str.startswith("cluster_")
    kind = np.where(table["group"] != "phage", "", np.where(few_hosts, "few", "many"))
    no_family = (table["family"] == "") | table["family"].str.startswith("cluster_")
    unit = table["family"].mask(no_family, "cluster " + table["cluster"].astype(str))
    unit = unit.where(table["label"] == 1, table["organism"] + " " + table["source"])
    found = np.zeros(len(table))
    for (group, of), members in table.groupby(["group", kind]):
        share = GROUPS.get(group, OTHER_GROUPS) * {"": 1, "few": FEW_HOSTS_SHARE, "many": 1 - FEW_HOSTS_SHARE}[of]
        units = members.groupby(unit)["length"].sum() ** UNIT_POWER
        for name, parts in members.groupby(unit):
            clusters = parts.groupby("cluster")["length"].sum() ** CLUSTER_POWER
            of_cluster = parts["cluster"].map(clusters / clusters.sum())
            of_sequence = parts["length"] / parts.groupby("cluster")["length"].transform("sum")
            found[parts.index] = share * units[name] / units.sum() * of_cluster * of_sequence
    even = pd.Series(found**SEQUENCE_POWER).groupby(table["group"])
    return (
        even.transform(lambda w: w / w.sum()) * pd.Series(found).groupby(table["group"]).transform("sum")
    ).to_numpy()


def check_sets(table: pd.DataFrame, sets: dict[str, np.ndarray]) -> None:
    """InputError when a set has no chunk of full length, or the one that calibrates none of a label."""
    long = (table["length"] >= max(LENGTHS)).to_numpy()
    for name, rows in sets.items():
        labels = set(table["label"][rows & long])
        if not labels or (name == KNOWN and len(labels) < 2):
            what = f"those held back of --fasta ({name})" if name == KNOWN else "those of --test-fasta"
            raise InputError(
                f"{what}: no sequence of {max(LENGTHS)} bases or more"
                f"{f' with label={1 - labels.pop()}' if labels else ''}; give more sequences, and longer ones"
            )


@torch.inference_mode()
def score(model: LiteModel, genomes: Genomes, table: pd.DataFrame, rows: np.ndarray, length: int) -> pd.DataFrame:
    """The workflow's chunks of full length of some sequences: which, label, group, family, frames, gc, and best logits.

    These are by each scorer, and by the first over the frames of either strand; -inf where there are none.
    """
    offset = genomes.offset.cpu().numpy()
    starts, owners = [], []
    for row in rows:
        chunks = [a for a, b in chunk_coordinates(int(table["length"].iat[row]), length) if b - a == length]
        starts += [offset[row] + a for a in chunks]
        owners += [row] * len(chunks)
    found = []
    for part in torch.tensor(starts, dtype=torch.long, device=genomes.device).split(EVALUATED):
        letters = genomes.fragments(part, length)
        best = torch.full((len(part), len(LOGITS)), -torch.inf, device=genomes.device)
        frames = torch.zeros(len(part), device=genomes.device)
        for fragment, strand, protein, nucleotide in genomes.frames(letters):
            if len(fragment):
                n, p = model.means(nucleotide, protein, torch.float32)
                logits = model.classifier(torch.cat([n, p], 1))
                d = [viral_logit(logits), *(head(x)[:, 0] for head, x in zip(model.alone, (n, p)))]
                d += [d[0].masked_fill(strand != one, -torch.inf) for one in range(len(STRANDS))]
                best.scatter_reduce_(0, fragment[:, None].expand(-1, len(d)), torch.stack(d, 1), "amax")
                frames += torch.bincount(fragment, minlength=len(part))
        found.append(torch.cat([best, frames[:, None], gc_content(letters)[:, None]], 1).cpu())
    scores = pd.DataFrame(torch.cat(found).numpy(), columns=[*LOGITS, "frames", "gc"])
    fields = {name: table[name].to_numpy()[owners] for name in ("label", "group", "family")}
    return scores.assign(sequence=owners, **fields)


def evaluate(
    scores: dict[tuple[str, int], pd.DataFrame], scale: float, shift: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures by set, length, scorer and group, of the first scorer by stratum too, over the chunks with a frame.

    And the reliability of the first scorer by set and length. Prophages are a group, and in nothing else.
    """
    tables, bins = {}, {}
    for (name, length), found in scores.items():
        has_frame = np.isfinite(found[SCORERS[0]])
        logits = found[LOGITS].replace(-np.inf, np.nan) * scale + shift
        found = found.assign(viral=found["label"] == 1, **(1 / (1 + np.exp(-logits))))[has_frame]
        for scorer in SCORERS:
            part = found.assign(score=found[scorer])
            others = part[part["group"] != "prophage"]
            only = by_group(part[(part["group"] == "prophage") | ~part["viral"]])
            by = [by_group(others), only[only["value"] == "prophage"]]
            if scorer == SCORERS[0]:
                by.append(by_stratum(others))
                bins[name, length] = reliability(others["viral"], others["score"])
            tables[name, length, scorer] = pd.concat(by).assign(without_frame=1 - has_frame.mean())
    return (
        pd.concat(tables, names=["set", "length", "scorer"]).droplevel(-1).reset_index(),
        pd.concat(bins, names=["set", "length"]).droplevel(-1).reset_index(),
    )


def quality(figures: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The first scorer's figures over all and by group, by set and length, as pack.json has them."""
    chosen = figures[(figures["scorer"] == SCORERS[0]) & figures["by"].isin(["all", "group"])]
    named = chosen.set_index(chosen["set"] + ", " + chosen["length"].astype(str) + " bases, " + chosen["value"])
    return json.loads(named.drop(columns=["set", "length", "scorer", "by", "value"]).to_json(orient="index"))


def write_pack(
    arguments: argparse.Namespace, model: LiteModel, shape: LiteShape, tokenizer: Tokenizer, figures: pd.DataFrame,
    bins: pd.DataFrame, made: dict[str, Any],
) -> None:  # fmt: skip
    """The pack: encoders in half precision, classifier, tokenizer, description, and the table of figures."""
    content = {
        "name": arguments.model.name,
        "trained": True,
        "chunk_lengths": LENGTHS,
        "esm2": asdict(shape.esm2),
        "dnabert_s": asdict(shape.dnabert_s),
        "provenance": " ".join(filter(None, ["train_lite.py.", arguments.about, json.dumps(made)])),
        "licence": arguments.licence,
        "quality": quality(figures),
    }
    reference = reference_values(model.protein.esm2, model.nucleotide.dnabert_s, tokenizer, model.classifier)
    names = (*FILES, "pack.json", "evaluation.tsv", "reliability.tsv", "reliability.svg")
    with staged(*(arguments.model / name for name in names)) as partial:
        paths = dict(zip(names, partial))
        save_weights(model.protein.esm2.half(), paths["esm2.safetensors"])
        save_weights(model.nucleotide.dnabert_s.half(), paths["dnabert_s.safetensors"])
        tokenizer.save(str(paths["tokenizer.json"]))
        save_weights(model.classifier, paths[CLASSIFIER])
        save_reference(reference, paths[REFERENCE])
        paths["pack.json"].write_text(describe(content, {name: paths[name] for name in FILES}), encoding="utf-8")
        write_tsv(figures, paths["evaluation.tsv"])
        write_tsv(bins, paths["reliability.tsv"])
        save_reliability(bins, paths["reliability.svg"])


def main() -> None:
    arguments = parse_arguments()
    settings = read_settings(arguments, Settings)
    torch.manual_seed(settings.seed)
    table, letters = read_labelled_fasta([*arguments.fasta, *arguments.test_fasta])
    table["cluster"] = cluster(map(sketch, letters))
    test = table["file"].isin(map(str, arguments.test_fasta)).to_numpy()
    held = np.zeros(len(table), dtype=bool)
    held[~test] = hold_back(table[~test], settings.seed)
    weight = np.zeros(len(table))
    weight[~test & ~held] = weights(table[~test & ~held])
    log.info("%d sequences to train on, %d held back, %d to test", (~test & ~held).sum(), held.sum(), test.sum())
    sets = {KNOWN: held & (table["representative"] != "0").to_numpy()}
    if arguments.test_fasta:
        sets["test"] = test
    check_sets(table, sets)
    tokenizer = learn_tokenizer(letters, weight, settings.seed)
    genomes = Genomes(table, letters, tokenizer, torch.device(arguments.device))
    shape = replace(LITE, hidden=arguments.hidden)
    model = LiteModel(shape, genomes, settings.dropout).to(genomes.device)
    model = Trainer(model, genomes, weight, settings).run()
    for encoder in (model.protein.esm2, model.nucleotide.dnabert_s):
        encoder.half().float()  # what is evaluated is what the pack will have
    scores = {
        (name, length): score(model, genomes, table, np.flatnonzero(rows), length)
        for name, rows in sets.items()
        for length in LENGTHS
    }
    known = pd.concat(scores[KNOWN, length] for length in LENGTHS)
    known = known[np.isfinite(known[SCORERS[0]])]
    scale, shift = calibrate(model.cpu().classifier, known[SCORERS[0]].to_numpy(), (known["label"] == 1).to_numpy())
    figures, bins = evaluate(scores, scale, shift)
    made = {
        "fasta": dict(Counter(Path(file).name for file in table["file"])),
        "held_back": int(held.sum()),
        "settings": asdict(settings),
        "calibration": {"scale": scale, "shift": shift},
    }
    write_pack(arguments, model, shape, tokenizer, figures, bins, made)
    log.info("%s: %s", arguments.model, figures[figures["by"] == "all"].to_string(index=False))


if __name__ == "__main__":
    run(main)

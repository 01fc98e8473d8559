"""Training of the classifier as VirNucPro v1 trained it, but seeded, with its best weights kept, and calibrated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from sklearn.linear_model import LogisticRegression
from torch import nn

from virnucflow.cli import InputError, log
from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.files.tables import VIRUS
from virnucflow.packs.pack import Calibration, Scaling, SequenceScaling, Spread
from virnucflow.scoring.classifier import MLPClassifier, viral_logit

EVALUATED = 8192  # frames at a time, where nothing is learned
PIECES = (1, 2, 4, 6, 10, 20, 40)  # chunks of the pieces of sequences that the scores of sequences are calibrated by
LEAST_SEQUENCES = 3  # of either label, that have pieces of so many chunks: of fewer nothing is learned
LEAST_CHUNKS = 5  # of the sequences that tell how far chunks of one lie apart; fewer overlap by a quarter and more
MOST_DEGREES = 1000.0  # of freedom that a deviation is known by, where all sequences have the same


@dataclass(frozen=True)
class Settings:
    """v1's hyper-parameters: stochastic gradient descent with momentum, its rate times `decay` every `decay_epochs`."""

    hidden: int = 512
    learning_rate: float = 2e-4
    momentum: float = 0.9
    batch: int = 32
    epochs: int = 200
    patience: int = 5  # epochs without a smaller loss on the validation frames
    decay: float = 0.85
    decay_epochs: int = 10
    seed: int = 0


def fit(
    features: torch.Tensor, viral: torch.Tensor, train: np.ndarray, validation: np.ndarray, settings: Settings
) -> MLPClassifier:
    """The classifier with the smallest loss on the validation rows.

    `features` (frames, width) float32, `viral` (frames) int64 0 or 1, `train` and `validation` their rows. The same
    input and settings give the same weights on a CPU.
    """
    torch.manual_seed(settings.seed)
    shuffled = torch.Generator().manual_seed(settings.seed)
    classifier = MLPClassifier(features.shape[1], settings.hidden)
    for layer in (classifier.hidden_layer, classifier.output_layer):
        nn.init.xavier_uniform_(layer.weight)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, settings.decay_epochs, settings.decay)
    least, best, best_epoch = float("inf"), {}, 0
    for epoch in range(1, settings.epochs + 1):
        classifier.train()
        for batch in torch.from_numpy(train)[torch.randperm(len(train), generator=shuffled)].split(settings.batch):
            if len(batch) > 1:  # one row has no variance for the batch norm
                optimizer.zero_grad()
                F.cross_entropy(classifier(features[batch]), viral[batch]).backward()
                optimizer.step()
        schedule.step()
        current = compute_loss(classifier, features, viral, validation)
        log.info("epoch %d: loss %.5f on the validation frames", epoch, current)
        if current < least:
            least, best_epoch = current, epoch
            best = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
        elif epoch - best_epoch >= settings.patience:
            break
    log.info("the weights of epoch %d are kept", best_epoch)
    classifier.load_state_dict(best)
    return classifier.eval()


@torch.inference_mode()
def differences(classifier: MLPClassifier, features: torch.Tensor) -> np.ndarray:
    """The virus logit of each frame minus the other one, float32 (frames); `features` (frames, width) float32."""
    classifier.eval()
    logits = torch.cat([classifier(part) for part in features.split(EVALUATED)])
    return viral_logit(logits).numpy()


@torch.inference_mode()
def compute_loss(classifier: MLPClassifier, features: torch.Tensor, viral: torch.Tensor, rows: np.ndarray) -> float:
    """Mean cross entropy in nats over some rows, their numbers `rows`; `features` and `viral` as for fit()."""
    classifier.eval()
    parts = torch.from_numpy(rows).split(EVALUATED)
    summed = [F.cross_entropy(classifier(features[part]), viral[part], reduction="sum").item() for part in parts]
    return sum(summed) / len(rows)


def calibrate_kinds(chunks: pd.DataFrame, kinds: Sequence[str], source: str) -> dict[str, Scaling]:
    """What makes the best logit of a chunk a probability (Platt 1999), for each kind of frame by itself.

    `chunks` has of each chunk the largest difference of its frames' logits, `logit`, their `kind`, whether it is
    `viral`, and what it counts, `weight`. The scales are positive, so that no order changes. Raises InputError, which
    names the `source` of the chunks, where those of a kind are all viral, or all others, or are scored upside down.
    """
    scalings = {}
    for kind in kinds:
        members = chunks[chunks["kind"] == kind]
        if members["viral"].nunique() < 2:
            raise InputError(
                f"{source}: no viral chunk, or no other, that is scored by a {kind} frame; give more sequences, or "
                "split otherwise"
            )
        logits, viral = members["logit"].to_numpy()[:, None], members["viral"].to_numpy(dtype=bool)
        model = LogisticRegression(C=1e6).fit(logits, viral, sample_weight=members["weight"].to_numpy())
        scale, shift = float(model.coef_[0, 0]), float(model.intercept_[0])
        if scale <= 0:
            raise InputError(f"{source}: scored no better than by chance; give more labelled sequences")
        scalings[kind] = Scaling(scale, shift)
    return scalings


@torch.inference_mode()
def scale_logits(classifier: MLPClassifier, scaling: Scaling) -> None:
    """Scale the logits' difference of a classifier by its output layer."""
    layer = classifier.output_layer
    middle = layer.weight.mean(0), layer.bias.mean()
    layer.weight.copy_(middle[0] + scaling.scale * (layer.weight - middle[0]))
    layer.bias.copy_(middle[1] + scaling.scale * (layer.bias - middle[1]))
    layer.bias[VIRUS] += scaling.shift


def scale_and_shift(kinds: pd.Series, scalings: Mapping[str, Scaling]) -> tuple[pd.Series, pd.Series]:
    """The scale and the shift for each of some kinds of frames, NaN for what is of none of them."""
    scales = kinds.map({kind: scaling.scale for kind, scaling in scalings.items()})
    return scales, kinds.map({kind: scaling.shift for kind, scaling in scalings.items()})


def weigh_labels(viral: pd.Series, weight: pd.Series, prevalence: float) -> np.ndarray:
    """What each counts when viral ones are `prevalence` of all: float64, 1 in the mean.

    Among those of one label, each counts as its `weight` says.
    """
    share = viral.map({True: prevalence, False: 1 - prevalence})
    return (weight / weight.groupby(viral).transform("sum") * share * len(viral)).to_numpy()


def calibrate_sequences(
    chunks: pd.DataFrame, weigh: Callable[[pd.DataFrame], np.ndarray], source: str
) -> SequenceScaling:
    """What makes the mean logit of a sequence's chunks a probability, by their number, learned on pieces of sequences.

    `chunks` are those that have a score, in order, with their `sequence`, whether it is `viral`, the calibrated
    `logit`, and what else `weigh` takes to say what each piece counts among those of as many chunks. Each number of
    chunks counts the same. Raises InputError, which names the `source` of the chunks, when the sequences are scored no
    better than by chance.
    """
    same = dict.fromkeys(chunks.columns.drop(["sequence", "logit"]), "first")  # in all chunks of a sequence
    place = chunks.groupby("sequence").cumcount()
    parts = []
    for number in PIECES:
        groups = chunks.groupby(["sequence", place // number])
        pieces = groups.agg(same | {"logit": "mean"})[groups.size() == number]
        sequences = pieces.groupby("sequence")["viral"].first().value_counts()
        if len(sequences) == 2 and (number == 1 or sequences.min() >= LEAST_SEQUENCES):
            parts.append(pieces.assign(number=number, log=np.log(number), weight=weigh(pieces) / len(pieces)))
    table = pd.concat(parts)
    columns = np.stack([table["logit"], table["log"], table["logit"] * table["log"]], axis=1)
    model = LogisticRegression(C=np.inf).fit(columns, table["viral"], sample_weight=table["weight"])
    if model.coef_[0, 2] < 0:  # more chunks say no more, as where all of a sequence are alike
        model.fit(columns[:, :2], table["viral"], sample_weight=table["weight"])
    scale, shift_log, scale_log = [*map(float, model.coef_[0]), 0.0][:3]
    if scale <= 0:
        raise InputError(f"{source}: sequences are scored no better than by chance; give more labelled sequences")
    most_chunks = int(table["number"].max())
    return SequenceScaling(scale, scale_log, float(model.intercept_[0]), shift_log, most_chunks, find_spread(chunks))


def find_spread(chunks: pd.DataFrame) -> Spread | None:
    """How far the logits of a sequence's chunks lie from each other; None without two sequences that tell.

    `chunks` are in order, as calibrate_sequences takes them; those of sequences with LEAST_CHUNKS of them tell. What to
    expect of a sequence's variance is found by the moments of its logarithm (Smyth, Stat Appl Genet Mol Biol 2004,
    3:3), and how alike neighbours are by the ratio of von Neumann (Ann Math Stat 1941, 12:367): half their squared
    difference as a share of the variance.
    """
    logits = chunks.groupby("sequence")["logit"]
    variance, number = logits.var(), logits.size()
    telling = (number >= LEAST_CHUNKS) & (variance > 0)
    if telling.sum() < 2:
        log.warning("fewer than two sequences have %d chunks: scores of sequences get no interval", LEAST_CHUNKS)
        return None
    variance, half = variance[telling], (number[telling] - 1) / 2
    centred = np.log(variance) - digamma(half) + np.log(half)
    excess = centred.var() - polygamma(1, half).mean()  # of how sequences differ, over what so few chunks explain
    rest = polygamma(1, MOST_DEGREES / 2)
    degrees = 2 * brentq(lambda x: polygamma(1, x) - excess, 1e-3, MOST_DEGREES / 2) if excess > rest else MOST_DEGREES
    deviation = np.exp((centred.mean() + digamma(degrees / 2) - np.log(degrees / 2)) / 2)
    steps = logits.diff()[chunks["sequence"].isin(variance.index)] ** 2
    neighbours = 1 - steps.mean() / 2 / np.average(variance, weights=half)
    return Spread(float(deviation), float(degrees), float(np.clip(neighbours, 0, 0.99)))


def describe_calibration(scalings: Mapping[str, Scaling], prevalence: float, sequences: SequenceScaling) -> Calibration:
    """What `pack.json` says of a classifier whose output layer has the scaling of whole frames already."""
    whole, longest = scalings[WHOLE], scalings.get(LONGEST)
    if longest:
        ratio = longest.scale / whole.scale
        longest = Scaling(ratio, longest.shift - ratio * whole.shift)
    return Calibration(prevalence, Scaling(1.0, 0.0), longest, sequences)

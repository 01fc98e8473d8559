"""VirNucPro's classifier: a perceptron with one hidden layer over the concatenated embeddings."""

import torch
from torch import nn

from virnucflow.cli import InputError
from virnucflow.files.tables import LABELS, VIRUS
from virnucflow.packs.pack import ModelPack
from virnucflow.packs.pack_files import CLASSIFIER
from virnucflow.packs.weights import load_weights, meta_device, read_weights


class MLPClassifier(nn.Module):
    """Linear, batch norm, ReLU, dropout 0.5, linear; its parameters have the names of the published modules."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden_layer = nn.Linear(features, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(0.5)
        self.output_layer = nn.Linear(hidden, len(LABELS))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, features) to (batch, 2) logits."""
        return self.output_layer(self.dropout(torch.relu(self.bn1(self.hidden_layer(features)))))


def load_classifier(pack: ModelPack) -> MLPClassifier:
    """The pack's classifier in float32 on the CPU; its input must be as wide as the two encoders together."""
    if CLASSIFIER not in pack.sha256:
        raise InputError(f"{pack.directory}: has encoders, but no classifier; give a pack with one")
    tensors = read_weights(pack, CLASSIFIER)
    path = pack.directory / CLASSIFIER
    if "hidden_layer.weight" not in tensors or tensors["hidden_layer.weight"].dim() != 2:
        raise InputError(f"{path}: no matrix hidden_layer.weight; restore the pack")
    hidden, features = tensors["hidden_layer.weight"].shape
    if features != pack.feature_width:
        raise InputError(f"{path}: takes {features} features, the encoders give {pack.feature_width}; restore the pack")
    with meta_device():
        classifier = MLPClassifier(features, hidden)
    return load_weights(classifier, tensors, path).float()


def viral_logit(logits: torch.Tensor) -> torch.Tensor:
    """(frames, 2) logits to (frames): the virus logit less the other, whose sigmoid is score_virus."""
    return logits[:, VIRUS] - logits[:, 1 - VIRUS]


@torch.inference_mode()
def score(
    classifier: MLPClassifier, features: torch.Tensor, scaling: torch.Tensor | None = None, batch: int = 8192
) -> torch.Tensor:
    """(frames, features) to (frames, 2) float32 probabilities, in the order of LABELS.

    `scaling` (frames, 2) is the scale and the shift of each frame's viral logit.
    """
    logits = torch.cat([classifier(part) for part in features.float().split(batch)])
    if scaling is not None:
        scaled = scaling[:, 0] * viral_logit(logits) + scaling[:, 1]
        logits = torch.stack([torch.zeros_like(scaled), scaled][:: 1 if VIRUS else -1], dim=1)
    return logits.softmax(dim=1)

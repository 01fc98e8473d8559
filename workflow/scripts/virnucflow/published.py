"""The files that the models were published in, and what of them a pack has: the same tensors, in the same precision.

A tensor that is missing, unknown or of another shape than the pack declares is an error that names it. Left out are the
heads that no embedding needs.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from virnucflow.catalogue import Recipe
from virnucflow.chunks import chunk_coordinates, chunk_name
from virnucflow.classifier import MLPClassifier
from virnucflow.cli import InputError, log
from virnucflow.dnabert_s import DnabertS
from virnucflow.esm2 import fair_esm_model
from virnucflow.fasta import read_fasta
from virnucflow.frames import Frame, stop_free_frames
from virnucflow.model_pack import DnabertSShape, Esm2Shape, meta_device, misfits
from virnucflow.reference import Reference
from virnucflow.restricted_pickle import Record, read_checkpoint

CLASSIFIER_CLASS = "__main__.MLPClassifier"
PRECISIONS = (torch.float16, torch.float32, torch.int64)  # of a pack's tensors

# How fair-esm names the shape in the settings that it saves with the weights, and its prefixes and heads.
ESM2_SETTINGS = {
    "num_layers": "encoder_layers",
    "embed_dim": "encoder_embed_dim",
    "attention_heads": "encoder_attention_heads",
}
ESM2_PREFIXES = ("encoder.sentence_encoder.", "encoder.")
ESM2_HEADS = ("lm_head.", "contact_head.")
# transformers saves an encoder within a task's model under its name.
DNABERT_S_PREFIXES = ("bert.",)
DNABERT_S_HEADS = ("pooler.", "cls.")

Tensors = dict[str, torch.Tensor]


def esm2_tensors(path: Path, shape: Esm2Shape) -> Tensors:
    """ESM-2's tensors from a checkpoint of fair-esm, by the names of its ESM2."""
    content = read_checkpoint(path)
    try:
        settings, state = content["cfg"]["model"].state, content["model"]
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: not a checkpoint of fair-esm's ESM-2; give the published file") from None
    wanted = {ESM2_SETTINGS[name]: value for name, value in asdict(shape).items()} | {"token_dropout": True}
    _check_settings(path, settings, wanted)
    tensors = _named(path, state, ESM2_PREFIXES, ESM2_HEADS)
    return _fitting(path, fair_esm_model(shape), tensors)


def dnabert_s_tensors(path: Path, config: Path, shape: DnabertSShape) -> Tensors:
    """DNABERT-S's tensors from the weights of its repository on the hub; `config` is the config.json beside them."""
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config}: not JSON ({error}); give the published file") from None
    _check_settings(config, settings if isinstance(settings, dict) else {}, asdict(shape))
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file ({error}); give the published file") from None
    else:
        state = read_checkpoint(path)
    with meta_device():
        module = DnabertS(shape)
    return _fitting(path, module, _named(path, state, DNABERT_S_PREFIXES, DNABERT_S_HEADS))


def classifier_tensors(path: Path, features: int) -> Tensors:
    """The classifier's tensors from a module that was saved whole; `features` is both encoders' width together."""
    module = read_checkpoint(path)
    if not isinstance(module, Record) or module.name != CLASSIFIER_CLASS:
        raise InputError(f"{path}: not a module {CLASSIFIER_CLASS}; give the published file")
    tensors: Tensors = {}
    try:
        for name, part in module.state["_modules"].items():
            values = part.state["_parameters"] | part.state["_buffers"]
            tensors |= {f"{name}.{key}": value for key, value in values.items()}
            if part.state["_modules"]:
                raise InputError(f"{path}: {name} has parts of its own, unlike the published one's")
        hidden = len(tensors["hidden_layer.bias"])
        eps = module.state["_modules"]["bn1"].state["eps"]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: the module lacks {error}; give the published file") from None
    with meta_device():
        ours = MLPClassifier(features, hidden)
    _check_settings(path, {"eps": eps}, {"eps": ours.bn1.eps})
    return _fitting(path, ours, _named(path, tensors, (), ()))


def _check_settings(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {value}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if wrong:
        raise InputError(f"{path}: {'; '.join(wrong)}: another model than the pack declares; give the published file")


def _named(path: Path, state: Any, prefixes: tuple[str, ...], heads: tuple[str, ...]) -> Tensors:  # noqa: ANN401
    """The tensors of a state_dict, without prefixes and without the heads."""
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: not a table of tensors; give the published file")
    tensors, left_out = {}, []
    for name, tensor in state.items():
        short = name
        for prefix in prefixes:
            short = short.removeprefix(prefix)
        if short.startswith(heads):
            left_out.append(name)
        elif short in tensors:
            raise InputError(f"{path}: {short} comes twice; give the published file")
        else:
            tensors[short] = tensor
    if left_out:
        log.info("%s: left out, as no embedding needs it: %s", path.name, ", ".join(left_out))
    return tensors


def _fitting(path: Path, module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """The tensors, after they were found to be those of `module`."""
    if problems := misfits(module, tensors):
        raise InputError(f"{path}: the tensors are not those of the model: {problems}; give the published file")
    if other := [f"{name} is {t.dtype}" for name, t in tensors.items() if t.dtype not in PRECISIONS]:
        raise InputError(f"{path}: {other[0]}; a pack has {', '.join(map(str, PRECISIONS))}")
    return tensors


def v1_reference(files: dict[str, Path], recipe: Recipe) -> Reference:
    """What runs of VirNucPro v1 gave for their frames, as far as a pack must give the same; `files` by their names."""
    frames, features, scores = {}, {}, {}
    for run in recipe.reference_runs:
        path = files[run.embeddings]
        frames |= _frames(files[run.fasta], recipe.reference_chunk_length)
        try:
            merged, given = read_checkpoint(path), _scores(files[run.predictions])
            features |= zip(merged["ids"], merged["data"].float(), strict=True)
            scores |= {name: given[name] for name in merged["ids"]}
            chosen = [frames[name] for name in features]
        except (TypeError, KeyError, AttributeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path}: not v1's output for {run.fasta} ({error}); give the published file") from None
    names = list(features)
    dnabert_s, esm2 = torch.stack(list(features.values())).tensor_split([recipe.dnabert_s.hidden_size], dim=1)
    values = {"dnabert_s": dnabert_s, "esm2": esm2, "scores": torch.tensor([scores[name] for name in names])}
    return Reference(
        names=names,
        nucleotides=[frame.nucleotide for frame in chosen],
        proteins=[frame.protein for frame in chosen],
        source=recipe.reference_source,
        values={name: values[name].contiguous().numpy() for name in recipe.reference},
    )


def _frames(fasta: Path, chunk_length: int) -> dict[str, Frame]:
    """All kept frames of a FASTA file's sequences, by v1's names."""
    return {
        chunk_name(record.name, number) + frame.frame: frame
        for record in read_fasta(fasta)
        for number, (start, end) in enumerate(chunk_coordinates(len(record.sequence), chunk_length), start=1)
        for frame in stop_free_frames(record.sequence[start:end])
    }


def _scores(predictions: Path) -> dict[str, list[float]]:
    """Both scores of each frame in v1's prediction_results.txt."""
    _, *lines = predictions.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return {name: [float(others), float(virus)] for name, _, others, virus in rows}

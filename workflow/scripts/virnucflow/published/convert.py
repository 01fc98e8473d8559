"""The files that the models were published in, and what of them a pack has: the same tensors, in the same precision.

A tensor that is missing, unknown or of another shape than the pack declares is an error that names it. Left out are the
heads that no embedding needs.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from virnucflow.cli import InputError, log
from virnucflow.encoders.dnabert_s import DnabertS
from virnucflow.encoders.esm2 import fair_esm_model
from virnucflow.files.foreign import read_json, read_text, shown
from virnucflow.packs.encoders import feature_widths
from virnucflow.packs.pack import DnabertSShape, Esm2Shape
from virnucflow.packs.reference import Reference
from virnucflow.packs.weights import meta_device, misfits
from virnucflow.published.catalogue import Recipe
from virnucflow.published.checkpoint import Record, read_checkpoint
from virnucflow.scoring.classifier import MLPClassifier
from virnucflow.sequences.chunks import chunk_coordinates, chunk_name
from virnucflow.sequences.fasta import read_fasta
from virnucflow.sequences.frames import Frame, stop_free_frames

ADVICE = "give the published file"  # what to do about any that does not fit
CLASSIFIER_CLASS = "__main__.MLPClassifier"
PRECISIONS = (torch.float16, torch.float32, torch.int64)  # of a pack's tensors
LONGEST_NAME = 200  # of a tensor
MOST_PARTS = 16  # of the classifier's module; the published one has four
MOST_NAMED = 10  # tensors that are left out, in one message

# How fair-esm names the shape in the settings that it saves with the weights, and its prefixes and heads.
ESM2_SETTINGS = {
    "num_layers": "encoder_layers",
    "embed_dim": "encoder_embed_dim",
    "attention_heads": "encoder_attention_heads",
}
ESM2_PREFIXES = ("encoder.sentence_encoder.", "encoder.")
ESM2_HEADS = ("lm_head.", "contact_head.")
# transformers saves an encoder within a task's model under its name; the published file is of the encoder alone.
DNABERT_S_PREFIXES = ("bert.",)
DNABERT_S_HEADS = ("pooler.", "cls.")

Tensors = dict[str, torch.Tensor]


def esm2_tensors(path: Path, shape: Esm2Shape) -> Tensors:
    """ESM-2's tensors from a checkpoint of fair-esm, by the names of its ESM2."""
    content = read_checkpoint(path)
    try:
        settings, state = _table(content, "cfg", "model"), _table(content, "model")
    except KeyError:
        raise InputError(f"{path}: not a checkpoint of fair-esm's ESM-2; {ADVICE}") from None
    wanted = {ESM2_SETTINGS[name]: value for name, value in asdict(shape).items()} | {"token_dropout": True}
    _check_settings(path, settings, wanted)
    tensors = _named(path, state, ESM2_PREFIXES, ESM2_HEADS)
    return _fitting(path, fair_esm_model(shape), tensors)


def dnabert_s_tensors(path: Path, config: Path, shape: DnabertSShape) -> Tensors:
    """DNABERT-S's tensors from the weights of its repository on the hub; `config` is the config.json beside them."""
    settings = read_json(config, ADVICE)
    if not isinstance(settings, dict):
        raise InputError(f"{config}: not a table of settings; {ADVICE}")
    _check_settings(config, settings, asdict(shape))
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file ({error}); {ADVICE}") from None
    else:
        state = read_checkpoint(path)
    with meta_device():
        module = DnabertS(shape)
    return _fitting(path, module, _named(path, state, DNABERT_S_PREFIXES, DNABERT_S_HEADS))


def classifier_tensors(path: Path, features: int) -> Tensors:
    """The classifier's tensors from a module that was saved whole; `features` is both encoders' width together."""
    module = read_checkpoint(path)
    if not isinstance(module, Record) or module.name != CLASSIFIER_CLASS:
        raise InputError(f"{path}: not a module {CLASSIFIER_CLASS}; {ADVICE}")
    values: dict[str | int, Any] = {}
    try:
        parts = _table(module, "_modules")
        if len(parts) > MOST_PARTS:
            raise InputError(f"{path}: the module has {len(parts)} parts, unlike the published one; {ADVICE}")
        for name, part in parts.items():
            for kind in ("_parameters", "_buffers"):
                values |= {f"{shown(name)}.{shown(key)}": value for key, value in _table(part, kind).items()}
            if _table(part, "_modules"):
                raise InputError(f"{path}: {shown(name)} has parts of its own, unlike the published one's")
        tensors = _named(path, values, (), ())
        hidden = tensors["hidden_layer.bias"].numel()
        eps = _table(parts, "bn1").get("eps")
    except KeyError as error:
        raise InputError(f"{path}: the module lacks {error}; {ADVICE}") from None
    with meta_device():
        ours = MLPClassifier(features, hidden)
    _check_settings(path, {"eps": eps}, {"eps": ours.bn1.eps})
    return _fitting(path, ours, tensors)


def _table(content: Any, *keys: str) -> dict[str | int, Any]:  # noqa: ANN401
    """The dictionary, or the state of an object, that lies in nested ones under these keys. Raises KeyError."""
    for key in (*keys, None):
        table = content.state if isinstance(content, Record) else content
        if not isinstance(table, dict):
            raise KeyError(key or keys[-1])
        content = table[key] if key else table
    return content


def _check_settings(path: Path, found: dict[Any, Any], wanted: dict[str, Any]) -> None:
    wrong = [
        f"{name} is {shown(found[name]) if name in found else 'missing'}, not {value}"
        for name, value in wanted.items()
        # Nothing but numbers is compared: of tensors that is a tensor, and of nested tuples it may take for ever.
        if type(found.get(name)) not in (bool, int, float) or found[name] != value
    ]
    if wrong:
        raise InputError(f"{path}: {'; '.join(wrong)}: another model than the pack declares; {ADVICE}")


def _named(path: Path, state: Any, prefixes: tuple[str, ...], heads: tuple[str, ...]) -> Tensors:  # noqa: ANN401
    """The tensors of a state_dict, without prefixes and without the heads."""
    if not isinstance(state, dict) or not all(map(_is_named_tensor, state, state.values())):
        raise InputError(f"{path}: not a table of tensors; {ADVICE}")
    tensors, left_out = {}, []
    for name, tensor in state.items():
        short = name
        for prefix in prefixes:
            short = short.removeprefix(prefix)
        if short.startswith(heads):
            left_out.append(name)
        elif short in tensors:
            raise InputError(f"{path}: {short} comes twice; {ADVICE}")
        else:
            tensors[short] = tensor
    if left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        log.info("%s: left out, as no embedding needs it: %s%s", path.name, ", ".join(left_out[:MOST_NAMED]), more)
    return tensors


def _is_named_tensor(name: Any, tensor: Any) -> bool:  # noqa: ANN401
    short = type(name) is str and len(name) <= LONGEST_NAME and name.isprintable()
    return short and isinstance(tensor, torch.Tensor)


def _fitting(path: Path, module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """The tensors, after they were found to be those of `module`."""
    if problems := misfits(module, tensors):
        raise InputError(f"{path}: the tensors are not those of the model: {problems}; {ADVICE}")
    if other := [f"{name} is {t.dtype}" for name, t in tensors.items() if t.dtype not in PRECISIONS]:
        raise InputError(f"{path}: {other[0]}; a pack has {', '.join(map(str, PRECISIONS))}")
    return tensors


def v1_reference(files: dict[str, Path], recipe: Recipe) -> Reference:
    """What runs of VirNucPro v1 gave for their frames, as far as a pack must give the same; `files` by their names."""
    widths = feature_widths(recipe)
    frames: dict[str, Frame] = {}
    features: Tensors = {}
    scores: dict[str, list[float]] = {}
    for run in recipe.v1.runs:
        frames |= _frames(files[run.fasta], recipe.v1.chunk_length)
        scores |= _scores(files[run.predictions])
        embeddings = _embeddings(files[run.embeddings], sum(widths.values()))
        if unknown := [name for name in embeddings if name not in frames or name not in scores]:
            frame = f"'{shown(unknown[0])}'"
            raise InputError(f"{files[run.embeddings]}: not v1's output for {run.fasta} ({frame}); {ADVICE}")
        features |= embeddings
    chosen = [frames[name] for name in features]
    names = list(features)
    parts = torch.stack(list(features.values())).split(list(widths.values()), dim=1)
    values = dict(zip(widths, parts)) | {"scores": torch.tensor([scores[name] for name in names])}
    return Reference(
        names=names,
        nucleotides=[frame.nucleotide for frame in chosen],
        proteins=[frame.protein for frame in chosen],
        source=recipe.v1.source,
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


def _embeddings(path: Path, width: int) -> dict[str, torch.Tensor]:
    """v1's merged features by the names of the frames, float32 (width) each."""
    content = read_checkpoint(path)
    table = content if isinstance(content, dict) else {}
    names, rows = table.get("ids"), table.get("data")
    if not isinstance(names, list) or not names or not all(type(name) is str for name in names):
        raise InputError(f"{path}: has no list of frames as ids; {ADVICE}")
    if not isinstance(rows, torch.Tensor) or rows.shape != (len(names), width):
        shape = list(rows.shape) if isinstance(rows, torch.Tensor) else shown(rows)
        raise InputError(f"{path}: its data is {shape}, not {[len(names), width]}; {ADVICE}")
    if not rows.isfinite().all():
        raise InputError(f"{path}: has a value that is not finite; {ADVICE}")
    return dict(zip(names, rows.float()))


def _scores(predictions: Path) -> dict[str, list[float]]:
    """Both scores of each frame in v1's prediction_results.txt."""
    scores = {}
    for number, line in enumerate(read_text(predictions, ADVICE).splitlines()[1:], start=2):
        name, *more = line.split("\t")
        try:
            _, others, virus = more
            scores[name] = [float(others), float(virus)]
        except ValueError:
            raise InputError(f"{predictions}, line {number}: not a row of v1's table; {ADVICE}") from None
        if not all(map(math.isfinite, scores[name])):
            raise InputError(f"{predictions}, line {number}: a score that is not finite; {ADVICE}")
    return scores

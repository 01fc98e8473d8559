"""Make a model pack of published files: fetch what is missing, check it, convert it.

Nothing that the files hold is executed. Downloads go on where they were cut; they are kept in `downloads` beside the
pack, for other packs, and may be deleted. A pack that is there and whole is left alone.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.encoders import dnabert_s
from virnucflow.files.kinds import WHOLE
from virnucflow.files.tensors import save_tensors
from virnucflow.packs.encoders import DNABERT_S, ESM2, feature_widths
from virnucflow.packs.pack import describe, file_sha256, read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, REFERENCE
from virnucflow.packs.reference import save_reference
from virnucflow.published.catalogue import PublishedFile, Recipe, read_recipe
from virnucflow.published.convert import classifier_tensors, dnabert_s_tensors, esm2_tensors, v1_reference
from virnucflow.published.download import Lock, Patience, fetch_files, take_files


def parse_arguments() -> argparse.Namespace:
    patience = Patience()
    parser = argument_parser(__doc__)
    parser.add_argument("--catalogue", type=Path, required=True, help="table of packs and files: config/models.yaml")
    parser.add_argument("--model", type=Path, required=True, help="directory of the pack, with its name in the table")
    parser.add_argument("--source", type=Path, help="folder of files brought by hand; then nothing is downloaded")
    parser.add_argument("--attempts", type=int, default=patience.attempts, help="to download a file")
    parser.add_argument("--wait", type=float, default=patience.wait, help="seconds after the first, then doubled")
    parser.add_argument("--timeout", type=float, default=patience.timeout, help="seconds without an answer")
    return parser.parse_args()


def is_whole(directory: Path) -> bool:
    """Whether a pack is there with all its files unchanged."""
    if not (directory / "pack.json").exists():
        return False
    try:
        pack = read_model_pack(directory)
        changed = [name for name, sha256 in pack.sha256.items() if file_sha256(directory / name) != sha256]
    except (InputError, OSError) as error:
        changed = [str(error)]
    if changed:
        log.warning("%s is damaged (%s); making it again", directory, ", ".join(changed))
    return not changed


def write_pack(recipe: Recipe, files: dict[str, Path], lock: Lock, directory: Path) -> None:
    """Convert published files, by their names, to a pack: in place, complete, or not at all."""
    weights, config = files[recipe.dnabert_s_weights], files[recipe.dnabert_s_config]
    tables = {
        ESM2.weights: esm2_tensors(files[recipe.esm2_weights], recipe.esm2),
        DNABERT_S.weights: dnabert_s_tensors(weights, config, recipe.dnabert_s),
    }
    if recipe.classifier:
        tables[CLASSIFIER] = classifier_tensors(files[recipe.classifier], sum(feature_widths(recipe).values()))
    reference = v1_reference(files, recipe) if recipe.reference else None
    tokenizer, known = files[recipe.tokenizer], recipe.dnabert_s.vocab_size
    if (size := 1 + max(dnabert_s.load_tokenizer(tokenizer).get_vocab().values(), default=0)) > known:
        raise InputError(f"{tokenizer}: has {size} tokens, the model {known}; give the published file")
    make_room(directory, sum(tensor.nbytes for table in tables.values() for tensor in table.values()))
    names = [*tables, DNABERT_S.tokenizer, *([REFERENCE] if reference else [])]
    with staged(*(directory / name for name in (*names, "pack.json"))) as (*partial, description):
        written = dict(zip(names, partial))
        for name, table in tables.items():
            save_tensors({key: tensor.contiguous().numpy() for key, tensor in table.items()}, written[name], {})
        shutil.copyfile(tokenizer, written[DNABERT_S.tokenizer])
        if reference:
            save_reference(reference, written[REFERENCE])
        description.write_text(describe(about(recipe, lock), written), encoding="utf-8")


def make_room(directory: Path, size: int) -> None:
    """Failure when a disk has less than `size` bytes free."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if size > free:
        raise Failure(f"{directory}: the pack takes {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room")


def about(recipe: Recipe, lock: Lock) -> dict[str, object]:
    """What pack.json says of a converted pack."""

    def origin(file: PublishedFile) -> str:
        blob = f"git blob {file.git_blob}" if file.git_blob else None
        return f"{file.url} ({blob or f'SHA-256 {file.sha256 or lock.sha256(file)}'}; {file.citation})"

    sources = recipe.files.values()
    return {
        "name": recipe.name,
        "trained": True,
        "chunk_lengths": [recipe.chunk_length] if recipe.chunk_length else [],
        "frames": WHOLE,
        "esm2": asdict(recipe.esm2),
        "dnabert_s": asdict(recipe.dnabert_s),
        "provenance": "converted by fetch_models.py from " + ", ".join(map(origin, sources)),
        "licence": "; ".join(dict.fromkeys(f"{file.name}: {file.licence}" for file in sources)),
        "quality": None,
    }


@torch.inference_mode()
def main() -> None:
    arguments = parse_arguments()
    directory = arguments.model
    recipe = read_recipe(arguments.catalogue, directory.name)
    if is_whole(directory):
        log.info("%s is there and whole: nothing to do", directory)
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(directory.parent / "lock.json")
    if arguments.source:
        files = take_files(recipe.files.values(), arguments.source, lock)
    else:
        patience = Patience(arguments.attempts, arguments.wait, arguments.timeout)
        files = fetch_files(recipe.files.values(), directory.parent / "downloads", lock, patience)
    write_pack(recipe, files, lock, directory)
    log.info("%s is ready%s", directory, f", for chunk_length: {recipe.chunk_length}" if recipe.chunk_length else "")


if __name__ == "__main__":
    run(main)

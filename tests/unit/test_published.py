"""Conversion: a pack has the published tensors and gives the original modules' scores; what does not fit is named."""

import json
from pathlib import Path

import pytest
import torch
from helpers import error_line, run_program
from published import ESM2_SHAPE, FEATURES, NAME, RECIPE, MLPClassifier, Published
from safetensors.torch import load_file, save_file

from virnucflow import dnabert_s, esm2
from virnucflow.classifier import CLASSIFIER, load_classifier, score
from virnucflow.cli import InputError
from virnucflow.model_pack import REFERENCE, read_model_pack
from virnucflow.published import classifier_tensors, dnabert_s_tensors, esm2_tensors
from virnucflow.reference import load_reference

CPU = torch.device("cpu")


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path / "published")


def convert(published: Published, pack: Path, code: int = 0) -> str:
    """Run fetch_models on the files as they are now."""
    catalogue = published.write_catalogue(published.folder / "models.yaml")
    arguments = ["--catalogue", catalogue, "--model", pack, "--source", published.folder]
    said = run_program("fetch_models", *arguments, code=code)
    assert (pack / "pack.json").exists() == (code == 0)
    return error_line(said) if code else said


def test_converted_pack_gives_the_scores_of_the_original_modules(published: Published, tmp_path: Path) -> None:
    assert "ready, for chunk_length: 500" in convert(published, tmp_path / NAME)
    pack = read_model_pack(tmp_path / NAME, 500)
    reference = load_reference(pack)
    assert len(reference.names) == 12 and set(reference.values) == {"dnabert_s", "esm2", "scores"}
    assert reference.source == "VirNucPro v1's own output"
    features = []
    for encoder, load in (("dnabert_s", dnabert_s.load_dnabert_s), ("esm2", esm2.load_esm2)):
        embed, _ = load(pack, "standard", "auto", "fp32", CPU, 2048)
        features.append(embed(reference.sequences(encoder)))
        assert torch.equal(features[-1], torch.from_numpy(reference.values[encoder]))
    found = score(load_classifier(pack), torch.cat(features, dim=1))
    original = published.classifier(published.features(reference.nucleotides, reference.proteins)).softmax(1)
    assert torch.equal(found, original)
    assert found[:, 1].std() > 0.01, "the scores show too little"


def test_nothing_is_changed_but_names(published: Published, tmp_path: Path) -> None:
    said = convert(published, tmp_path / NAME)
    tensors = load_file(tmp_path / NAME / esm2.FILE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    state = published.esm2.half().state_dict()
    assert set(state) - set(tensors) == {name for name in state if name.startswith(("lm_head", "contact_head"))}
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors.items())
    tensors = load_file(tmp_path / NAME / dnabert_s.FILE)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in published.dnabert_s.state_dict().items())
    tensors = load_file(tmp_path / NAME / CLASSIFIER)
    assert tensors.keys() == published.classifier.state_dict().keys()
    assert (tmp_path / NAME / dnabert_s.TOKENIZER).read_bytes() == published.path(RECIPE.tokenizer).read_bytes()
    assert "left out, as no embedding needs it: bert.pooler.dense.weight, cls.predictions.decoder.bias" in said
    description = json.loads((tmp_path / NAME / "pack.json").read_text())
    assert all(file.citation in description["provenance"] for file in RECIPE.files.values())


def test_same_files_give_the_same_bytes(published: Published, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        convert(published, tmp_path / folder / NAME)
    one, other = ((tmp_path / folder / NAME / "pack.json").read_bytes() for folder in ("a", "b"))
    assert one == other


def test_pack_of_encoders(published: Published, tmp_path: Path) -> None:
    """Without a classifier, for any length; the files of the run are not asked for."""
    catalogue = published.write_catalogue(tmp_path / "models.yaml")
    for name in ("300_model.pth", "500_model.pth"):
        published.path(f"VirNucPro/{name}").unlink(missing_ok=True)
    arguments = ["--catalogue", catalogue, "--model", tmp_path / "esm2-3b", "--source", published.folder]
    run_program("fetch_models", *arguments)
    pack = read_model_pack(tmp_path / "esm2-3b", 300)
    assert pack.chunk_lengths == () and CLASSIFIER not in pack.sha256 and REFERENCE in pack.sha256
    assert set(load_reference(pack).values) == {"dnabert_s", "esm2"}


def test_hub_folder_with_safetensors(published: Published) -> None:
    path = published.path("DNABERT-S/model.safetensors")
    save_file(published.dnabert_s.state_dict(), path)
    config = published.path(RECIPE.dnabert_s_config)
    tensors = dnabert_s_tensors(path, config, dnabert_s.DnabertSShape(128, 2, 24, 2, 96, 1e-12))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in published.dnabert_s.state_dict().items())
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="not a safetensors file"):
        dnabert_s_tensors(path, config, dnabert_s.DnabertSShape(128, 2, 24, 2, 96, 1e-12))


def edit(path: Path, change) -> None:
    """Change what a file of torch.save holds; tests may unpickle what they wrote."""
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            RECIPE.esm2_weights,
            lambda c: c["model"].pop("encoder.sentence_encoder.layers.1.fc2.bias"),
            "missing layers.1.fc2.bias",
        ),
        (RECIPE.esm2_weights, lambda c: c["model"].update({"encoder.extra": torch.zeros(1)}), "unknown extra"),
        (
            RECIPE.esm2_weights,
            lambda c: c["model"].update({"encoder.sentence_encoder.layers.0.fc1.bias": torch.zeros(3)}),
            "layers.0.fc1.bias is [3], not [128]",
        ),
        (
            RECIPE.esm2_weights,
            lambda c: c["model"].update({"encoder.embed_tokens.weight": torch.zeros(33, 32)}),
            "embed_tokens.weight comes twice",
        ),
        (RECIPE.esm2_weights, lambda c: c["model"].update({"encoder.extra": 3}), "not a table of tensors"),
        (RECIPE.esm2_weights, lambda c: c.pop("cfg"), "not a checkpoint of fair-esm's ESM-2"),
        (
            RECIPE.esm2_weights,
            lambda c: setattr(c["cfg"]["model"], "encoder_layers", 3),
            "encoder_layers is 3, not 2: another model than the pack declares",
        ),
        (
            RECIPE.esm2_weights,
            lambda c: setattr(c["cfg"]["model"], "token_dropout", False),
            "token_dropout is False, not True",
        ),
        (
            RECIPE.dnabert_s_weights,
            lambda c: c.pop("bert.embeddings.LayerNorm.bias"),
            "missing embeddings.LayerNorm.bias",
        ),
        (RECIPE.dnabert_s_weights, lambda c: c.update({"bert.alibi": torch.zeros(1)}), "unknown alibi"),
    ],
)
def test_what_does_not_fit_is_named(file: str, change, message: str, published: Published, tmp_path: Path) -> None:
    edit(published.path(file), change)
    said = convert(published, tmp_path / NAME, code=2)
    assert f"{published.path(file)}: " in said and message in said and said.endswith("give the published file")
    assert not (tmp_path / NAME).exists()


def test_another_architecture_of_the_hub_is_refused(published: Published, tmp_path: Path) -> None:
    path = published.path(RECIPE.dnabert_s_config)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layer_norm_eps": 1e-5}))
    assert "config.json: layer_norm_eps is 1e-05, not 1e-12" in convert(published, tmp_path / NAME, code=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m.__setattr__("hidden_layer", torch.nn.Linear(57, 16)),
            "hidden_layer.weight is [16, 57], not [16, 56]",
        ),
        (lambda m: m.__delattr__("bn1"), "the module lacks 'bn1'"),
        (lambda m: m.__setattr__("more", torch.nn.Linear(2, 2)), "unknown more.bias; unknown more.weight"),
        (lambda m: m.bn1.__setattr__("eps", 1e-3), "eps is 0.001, not 1e-05"),
        (
            lambda m: m.__setattr__("more", torch.nn.Sequential(torch.nn.ReLU())),
            "an object of|more has parts of its own",
        ),
    ],
    ids=["width", "no batch norm", "more layers", "eps", "nested"],
)
def test_another_classifier_is_refused(change, message: str, published: Published) -> None:
    change(published.classifier)
    published.save_classifier()
    with pytest.raises(InputError) as caught:
        classifier_tensors(published.path(RECIPE.classifier), FEATURES)
    assert any(part in str(caught.value) for part in message.split("|"))


def test_another_file_in_the_classifiers_place_is_refused(published: Published, tmp_path: Path) -> None:
    torch.save(MLPClassifier().state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"x\.pth: not a module __main__\.MLPClassifier; give the published file"):
        classifier_tensors(tmp_path / "x.pth", FEATURES)
    with pytest.raises(InputError, match="not a checkpoint of fair-esm"):
        esm2_tensors(tmp_path / "x.pth", ESM2_SHAPE)


def test_reference_of_another_run_is_refused(published: Published, tmp_path: Path) -> None:
    run = RECIPE.reference_runs[0]
    edit(published.path(run.embeddings), lambda c: c["ids"].__setitem__(0, "nobody"))
    said = convert(published, tmp_path / NAME, code=2)
    assert "output_1_merged.pt: not v1's output for virnucpro-broad/test_with_orfs.fa ('nobody')" in said


def test_tokenizer_larger_than_the_model_is_refused(published: Published, tmp_path: Path) -> None:
    from build_untrained_pack import build_tokenizer

    build_tokenizer(200).save(str(published.path(RECIPE.tokenizer)))
    assert "has 200 tokens, the model 128" in convert(published, tmp_path / NAME, code=2)

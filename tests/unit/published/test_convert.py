"""Conversion: a pack has the published tensors and gives the original modules' scores; what does not fit is named."""

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import error_line, run_program
from published import DNABERT_S_SHAPE, ESM2_SHAPE, FEATURES, NAME, RECIPE, MLPClassifier, Published
from safetensors.torch import load_file, save_file

from virnucflow.cli import InputError
from virnucflow.encoders import dnabert_s
from virnucflow.encoders.load import load_dnabert_s, load_esm2
from virnucflow.packs.encoders import DNABERT_S, ESM2
from virnucflow.packs.pack import read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, REFERENCE
from virnucflow.packs.reference import load_reference
from virnucflow.packs.weights import published_state
from virnucflow.published.convert import classifier_tensors, dnabert_s_tensors, esm2_tensors, v1_reference
from virnucflow.scoring.classifier import load_classifier, score

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def published(built: Published, tmp_path: Path) -> Published:
    """Files and modules that a test may change."""
    own = deepcopy(built)
    own.folder = Path(shutil.copytree(built.folder, tmp_path / "published"))
    return own


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
    for encoder, load in (("dnabert_s", load_dnabert_s), ("esm2", load_esm2)):
        embed, _ = load(pack, "standard", "auto", "fp32", CPU, 2048)
        features.append(embed(reference.sequences(encoder)))
        assert torch.equal(features[-1], torch.from_numpy(reference.values[encoder]))
    found = score(load_classifier(pack), torch.cat(features, dim=1))
    original = published.classifier(published.features(reference.nucleotides, reference.proteins)).softmax(1)
    assert torch.equal(found, original)
    assert found[:, 1].std() > 0.01, "the scores show too little"


def test_nothing_is_changed_but_names(published: Published, tmp_path: Path) -> None:
    said = convert(published, tmp_path / NAME)
    tensors = load_file(tmp_path / NAME / ESM2.weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    state = published.esm2.half().state_dict()
    assert set(state) - set(tensors) == {name for name in state if name.startswith(("lm_head", "contact_head"))}
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors.items())
    tensors = load_file(tmp_path / NAME / DNABERT_S.weights)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in published_state(published.dnabert_s).items())
    tensors = load_file(tmp_path / NAME / CLASSIFIER)
    assert tensors.keys() == published.classifier.state_dict().keys()
    assert (tmp_path / NAME / DNABERT_S.tokenizer).read_bytes() == published.path(RECIPE.tokenizer).read_bytes()
    assert "left out, as no embedding needs it: pooler.dense.weight, pooler.dense.bias" in said
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
    save_file(published_state(published.dnabert_s), path)
    config = published.path(RECIPE.dnabert_s_config)
    tensors = dnabert_s_tensors(path, config, dnabert_s.DnabertSShape(128, 2, 24, 2, 96, 1e-12))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in published_state(published.dnabert_s).items())
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
            lambda c: c.pop("embeddings.LayerNorm.bias"),
            "missing embeddings.LayerNorm.bias",
        ),
        (RECIPE.dnabert_s_weights, lambda c: c.update({"alibi": torch.zeros(1)}), "unknown alibi"),
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


def complaint(path: Path, read: Callable[[], object]) -> str:
    """The one line, of bounded length, in which reading a file ends."""
    with pytest.raises(InputError) as caught:
        read()
    said = str(caught.value)
    assert said.startswith(str(path)) and said.isprintable() and len(said) < len(str(path)) + 500
    return said


LONG = "x\x1b[31m" * 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 99_999, "not JSON"),
        ("9" * 9999, "not JSON"),
        (" " * (1 << 20), "has more than 262144 bytes"),
        ("\udcff", "not UTF-8 text (byte 0)"),
        ("[]", "not a table of settings"),
        ("null", "not a table of settings"),
        ("{}", "vocab_size is missing, not 128; num_hidden_layers is missing"),
        ({"vocab_size": [[128]]}, "vocab_size is a list, not 128"),
        ({"vocab_size": {"a": LONG}}, "vocab_size is a dict, not 128"),
        ({"vocab_size": LONG}, "vocab_size is x?[31mx?[31m"),
        ({"vocab_size": "128"}, "vocab_size is 128, not 128"),
        ({"vocab_size": None}, "vocab_size is None, not 128"),
        ({"vocab_size": 10**4000}, "vocab_size is a int, not 128"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan, not 1e-12"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05, not 1e-12"),
    ],
)
def test_damaged_settings_are_refused(content, message: str, published: Published) -> None:
    weights, path = published.path(RECIPE.dnabert_s_weights), published.path(RECIPE.dnabert_s_config)
    text = content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert message in complaint(path, lambda: dnabert_s_tensors(weights, path, DNABERT_S_SHAPE))


@pytest.mark.parametrize(
    "state",
    [
        {0: torch.zeros(2)},
        {"x": 3},
        {"x" * 1000: torch.zeros(2)},
        {LONG: torch.zeros(2)},
        [torch.zeros(2)],
        torch.zeros(2),
        "x",
    ],
    ids=["integer key", "number", "long name", "escapes", "list", "tensor", "text"],
)
def test_what_is_no_table_of_tensors_is_refused(state, published: Published) -> None:
    path, config = published.path(RECIPE.dnabert_s_weights), published.path(RECIPE.dnabert_s_config)
    torch.save(state, path)
    said = complaint(path, lambda: dnabert_s_tensors(path, config, DNABERT_S_SHAPE))
    assert said == f"{path}: not a table of tensors; give the published file"


def test_encoder_that_was_saved_within_a_model_of_a_task(published: Published) -> None:
    path, config = published.path(RECIPE.dnabert_s_weights), published.path(RECIPE.dnabert_s_config)
    wanted = dnabert_s_tensors(path, config, DNABERT_S_SHAPE)
    state = {f"bert.{name}": tensor for name, tensor in wanted.items()}
    other = path.with_name("other.bin")  # the tensors are the file
    torch.save(state | {"bert.pooler.dense.bias": torch.zeros(24), "cls.bias": torch.zeros(2)}, other)
    found = dnabert_s_tensors(other, config, DNABERT_S_SHAPE)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


RUN = RECIPE.v1.runs[0]
ROWS = torch.zeros(6, FEATURES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "has no list of frames as ids"),
        ({}, "has no list of frames as ids"),
        ({"ids": [], "data": torch.zeros(0, FEATURES)}, "has no list of frames as ids"),
        ({"ids": [((1,), 2)] * 6, "data": ROWS}, "has no list of frames as ids"),
        ({"ids": "abcdef", "data": ROWS}, "has no list of frames as ids"),
        ({"ids": ["a"] * 6, "data": [0.0] * 6}, f"its data is a list, not [6, {FEATURES}]"),
        ({"ids": ["a"] * 5, "data": ROWS}, f"its data is [6, {FEATURES}], not [5, {FEATURES}]"),
        ({"ids": ["a"] * 6, "data": torch.zeros(6)}, f"its data is [6], not [6, {FEATURES}]"),
        ({"ids": ["a"] * 6, "data": torch.full((6, FEATURES), torch.nan)}, "has a value that is not finite"),
        ({"ids": [LONG] * 6, "data": ROWS}, f"not v1's output for {RUN.fasta} ('x?[31m"),
    ],
)
def test_damaged_embeddings_of_v1_are_refused(content, message: str, published: Published) -> None:
    path = published.path(RUN.embeddings)
    torch.save(content, path)
    assert message in complaint(path, lambda: reference_of(published))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 2: not a row"),
        (LONG, "line 2: not a row"),
        ("a\tvirus\t0.1", "line 2: not a row"),
        ("a\tvirus\t0.1\t0.9\t0", "line 2: not a row"),
        (f"a\tvirus\t0.1\t{LONG}", "line 2: not a row"),
        ("a\tvirus\t0.1\tnan", "line 2: a score that is not finite"),
        ("a\tvirus\t-inf\t1", "line 2: a score that is not finite"),
    ],
)
def test_damaged_predictions_of_v1_are_refused(line: str, message: str, published: Published) -> None:
    path = published.path(RUN.predictions)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, line, *rows]))
    assert message in complaint(path, lambda: reference_of(published))


def reference_of(published: Published) -> object:
    recipe = replace(RECIPE, esm2=ESM2_SHAPE, dnabert_s=DNABERT_S_SHAPE)
    return v1_reference({name: published.path(name) for name in RECIPE.files}, recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.__setattr__("_modules", {"hidden_layer": 3}), "the module lacks '_parameters'"),
        (lambda m: m.__setattr__("_modules", [1]), "the module lacks '_modules'"),
        (lambda m: m._modules.update({f"x{n}": torch.nn.ReLU() for n in range(99)}), "the module has 103 parts"),
        (lambda m: m.hidden_layer.__dict__.update(_parameters=torch.zeros(3)), "the module lacks '_parameters'"),
        (lambda m: m.hidden_layer._parameters.update(bias=3), "not a table of tensors"),
        (lambda m: m.hidden_layer._parameters.update({LONG: torch.zeros(2)}), "unknown hidden_layer.x?[31m"),
        (lambda m: m.bn1.__setattr__("eps", torch.zeros(3)), "eps is a Tensor, not 1e-05"),
        (lambda m: m.bn1.__setattr__("eps", ((1,), (2,))), "eps is a tuple, not 1e-05"),
    ],
)
def test_damaged_classifiers_are_refused(change, message: str, published: Published) -> None:
    change(published.classifier)
    published.save_classifier()
    path = published.path(RECIPE.classifier)
    assert message in complaint(path, lambda: classifier_tensors(path, FEATURES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "[" * 9999, "not a tokenizer"),
        (lambda text: text.replace('"BPE"', json.dumps(LONG)), "not a tokenizer"),
        (lambda text: text.replace('"GCTC": ', '"GCTC": 39999'), " tokens, the model 128"),
    ],
    ids=["nested", "escapes", "a token that the model has not"],
)
def test_damaged_tokenizers_are_refused(change, message: str, published: Published, tmp_path: Path) -> None:
    path = published.path(RECIPE.tokenizer)
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    said = convert(published, tmp_path / NAME, code=2)
    assert f"{path}: " in said and message in said and said.isprintable() and len(said) < 1000


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
    run = RECIPE.v1.runs[0]
    edit(published.path(run.embeddings), lambda c: c["ids"].__setitem__(0, "nobody"))
    said = convert(published, tmp_path / NAME, code=2)
    assert "output_1_merged.pt: not v1's output for virnucpro-broad/test_with_orfs.fa ('nobody')" in said


def test_tokenizer_larger_than_the_model_is_refused(published: Published, tmp_path: Path) -> None:
    from build_untrained_pack import build_tokenizer

    build_tokenizer(200).save(str(published.path(RECIPE.tokenizer)))
    assert "has 200 tokens, the model 128" in convert(published, tmp_path / NAME, code=2)

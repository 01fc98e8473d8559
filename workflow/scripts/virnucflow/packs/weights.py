"""The weights of a model pack as PyTorch's modules take them, and back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from virnucflow.cli import InputError
from virnucflow.files.tensors import save_tensors
from virnucflow.packs.pack import ModelPack

CPU = torch.device("cpu")
MOST_NAMED = 5  # tensors that do not fit, in one message

Module = TypeVar("Module", bound=torch.nn.Module)


def read_weights(pack: ModelPack, name: str, device: torch.device = CPU) -> dict[str, torch.Tensor]:
    """The tensors of one of the pack's files, by name, in the file's precision.

    On the CPU they are the file, mapped into memory. To a GPU they go straight from there, one at a time. Raises
    InputError when the file is not the one whose SHA-256 `pack.json` has.
    """
    with pack.file(name) as path:
        try:
            return load_file(path, device=str(device))
        except SafetensorError as error:  # reading() would take a GPU's lack of memory for damage, too
            raise InputError(f"{path}: not a safetensors file ({error}); restore the pack") from None


class Blank(TorchFunctionMode):
    """Within this, modules draw no random weights, and compute the tables that they start from on the CPU.

    On the meta device there is nothing to draw or compute, but PyTorch imports its compiler for it: a second or two.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is torch.arange:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Within this, modules are built without weights: load_weights gives them some."""
    with torch.device("meta"), Blank():
        yield


def load_weights(module: Module, tensors: Mapping[str, torch.Tensor], path: Path) -> Module:
    """Give a module built on the meta device its weights, which have the names of the published checkpoint.

    The module takes the tensors themselves, without a copy. Raises InputError, which names the file `path`, when one is
    missing, unknown or of another shape.
    """
    if problems := misfits(module, tensors):
        raise InputError(f"{path}: the tensors do not fit pack.json: {problems}; restore the pack")
    module.load_state_dict({own: tensors[name] for own, name in tensor_names(module).items()}, assign=True)
    return module.eval().requires_grad_(False)


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's tensors, in their precision, as load_weights takes them."""
    save_tensors({name: tensor.cpu().numpy() for name, tensor in published_state(module).items()}, path, {})


def published_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A module's tensors by their names in the published checkpoint."""
    names = tensor_names(module)
    return {names[own]: tensor for own, tensor in module.state_dict().items()}


def tensor_names(module: torch.nn.Module) -> dict[str, str]:
    """The names of a module's tensors in the published checkpoint, by their own.

    A module whose own modules have other names there says these with `published_names()`.
    """
    modules: Mapping[str, str] = getattr(module, "published_names", dict)()
    names = {}
    for own in module.state_dict():
        parent, _, tensor = own.rpartition(".")
        names[own] = f"{modules.get(parent, parent)}.{tensor}"
    return names


def misfits(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> str:
    """What is missing, unknown or of a wrong shape in tensors, by published names, for a module; else nothing."""
    expected = published_state(module)
    problems = [f"missing {name}" for name in expected.keys() - tensors.keys()]
    problems += [f"unknown {name}" for name in tensors.keys() - expected.keys()]
    problems += [
        f"{name} is {list(tensors[name].shape)}, not {list(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    return "; ".join(sorted(problems)[:MOST_NAMED]) + more

"""PyTorch: modules saved as exported programs, TorchScript, or pickles with their code."""

from __future__ import annotations

import copy
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.pickles import saved_pickle
from mlmgmt_nb.packaging.samples.sample import Sample, of_model

__all__ = ["FLAVOUR"]

_EXPORTED, _SCRIPT = "model.pt2", "model.pt"


class Torch(Flavour):
    """Modules, TorchScript modules and exported programs, and their files."""

    name = "torch"
    roots: ClassVar[tuple[str, ...]] = ("torch",)
    endings: ClassVar[tuple[str, ...]] = (".pt2", ".pt", ".pth", ".safetensors")

    def takes(self, model: Any) -> bool:
        return super().takes(model) and (hasattr(model, "state_dict") or _is_exported(model))

    def sample(self, model: Any, sample: Any) -> Sample:
        made = of_model(sample, arrays=True)
        dtype = _number_type(model)
        value = made.value
        if dtype and getattr(getattr(value, "dtype", None), "kind", "") == "f" and value.dtype != dtype:
            return of_model(value.astype(dtype))
        return made

    def method(self, model: Any) -> str | None:  # noqa: ARG002
        return None

    def answer(self, model: Any, call: Call) -> Any:
        import torch

        module = model.module() if _is_exported(model) else copy.deepcopy(model).eval()
        with torch.inference_mode():
            return _arrays(_called(module, call)(_tensor(call.sample)))

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        import torch

        if _is_exported(model):
            torch.export.save(model, folder / _EXPORTED)
            return _loaded(_EXPORTED, _shape_of_answer(model.module(), call), call)
        module = copy.deepcopy(model).cpu().eval()
        shape = _shape_of_answer(module, call)
        if isinstance(model, torch.jit.ScriptModule):
            torch.jit.save(module, folder / _SCRIPT)
            return _loaded(_SCRIPT, shape, call)
        if call.method is None and _export(module, call.sample, folder / _EXPORTED):
            return _loaded(_EXPORTED, shape, call)
        lines = _answer(shape, call)
        saved = saved_pickle(module, folder, lines, imports=("import torch",))
        return replace(
            saved, notes=("torch.export does not support this module, so it is saved as a pickle with its code",)
        )

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        _check_holds_code(path)
        name = copied(path, folder)
        import torch

        module = torch.export.load(path).module() if name.endswith(".pt2") else torch.jit.load(path)
        return _loaded(name, _shape_of_answer(module, call), call)

    def metadata(self, model: Any) -> dict[str, Any]:
        if _is_exported(model):
            return {"class": "ExportedProgram"}
        return {"class": type(model).__name__, "weights": sum(part.numel() for part in model.parameters())}


def _is_exported(model: Any) -> bool:
    return type(model).__name__ == "ExportedProgram"


def _number_type(model: Any) -> Any:
    """Return the NumPy name of the floating-point type of the module's weights; None if unknown."""
    parameters = getattr(model, "parameters", None)
    if isinstance(model, Path) or parameters is None:
        return None
    values = model.state_dict.values() if _is_exported(model) else parameters()
    first = next((value for value in values if value.dtype.is_floating_point), None)
    return None if first is None else str(first.dtype).rpartition(".")[2]


def _tensor(sample: Sample) -> Any:
    import torch

    value = sample.value
    return torch.tensor(value.to_numpy("float32")) if sample.is_frame else torch.as_tensor(value)


def _called(module: Any, call: Call) -> Any:
    return getattr(module, call.method) if call.method else module


def _arrays(output: Any) -> Any:
    if isinstance(output, dict):
        return {name: part.numpy() for name, part in output.items()}
    return [part.numpy() for part in output] if isinstance(output, (tuple, list)) else output.numpy()


def _shape_of_answer(module: Any, call: Call) -> str:
    """Run the module, and return the kind of its output: `tensor`, `list` or `dict`."""
    import torch

    with torch.inference_mode():
        output = _called(module, call)(_tensor(call.sample))
    return "dict" if isinstance(output, dict) else "list" if isinstance(output, (tuple, list)) else "tensor"


def _export(module: Any, sample: Sample, path: Path) -> bool:
    """Export a module for any number of rows. Return False if `torch.export` does not support it."""
    import torch

    rows = _tensor(sample)
    if rows.ndim and rows.shape[0] == 1:
        rows = torch.cat([rows, rows])  # torch.export treats a size of 1 as fixed
    try:
        dynamic = ({0: torch.export.Dim("rows", min=1)},) if rows.ndim else None
        torch.export.save(torch.export.export(module, (rows,), dynamic_shapes=dynamic), path)
    except Exception:  # noqa: BLE001 - torch.export raises many types; the caller pickles the module instead
        path.unlink(missing_ok=True)
        return False
    return True


def _answer(shape: str, call: Call) -> tuple[str, ...]:
    passed = call.sample.passed
    tensor = f'torch.tensor({passed}.to_numpy("float32"))' if call.sample.is_frame else f"torch.as_tensor({passed})"
    called = f"{f'model.{call.method}' if call.method else 'model'}({tensor})"
    result = {
        "tensor": f"return {called}.numpy()",
        "list": f"return [part.numpy() for part in {called}]",
        "dict": f"return {{name: part.numpy() for name, part in {called}.items()}}",
    }
    return ("with torch.inference_mode():", f"    {result[shape]}")


def _loaded(name: str, shape: str, call: Call) -> SavedModel:
    is_exported = name.endswith(".pt2")
    load = f'model = torch.export.load("{name}").module()' if is_exported else f'model = torch.jit.load("{name}")'
    form = "torch.export" if is_exported else "TorchScript"
    return SavedModel(name, form, (load,), _answer(shape, call), ("import torch",))


def _check_holds_code(path: Path) -> None:
    """Raise UsageError for files that contain only weights."""
    is_program = zipfile.is_zipfile(path) and (
        path.suffix == ".pt2" or any("/code/" in name for name in zipfile.ZipFile(path).namelist())
    )
    if not is_program:
        raise UsageError(
            f"model: {path.name} contains weights, but not the module that uses them",
            field="model",
            fix="Load the weights into the module in the notebook and give the module, or export it to `.pt2`.",
        )


FLAVOUR = Torch()

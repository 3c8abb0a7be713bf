"""ONNX: models that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.samples.sample import Sample, of_model

__all__ = ["FLAVOUR"]

_FILE = "model.onnx"
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class Onnx(Flavour):
    """`ModelProto` objects and `.onnx` files. `method` is the name of the output to return (default: all outputs)."""

    name = "onnx"
    roots: ClassVar[tuple[str, ...]] = ("onnx",)
    endings: ClassVar[tuple[str, ...]] = (".onnx",)

    def takes(self, model: Any) -> bool:
        return super().takes(model) and hasattr(model, "graph")

    def sample(self, model: Any, sample: Any) -> Sample:
        inputs = _session(model).get_inputs()
        if sample is None:
            return of_model(_zeros(inputs))
        made = of_model(sample, arrays=True)
        if made.is_frame or len(inputs) != 1:
            return made
        return of_model(_converted(made.value, _dtype(inputs[0])))

    def method(self, model: Any) -> str | None:  # noqa: ARG002
        return None

    def check_method(self, model: Any, method: str) -> None:
        names = [output.name for output in _session(model).get_outputs()]
        if method not in names:
            raise UsageError(
                f"method: the model has no output {method!r}", field="method", fix=f"Name one of {', '.join(names)}."
            )

    def answer(self, model: Any, call: Call) -> Any:
        session = _session(model)
        feed = _feed(session.get_inputs(), call.sample)
        names = _outputs(session, call)
        found = session.run(names, feed)
        return found[0] if len(names) == 1 else dict(zip(names, found, strict=True))

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        (folder / _FILE).write_bytes(model.SerializeToString())
        return _loaded(_FILE, _session(model), call)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        if call.method is not None:
            self.check_method(path, call.method)
        return _loaded(copied(path, folder), _session(path), call)

    def metadata(self, model: Any) -> dict[str, Any]:
        return {"class": model.graph.name or "ONNX graph", "producer": model.producer_name}


def _session(model: Any) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "model: onnxruntime runs ONNX models, and is not installed",
            field="model",
            fix="Install it in this kernel: `%pip install onnxruntime`.",
        ) from error
    return onnxruntime.InferenceSession(str(model) if isinstance(model, Path) else model.SerializeToString())


def _dtype(node: Any) -> str:
    if node.type not in _TYPES:
        raise UsageError(f"model: its input {node.name!r} is a {node.type}, which is not supported", field="model")
    return _TYPES[node.type]


def _converted(value: Any, dtype: str) -> Any:
    import numpy as np

    return np.asarray(value, dtype=dtype)


def _zeros(inputs: Sequence[Any]) -> Any:
    """Return a sample of zeros, or of empty text, with the input type of the model."""
    import numpy as np

    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs)
        raise UsageError(
            f"sample: the model has the inputs {names}",
            field="sample",
            fix="Give a DataFrame with these columns, or a dict with an array for each.",
        )
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in inputs[0].shape]
    dtype = _dtype(inputs[0])
    return np.full(shape, "", dtype=object) if dtype == "object" else np.zeros(shape, dtype=dtype)


def _feed(inputs: Sequence[Any], sample: Sample) -> dict[str, Any]:
    value = sample.value
    if len(inputs) == 1:
        return {inputs[0].name: _converted(value, _dtype(inputs[0]))}
    if sample.is_frame:
        return {node.name: value[[node.name]].to_numpy(_dtype(node)) for node in inputs}
    return {node.name: _converted(value[node.name], _dtype(node)) for node in inputs}


def _outputs(session: Any, call: Call) -> list[str]:
    return [call.method] if call.method else [output.name for output in session.get_outputs()]


def _loaded(name: str, session: Any, call: Call) -> SavedModel:
    inputs, outputs = session.get_inputs(), _outputs(session, call)
    feed = ", ".join(f'"{node.name}": {_passed(node, call.sample, several=len(inputs) > 1)}' for node in inputs)
    imports = ["import onnxruntime"]
    if "np." in feed:
        imports.append("import numpy as np")
    run = f"model.run(OUTPUTS, {{{feed}}})"
    answer = f"return {run}[0]" if len(outputs) == 1 else f"return dict(zip(OUTPUTS, {run}, strict=True))"
    load = (f'model = onnxruntime.InferenceSession("{name}")',)
    constants = (f"OUTPUTS = {outputs!r}".replace("'", '"'),)
    return SavedModel(name, "ONNX", load, (answer,), tuple(imports), constants)


def _passed(node: Any, sample: Sample, *, several: bool) -> str:
    """Return the expression in the driver for the value of an input."""
    dtype, passed = _dtype(node), sample.passed
    if sample.is_frame:
        return f'{passed}[["{node.name}"]].to_numpy("{dtype}")' if several else f'{passed}.to_numpy("{dtype}")'
    if several:
        return f'np.asarray({passed}["{node.name}"], dtype="{dtype}")'
    return passed


FLAVOUR = Onnx()

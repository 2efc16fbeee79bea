"""Half the size of a LiteRT graph: weights that half precision holds exactly are stored in it.

The weights of models that ship are rounded to half precision, but the converter writes them as float32. The graph
that this module makes widens them again as it is loaded, so that it computes the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray

LEAST_VALUES = 1024  # smaller tensors are not worth an operation


def with_half_weights(graph: bytes) -> bytes:
    """The same LiteRT graph with every large constant that loses nothing by it in half precision."""
    model = convert_bytearray_to_object(bytearray(graph))
    halved = {number for number in range(len(model.buffers)) if _is_exact(model, number)}
    for number in halved:
        model.buffers[number].data = np.frombuffer(_values(model, number).astype(np.float16).tobytes(), np.uint8)
    for subgraph in model.subgraphs:
        for number, tensor in enumerate(list(subgraph.tensors)):
            if tensor.buffer in halved:
                _widen(subgraph, number, _dequantize_code(model))
    return bytes(convert_object_to_bytearray(model))


def _is_exact(model: Any, number: int) -> bool:
    """Whether a buffer is a large float32 constant and loses nothing in half precision."""
    users = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors if tensor.buffer == number]
    if not users or any(tensor.type != schema.TensorType.FLOAT32 for tensor in users):
        return False
    values = _values(model, number)
    with np.errstate(over="ignore"):
        return len(values) >= LEAST_VALUES and np.array_equal(values, values.astype(np.float16))


def _values(model: Any, number: int) -> NDArray[np.float32]:
    data = model.buffers[number].data
    return np.frombuffer(b"" if data is None else bytes(data), np.float32)


def _widen(subgraph: Any, number: int, dequantize: int) -> None:
    """Makes constant `number` the result of an operation that widens a half-precision constant."""
    wide = subgraph.tensors[number]
    narrow = schema.TensorT()
    narrow.name, narrow.shape, narrow.type = wide.name + b"/half", wide.shape, schema.TensorType.FLOAT16
    narrow.buffer, wide.buffer = wide.buffer, 0  # the empty one: the tensor is computed
    subgraph.tensors.append(narrow)
    operation = schema.OperatorT()
    operation.opcodeIndex = dequantize
    operation.inputs, operation.outputs = [len(subgraph.tensors) - 1], [number]
    subgraph.operators.insert(0, operation)


def _dequantize_code(model: Any) -> int:
    """Index of the widening operation among those that the model uses, added where it is missing."""
    wanted = schema.BuiltinOperator.DEQUANTIZE
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, wanted, 3  # 3: of float16
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1

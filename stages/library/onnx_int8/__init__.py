"""The techniques of int8 in ONNX Runtime: one module and one row each."""

from stages.library.onnx_int8.common import Settings
from stages.library.onnx_int8.dynamic import Dynamic
from stages.library.onnx_int8.static import Static

# By the name that conf/ort_quantize and `python -m stages.ort_quantize` know them by.
METHODS: dict[str, type[Settings]] = {"dynamic": Dynamic, "static": Static}

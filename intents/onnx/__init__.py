"""ONNX graphs: export, fusion, sensitivity, and one module per technique of int8, found by its name."""

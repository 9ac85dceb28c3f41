"""ONNX graphs: export, fusion, plain forms, sensitivity, and one module per technique of int8, found by its name."""

"""The model as it is served. Imports NumPy, ONNX Runtime and tokenizers, and nothing else that must be installed."""

from intents.core import interrupt

interrupt.at_once()

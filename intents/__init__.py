"""The library of the pipeline: a package per subject. The stages (stages/) and the tools (tools/) are built from it."""

import os

# Threads of torch that wait for each other do so asleep, not spinning: with anything else running on the machine,
# spinning made training several times slower, and with nothing else it gains nothing. It must be set before torch
# is loaded, and changes no result.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# ONNX Runtime reports on its use to Microsoft, and keeps an identifier of the machine in the user's folder, unless this
# is set before it is loaded (microsoft/onnxruntime#27379). To allow that, set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

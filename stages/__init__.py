"""The pipeline: one module per DVC stage, and the programs around it: predict, demo, whole, params, sweep, tune,
review, readme, lock."""

import os

# Threads of torch that wait for each other do so asleep, not spinning: with anything else running on the machine,
# spinning made training several times slower, and with nothing else it gains nothing. It must be set before torch
# is loaded, and changes no result.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""The stages of dvc.yaml, one module each, and nothing else."""

from intents.core import interrupt

interrupt.at_once()

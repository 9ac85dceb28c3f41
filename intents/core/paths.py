"""Where everything lies, relative to the project's root."""

from pathlib import Path

DATA = Path("data")
CLINC = DATA / "clinc"  # the canonical data set
AUGMENTED = DATA / "augmented"  # unlabelled queries and the teacher's answers
LOGITS = DATA / "logits"  # VARIANT.safetensors
PRETRAINED = DATA / ".pretrained"  # checkpoints unpacked from the Python packages that carry them
WRONG = DATA / "wrong_answers.csv"  # of validation; it holds the data set's own queries, and so is not in Git
SCRATCH = DATA / ".training"  # checkpoints of runs that have not finished; outside of every stage's outs
MODELS = Path("models")  # VARIANT/
RELEASE = Path("release")  # the deployed model

REPORTS = Path("reports")
DATA_REPORT = REPORTS / "data.json"
MADE = REPORTS / "models"  # VARIANT.json: what the stage that made a variant says of it
TRAINING = REPORTS / "training"  # VARIANT.csv: loss and accuracy by epoch
PRUNING = REPORTS / "pruning"  # VARIANT-layers.json, VARIANT-schedule.csv
SENSITIVITY = REPORTS / "sensitivity"  # METHOD.csv, METHOD.json
EVALUATION = REPORTS / "evaluation.json"
MANIFEST = REPORTS / "manifest.json"
CORRECT = REPORTS / "correct.csv"
LATENCY = REPORTS / "latency.json"
TIMINGS = REPORTS / "timings.csv"
BENCHMARK = REPORTS / "benchmark.json"
SUMMARY = REPORTS / "summary.json"
TRADEOFF = REPORTS / "tradeoff.csv"
FIGURES = REPORTS / "figures"
INTENTS = REPORTS / "intents.csv"
PRIMER = REPORTS / "primer"

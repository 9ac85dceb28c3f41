"""deploy: the best variant in one folder with a fixed path, the artifact of this pipeline.

In:  reports/benchmark.json (which variant), reports/evaluation.json (its threshold), its model folder, data/clinc/
     (the names of the intents).
Out: release/ (model.onnx, tokenizer.json, classifier.json): all that intents.serving reads.
"""

import shutil

from intents.core import files, paths, settings, variants
from intents.core.errors import program
from intents.data.corpus import Corpus
from intents.evaluation.threshold import OutOfScope
from intents.serving.classifier import MODEL, TOKENIZER
from intents.serving.rule import Rule


def main() -> None:
    rate = settings.load(OutOfScope, "out_of_scope").rate
    name = files.read_json(paths.BENCHMARK, "dvc repro select")["deployed"]
    threshold = files.read_json(paths.EVALUATION, "dvc repro evaluate")["variants"][name]["threshold"]
    variant = variants.parse(name)

    with files.new_folder(paths.RELEASE) as folder:
        for part in (MODEL, TOKENIZER):
            shutil.copy(files.require(variant.folder / part, variant.made_by), folder)
        Rule(Corpus().intents.names, threshold, rate).save(folder)


if __name__ == "__main__":
    program(main, __doc__)

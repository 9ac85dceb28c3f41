"""quantize: a model with int8 weights, in PyTorch.

Call: python -m stages.quantize MODEL METHOD, with METHOD one of
      dynamic   activations quantized within the range that they have in each call;
      static    activations quantized within fixed ranges: those seen on training queries, or, for a model of the stage
                qat, those that it was trained with.
In:   data/clinc/, models/MODEL/.
Out:  models/MODEL-torch-METHOD/ (config, tokenizer, int8 tensors as safetensors) and its logits.

Every query is answered by itself, as it would be served. In a batch, padded to the longest query, an int8 model may
answer otherwise: for how many validation queries is among its figures.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core import files, settings, variants
from intents.core.errors import program
from intents.core.techniques import settings_of
from intents.core.variants import Form, Variant
from intents.data import corpus
from intents.data.corpus import Corpus
from intents.int8 import kernels
from intents.models import checkpoints, folder

BATCH = 32  # queries in the batches whose answers are compared with those given one by one


@torch.inference_mode()
def answers_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, queries: list[str], batch_size: int
) -> np.ndarray:
    """Logits, shape (queries, labels), of queries in the order given, each batch padded to its longest query."""
    found = []
    for start in tqdm(range(0, len(queries), batch_size), desc="logits", unit="batch", leave=False):
        texts = queries[start : start + batch_size]
        batch = tokenizer(texts, truncation=True, padding=True, return_token_type_ids=False, return_tensors="pt")
        found.append(model(**batch).logits.numpy())
    return np.concatenate(found)


def main(model: str, method: str) -> None:
    quantize = settings.load(settings_of("intents.int8", method), f"quantize.{method}")
    parent = variants.model(model)

    data = Corpus()
    source = files.require(parent.folder, parent.made_by)
    tokenizer = checkpoints.load_tokenizer(source)

    def make(target: Path) -> folder.Made:
        kernels.save(quantize.int8_form(source, data), target)
        folder.save_tokenizer(target, tokenizer)
        saved = kernels.load(target, parent.made_by)  # what answers is what was saved
        answers = {split: answers_of(saved, tokenizer, data.texts(split), batch_size=1) for split in corpus.JUDGED}
        padded = answers_of(saved, tokenizer, data.texts("validation"), BATCH)
        flipped = answers["validation"].argmax(axis=1) != padded.argmax(axis=1)
        return folder.Made(answers, {"flipped_in_padded_batches": float(flipped.mean())})

    folder.publish(Variant(model, Form.TORCH_INT8, method).name, data, make)


if __name__ == "__main__":
    program(main, __doc__)

"""peers: another way to tell intents apart, trained on the same queries, to be judged and timed beside our models.

Call: python -m stages.peers PEER, with PEER a module of intents/peers and a section of `peers`.
In:   data/clinc/, and what the section says that it `reads`.
Out:  models/peer-PEER/ and its scores, as data/logits/peer-PEER.safetensors.
"""

from pathlib import Path

from intents.core import settings, variants
from intents.core.errors import program
from intents.core.techniques import settings_of
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.models import folder
from intents.peers import common


def main(peer: str) -> None:
    chosen = settings.load(settings_of("intents.peers", peer), f"peers.{peer}")
    data = Corpus()

    def make(target: Path) -> folder.Made:
        parameters = chosen.train(data, target)
        scores = common.load(peer, target, threads=1)  # what answers is what was saved
        answers = {
            split: logits.one_by_one(lambda text: scores([text])[0], data.texts(split)) for split in corpus.JUDGED
        }
        return folder.Made(answers, {"parameters": parameters})

    folder.publish(f"{variants.PEER}-{peer}", data, make)


if __name__ == "__main__":
    program(main, __doc__)

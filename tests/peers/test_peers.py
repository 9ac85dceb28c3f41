"""Peers: trained on a few queries, they know others, loaded from what they wrote. Some need packages of their own.

Those whose packages are not in requirements.txt are tested where they are installed (requirements-peers.txt).
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from made import logits_of, read

from intents.core.errors import PipelineError
from intents.core.techniques import settings_of
from intents.data.corpus import Corpus
from intents.peers import common, linear
from intents.peers.fasttext import line
from stages import peers

NEEDS = {"tfidf": "sklearn", "fasttext": "fasttext", "model2vec": "skeletoken", "openvino": "nncf"}
SETTINGS: dict[str, dict[str, Any]] = {
    "tfidf": {"words": 2, "inverse_strength": 30.0, "seed": 0},
    "fasttext": {"epochs": 25, "learning_rate": 0.5, "dimension": 64, "words": 2, "buckets": 50000, "seed": 0},
    "model2vec": {
        "package": None,
        "revision": None,
        "sha256": None,
        "dimension": 16,
        "inverse_strength": 30.0,
        "seed": 0,
    },
    "openvino": {"queries": 10, "seed": 0},
}


@pytest.mark.parametrize("peer", NEEDS)
def test_it_answers_as_it_was_trained_one_by_one_or_together(
    built_once: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: str
) -> None:
    if importlib.util.find_spec(NEEDS[peer]) is None:
        pytest.skip("its packages are those of requirements-peers.txt")
    monkeypatch.chdir(built_once)
    data = Corpus()
    reads = "models/half-onnx" if peer == "openvino" else "data/clinc/train.jsonl"
    more = {"checkpoint": str(tiny_checkpoint)} if peer == "model2vec" else {}
    parameters = settings_of("intents.peers", peer)(reads=reads, **SETTINGS[peer], **more).train(data, tmp_path)
    assert parameters > 0
    scores = common.load(peer, tmp_path, threads=1)
    texts = data.texts("validation")
    together = scores(texts)
    assert together.shape == (len(texts), 4)
    assert (together.argmax(axis=1) == data.labels("validation")).mean() >= 0.6  # by chance: 0.25
    alone = np.stack([scores([text])[0] for text in texts])
    assert np.abs(together - alone).max() < (1e-3 if peer != "openvino" else 0.5)


def test_the_stage_writes_what_a_variant_has(built: Path) -> None:
    content = (
        Path("params.yaml")
        .read_text()
        .replace(
            "\npeers: {}", "\npeers:\n  tfidf: " + json.dumps({"reads": "data/clinc/train.jsonl", **SETTINGS["tfidf"]})
        )
    )
    Path("params.yaml").write_text(content)
    run(peers, "tfidf")
    scores = common.load("tfidf", Path("models/peer-tfidf"), 1)
    assert np.allclose(logits_of("peer-tfidf")["test"], scores(Corpus().texts("test")), atol=1e-5)
    assert read("reports/models/peer-tfidf.json")["peer-tfidf"]["parameters"] > 100


@pytest.mark.usefixtures("project")
def test_another_name_is_refused() -> None:
    with pytest.raises(
        PipelineError, match=r"'rasa' is no technique of intents.peers; allowed: fasttext, model2vec, op"
    ):
        run(peers, "rasa")


@pytest.mark.parametrize("peer", NEEDS)
def test_without_its_packages_one_line_names_the_file_that_lists_them(peer: str) -> None:
    message = f"the peer {peer} needs .*pip install -r requirements-peers.txt"
    with pytest.raises(PipelineError, match=message) as error, common.packages(peer):
        raise ModuleNotFoundError("No module named 'x'" * 100)
    assert len(str(error.value)) < 400


def test_an_intent_without_a_query_is_an_error() -> None:
    with pytest.raises(PipelineError, match="1 intents have no training query"):
        linear.fit(np.eye(3), np.array([0, 1, 1]), 3, 1.0, 0)


def test_a_query_holds_no_label_of_fasttext_and_no_line_end() -> None:
    assert line("play __label__3\n a song ") == "play 3 a song"

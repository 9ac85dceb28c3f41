"""families: each that is allowed goes through what the stages do to a model; others are refused before any training."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from intents.core import settings
from intents.core.errors import PipelineError
from intents.data.corpus import Corpus, Intents
from intents.int8 import kernels
from intents.models import checkpoints, encoder, families, folder, pieces
from intents.models.encoder import Kept
from intents.onnx import dynamic, export, graph
from intents.onnx.common import WeightType, included
from intents.serving.classifier import MODEL, OnnxModel
from intents.training import student
from intents.training.student import Student
from stages import finetune_teacher

INTENTS = Intents.of({"daily": ["alarm", "music"]})
QUERIES = ["wake me at seven", "play", "is it cold outside today, or is it not", ""]
MAX_LENGTH = 24
SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
SCHEME = kernels.Scheme(per_row=True, reduce_range=False, embeddings=True, float_layers=[])
INT8 = {"per_channel": True, "reduce_range": False, "exclude": [], "min_agreement": 0.0}


def configuration(family: str, pieces: int) -> PreTrainedConfig:
    common: dict[str, Any] = {"vocab_size": pieces, "max_position_embeddings": 26, "initializer_range": 0.2}
    behind = common | SIZES | {"pad_token_id": 1, "type_vocab_size": 1}
    match family:
        case "bert":
            return BertConfig(**common, **SIZES)
        case "distilbert":
            return DistilBertConfig(**common, dim=32, n_layers=4, n_heads=2, hidden_dim=64)
        case "roberta":
            return RobertaConfig(**behind)
        case "xlm-roberta":
            return XLMRobertaConfig(**behind)
        case "electra":
            return ElectraConfig(**common, **SIZES, embedding_size=16)
        case "mpnet":
            return MPNetConfig(**common, **SIZES, pad_token_id=1)
        case "albert":
            return AlbertConfig(**common, **SIZES, embedding_size=16)
    raise AssertionError(family)


def words(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind: byte-level BPE without merges, or WordPiece of letters."""
    byte_level = "roberta" in family or family == "mpnet"
    special = ["<s>", "<pad>", "</s>", "<unk>"] if byte_level else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    first, pad, last, unknown = special if byte_level else (special[2], special[0], special[3], special[1])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if byte_level:
        vocabulary = {piece: place for place, piece in enumerate([*special, *letters])}
        made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unknown))
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    else:
        pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
        vocabulary = {piece: place for place, piece in enumerate(pieces)}
        made = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=unknown))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, unk_token=unknown, cls_token=first, sep_token=last
    )


def checkpoint(family: str, target: Path) -> Path:
    """A pretrained encoder of the family, tiny and with random weights, as a folder."""
    torch.manual_seed(0)
    tokenizer = words(family)
    AutoModel.from_config(configuration(family, len(tokenizer))).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def answers(model: Any, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    batch = tokenizer(QUERIES, truncation=True, padding=True, return_token_type_ids=False, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits.numpy()  # type: ignore[no-any-return]


NARROW = {field.name: None for field in dataclasses.fields(Student)} | {
    "shape": {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "dropout": 0.0},
    "vocabulary": {"seen": 2, "common": 4000, "others": "nearest"},
    "answers": "data/augmented",
    "objective": "logits",
    "emphasis": 0.0,
}
# Each family once, and BERT's in both ways: an export takes seconds. None: the checkpoint's own classifier.
THROUGH = [
    ("bert", None),
    ("bert", "mean"),
    ("distilbert", None),
    ("roberta", None),
    ("xlm-roberta", "mean"),
    ("electra", None),
]


def test_each_family_that_is_allowed_is_tried() -> None:
    assert {family for family, _ in THROUGH} == set(families.FAMILIES)


@pytest.mark.parametrize(("family", "pooling"), THROUGH)
def test_a_family_goes_through_all_stages(family: str, pooling: str | None, tmp_path: Path) -> None:
    """Fine-tuned, halved, cut down, int8 in PyTorch, exported, fused, int8 in ONNX Runtime: as the stages call it."""
    source = checkpoint(family, tmp_path / "checkpoint")
    assert checkpoints.locate(str(source), None, None, None) == source
    tokenizer = checkpoints.load_tokenizer(source, MAX_LENGTH)
    if pooling is None:
        model = checkpoints.load_classifier(source, INTENTS)
    else:
        model = finetune_teacher.pooled.PooledClassifier.from_encoder(source, pooling=pooling, num_labels=3)
    families.check_family(model.config, "teacher.checkpoint")
    families.check_length(model.config, MAX_LENGTH, "teacher.max_length", "it")
    families.check_tokenizer(model, tokenizer, source)

    batch = tokenizer(QUERIES, padding=True, truncation=True, return_token_type_ids=False, return_tensors="pt")
    model.train()(**batch, labels=torch.tensor([0, 1, 2, 2])).loss.backward()
    half = encoder.keep_layers(model.eval(), [1, 3], "student.half.layers")
    half.save_pretrained(tmp_path / "half")
    folder.save_tokenizer(tmp_path / "half", tokenizer)
    expected = answers(encoder.load_classifier(tmp_path / "half"), tokenizer)
    np.testing.assert_allclose(expected, answers(half, tokenizer), atol=1e-5)

    cut = encoder.shrink(encoder.load_classifier(tmp_path / "half"), [Kept([1], list(range(40)))] * 2)
    cut.save_pretrained(tmp_path / "cut")
    found = answers(encoder.load_classifier(tmp_path / "cut"), tokenizer)
    np.testing.assert_allclose(found, answers(cut, tokenizer), atol=1e-5)
    assert np.isfinite(answers(kernels.quantize(encoder.load_classifier(tmp_path / "half"), SCHEME), tokenizer)).all()
    read = pieces.as_read(model, tokenizer)
    assert read.shape == (pieces.looked_up(model).shape[0], 32)
    assert torch.isfinite(read).all()

    served = tmp_path / "onnx"
    served.mkdir()
    export.write(encoder.load_classifier(tmp_path / "half", attention="eager"), served / MODEL, 20)
    folder.copy_tokenizer(tmp_path / "half", served)
    onnx = OnnxModel(served)
    np.testing.assert_allclose(np.stack([onnx.logits(query) for query in QUERIES]), expected, atol=1e-3)
    np.testing.assert_allclose(onnx.logits_padded(QUERIES), expected, atol=1e-3)
    assert graph.fuse(served / MODEL, tmp_path / "fused.onnx")
    int8 = Path(shutil.copytree(served, tmp_path / "int8"))
    technique = dynamic.Settings(weight_type=WeightType.QInt8, **INT8)
    nodes = included(tmp_path / "fused.onnx", [], "exclude")
    technique.quantizer(tmp_path / "fused.onnx", QUERIES, onnx.inputs)(int8 / MODEL, nodes)
    assert np.isfinite(OnnxModel(int8).logits_by_length(QUERIES)).all()


@pytest.fixture
def project_of(project: Path, built_once: Path, overrides: list[str]) -> Path:
    """A project with its data, as the current folder."""
    shutil.copytree(built_once / "data/clinc", project / "data/clinc")
    return project


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("albert", "distill cannot take layers of it"),
        ("mpnet", "prune does not know its layers, and ort-quantize cannot fuse"),
    ],
)
def test_a_family_that_a_later_stage_cannot_take_is_refused_before_training(
    project_of: Path, overrides: list[str], family: str, reason: str
) -> None:
    source = checkpoint(family, project_of / "checkpoint")
    compose(*overrides, f"teacher.checkpoint={source}", "teacher.max_length=16")
    before = contents(project_of)
    with pytest.raises(
        PipelineError, match=rf"`teacher.checkpoint` is a model of the family '{family}': {reason}"
    ) as e:
        run(finetune_teacher)
    assert "allowed: bert, distilbert, roberta, xlm-roberta, electra; as `second_teacher`" in str(e.value)
    assert len(str(e.value)) <= 400
    assert contents(project_of) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["student=[half,narrow]", "student.half.layers=[1,3]"],
            "`student.narrow.vocabulary` is to cut the vocabulary of `teacher.checkpoint`, which is of the type BPE; "
            "allowed: null, or a teacher with WordPiece, such as BERT",
        ),
        (
            [
                *("student=[half,narrow]", "student.half.layers=[1,3]", "student.narrow.vocabulary=null"),
                *("student.narrow.shape.hidden=40", "student.narrow.shape.heads=8"),
            ],
            "`student.narrow.shape.hidden` is 40, with 8 heads and word vectors of width 32 to start from; allowed: a "
            "multiple of `student.narrow.shape.heads`, up to 32",
        ),
        (["student=half"], "`student.half.layers` names layer 5, but the teacher has 4: allowed are 0 to 3"),
        (
            ["student=half", "student.half.layers=null"],
            "one of `student.half.layers`, `student.half.checkpoint` and `student.half.shape` must be given, and the "
            "others be null; given: none",
        ),
        (
            ["student=half", "student.half.alpha=2"],
            "`student.half.alpha` is 2.0; allowed: a number from 0 to 1, or null",
        ),
    ],
)
def test_a_student_that_cannot_be_made_of_the_teacher_is_refused_before_the_teacher_is_trained(
    project_of: Path, change: list[str], message: str
) -> None:
    """distill would say so as well, after a teacher has been trained that is of no use."""
    source = checkpoint("roberta", project_of / "checkpoint")
    own = [f"teacher.{key}=null" for key in ("package", "revision", "sha256")]
    compose(f"teacher.checkpoint={source}", *own, "teacher.max_length=16", "second_teacher=none", *change)
    before = contents(project_of)
    with pytest.raises(PipelineError) as error:
        run(finetune_teacher)
    assert str(error.value) == message
    assert contents(project_of) == before


def test_a_student_with_the_whole_vocabulary_is_made_of_a_teacher_without_word_pieces(tmp_path: Path) -> None:
    chosen = settings.parse(Student, NARROW | {"vocabulary": None}, "student.narrow")
    source = checkpoint("roberta", tmp_path / "own")
    student.check(chosen, "narrow", configuration("roberta", 300), checkpoints.load_tokenizer(source, 16))


@pytest.mark.parametrize(("hidden", "allowed"), [(16, True), (20, False)])
def test_word_vectors_narrower_than_the_layers_bound_the_width_of_a_student(hidden: int, allowed: bool) -> None:
    shape = {"hidden": hidden, "layers": 1, "heads": 2, "feed_forward": 16, "dropout": 0.0}
    chosen = settings.parse(Student, NARROW | {"shape": shape}, "student.narrow")
    if allowed:
        student.check(chosen, "narrow", configuration("electra", 300), words("electra"))
        return
    with pytest.raises(PipelineError, match=r"`student.narrow.shape.hidden` is 20, .*width 16 to start from"):
        student.check(chosen, "narrow", configuration("electra", 300), words("electra"))


@pytest.mark.parametrize("family", ["mpnet", "albert"])
def test_as_second_teacher_it_is_taken(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose("second_teacher=mpnet", "second_teacher.max_length=16")
    teacher = finetune_teacher.checked("second_teacher")
    finetune_teacher.check(teacher, checkpoint(family, tmp_path / "own"), "second_teacher", converted=False)


@pytest.mark.parametrize(
    ("family", "longest"),
    [("bert", 26), ("distilbert", 26), ("electra", 26), ("roberta", 24), ("xlm-roberta", 24), ("mpnet", 24)],
)
def test_the_longest_input_is_that_which_the_model_can_read(family: str, longest: int) -> None:
    config = configuration(family, 300)
    assert families.positions(config) == longest
    model = AutoModel.from_config(config)
    with torch.inference_mode():
        assert model(torch.full((1, longest), 5)).last_hidden_state.shape[1] == longest
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 5))


def test_more_tokens_than_positions_are_refused_before_training(
    project_of: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    """Its tokenizer would let them through: trained and exported on short queries, it fails on the first long one."""
    compose(*overrides, "teacher.max_length=65")
    with pytest.raises(PipelineError, match=r"`teacher.max_length` is 65, but .* reads 64 tokens; allowed: up to 64"):
        run(finetune_teacher)
    assert not (project_of / "models").exists()


@pytest.mark.parametrize(
    ("pieces", "allowed"), [(10, False), (400, False), (516, True), (520, True), (600, True), (1100, False)]
)
def test_a_tokenizer_of_another_model_is_refused(pieces: int, allowed: bool, tmp_path: Path) -> None:
    """Too few pieces are a made-up vocabulary, too many ids fail in the middle of training; tables are padded."""
    tokenizer = words("bert")
    model = AutoModel.from_config(configuration("bert", pieces))
    assert len(tokenizer) == 516
    if allowed:
        families.check_tokenizer(model, tokenizer, tmp_path)
        return
    with pytest.raises(PipelineError, match=rf"has 516 pieces, numbered to 515, and the model {pieces} word vectors"):
        families.check_tokenizer(model, tokenizer, tmp_path)


@pytest.fixture
def mismatched(project_of: Path, tiny_checkpoint: Path) -> Path:
    """A checkpoint with the tokenizer of another model, of fewer pieces."""
    source = Path(shutil.copytree(tiny_checkpoint, project_of / "own"))
    for path in {*source.glob("*vocab*"), *source.glob("*token*")}:
        path.unlink()
    words("bert").save_pretrained(source)
    return source


FEWER = r"has 516 pieces, numbered to 515, and the model \d{4,} word vectors"


def test_so_is_that_of_a_teacher_before_it_is_trained(mismatched: Path, overrides: list[str]) -> None:
    compose(*overrides, f"teacher.checkpoint={mismatched}", "teacher.max_length=16", "teacher.sha256=null")
    before = contents(mismatched.parent)
    with pytest.raises(PipelineError, match=FEWER):
        run(finetune_teacher)
    assert contents(mismatched.parent) == before


def test_and_that_of_a_students_own_checkpoint(mismatched: Path, built_once: Path) -> None:
    own = {"shape": None, "vocabulary": None, "checkpoint": f"./{mismatched.name}"}
    chosen = settings.parse(Student, NARROW | own, "student.own")
    with pytest.raises(PipelineError, match=FEWER):
        student.initial(chosen, "own", built_once / "models/teacher", Corpus())

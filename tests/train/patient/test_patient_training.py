"""Examples for the patient's adapter, and its training, on a tiny random model."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage
from therapysim.personas.items import COLUMNS, DANGER_KINDS, items_of
from therapysim.personas.llm.guard import Fault, GuardSettings, inspect
from therapysim.personas.llm.prompts import instructions
from therapysim.personas.load import find, personas
from therapysim.personas.patient import Cue
from therapysim.train.patient import cue_lines as lines
from therapysim.train.patient.patient_settings import AdapterSettings, LineSettings

SETTINGS = LineSettings(variants=1, turns=3)


@pytest.fixture(scope="module")
def batch() -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=3))


@pytest.fixture(scope="module")
def cues(batch: SessionBatch) -> list[Cue]:
    return lines.training_cues(SETTINGS, batch)


@pytest.fixture(scope="module")
def examples(cues: list[Cue], batch: SessionBatch) -> list[lines.Example]:
    return lines.generated_lines(cues, batch, SETTINGS)


@pytest.fixture(scope="module")
def answered(batch: SessionBatch) -> list[lines.Example]:
    return lines.answered_lines(batch.sensor.affect, SETTINGS)


def test_examples_come_from_training_patients_alone(examples: list[lines.Example]) -> None:
    assert {find(e.patient).split for e in examples} == {"train"}
    assert {find(e.patient).name for e in examples} == {p.name for p in personas("train")}


def test_no_example_names_a_patient_kept_apart(
    examples: list[lines.Example], answered: list[lines.Example], batch: SessionBatch
) -> None:
    """Names may be common words; a whole fact line may not be anywhere."""
    kept_apart = [line for split in ("dev", "test") for p in personas(split) for f in p.facts for line in f.lines]
    written = lines.written_lines(batch.sensor.affect, SETTINGS)
    text = "\n".join(e.line + json.dumps(e.chat) for e in (*examples, *answered, *written))
    assert not [line for line in kept_apart if line in text]


def test_a_line_reads_near_the_mood_its_chat_asks_for(examples: list[lines.Example], batch: SessionBatch) -> None:
    moods = [re.search(r"\(You feel (.+)\. Now ", e.chat[-1]["content"])[1].split(", ") for e in examples]
    sad = [e.line for e, mood in zip(examples, moods, strict=True) if {"sad", "very sad"} & set(mood)]
    rest = [e.line for e, mood in zip(examples, moods, strict=True) if "sad" not in " ".join(mood)]
    assert len(sad) > 10 and len(rest) > 10
    assert batch.sensor.affect(sad)[:, 0].mean() < batch.sensor.affect(rest)[:, 0].mean() - 0.25


def test_there_are_written_lines_for_every_training_patient(batch: SessionBatch) -> None:
    written = lines.written_lines(batch.sensor.affect, SETTINGS)
    assert {e.patient for e in written} == {p.id for p in personas("train")}
    assert len(written) >= 1_600 and len({e.line for e in written}) > 0.98 * len(written)


def test_answered_lines_are_what_the_case_file_answers_to_the_question(answered: list[lines.Example]) -> None:
    assert {e.patient for e in answered} == {p.id for p in personas("train")}
    assert {(e.move, e.source) for e in answered} == {("answer", "answered")}
    asks = Path(lines.__file__).parents[1] / "reader" / "asks.jsonl"
    rows = [json.loads(row) for row in asks.read_text(encoding="utf-8").splitlines()]
    kinds = {row["text"].replace('"', "'"): row["kind"] for row in rows}
    met = set()
    for e in answered:
        heard, told = e.chat[-1]["content"].splitlines()[:2]
        kind = kinds[heard.removeprefix('Your therapist says: "').removesuffix('"')]
        end = {**COLUMNS, **DANGER_KINDS}.get(kind, kind)
        items = [item for item in items_of(find(e.patient)).values() if item.id.rpartition(".")[2] == end]
        assert any(line.startswith(e.line) for item in items for line in item.lines)  # the first sentence may be all
        assert told == f"(Answer: {e.line})"
        met.add(kind)
    assert met >= {"sleep", "work", "body_then", "core", "change", "d_intent"}


def test_examples_are_kept_and_read_again(examples: list[lines.Example], tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert lines.write_lines(path, examples) == len(examples)
    assert lines.read_lines(path) == examples


def test_examples_of_a_test_patient_are_refused(examples: list[lines.Example], tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines.write_lines(path, examples[:1])
    path.write_text(path.read_text().replace(f'"{examples[0].patient}"', '"claire"'))
    with pytest.raises(ConfigError, match="'claire' belongs to test"):
        lines.read_lines(path)
    path.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"lines\.jsonl.*patient-lines"):
        lines.read_lines(path)


class Says:
    """A model that answers every chat with the same few lines in turn."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def reply(self, chats: Any, sampling: Any, seeds: Any) -> list[str]:
        return [self.texts[i % len(self.texts)] for i in range(len(chats))]


def feel(texts: Any) -> NDArray[np.float32]:
    """Sad, half as sad where something is low, else glad."""
    sadness = [-0.9 if "sad" in t else -0.5 if "low" in t else 0.9 for t in texts]
    return np.array([[i, 0, 0, 0] for i in sadness], np.float32).reshape(-1, 4)


def sad(cue: Cue) -> Cue:
    return lines.replace(cue, mood=(-0.9, 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def free(cues: list[Cue]) -> Cue:
    """A cue that tells nothing of the file."""
    return sad(next(c for c in cues if not (c.facts or c.answers or c.persona.risk) and c.transcript.messages))


def test_of_drawn_lines_the_nearest_sound_one_is_kept(free: Cue) -> None:
    model = Says("As an AI language model I am sad.", "I am low today.", "I am sad about the whole week.", "")
    (kept,) = lines.drawn_lines(model, [free], feel, SETTINGS, draws=4)
    assert kept.line == "I am sad about the whole week." and kept.source == "drawn"
    (kept,) = lines.drawn_lines(Says("It is a fine day.", "I am low today."), [free], feel, SETTINGS, draws=2)
    assert kept.line == "I am low today."


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "empty"),
        ("I am so sad. How can I help you today?", "role"),
        ("I am so sad that I want to kill myself.", "danger"),
        ("I am sad, and I am ninety-nine years old.", "contradiction"),
        ("I am sad that Bartholomew went away.", "invention"),
        ("It is a lovely morning.", "mood"),
    ],
)
def test_a_drawn_line_with_a_fault_is_no_example(free: Cue, line: str, fault: Fault) -> None:
    (verdict,) = inspect([line], [free], feel, GuardSettings(), [instructions(free)])
    assert verdict.fault == fault
    assert not lines.drawn_lines(Says(line), [free], feel, SETTINGS, draws=1)


def test_a_drawn_line_beside_the_answer_is_no_example(cues: list[Cue]) -> None:
    cue = sad(next(c for c in cues if len(c.items) == 1 and c.figure is None and not c.facts))
    beside, answer = "I am sad about the whole week.", f"{cue.items[0].lines[0]} I am sad."
    (verdict,) = inspect([beside], [cue], feel, GuardSettings(), [instructions(cue)])
    assert verdict.fault == "answer"
    (kept,) = lines.drawn_lines(Says(beside, answer), [cue], feel, SETTINGS, draws=2)
    assert kept.line == answer
    assert not lines.drawn_lines(Says(beside), [cue], feel, SETTINGS, draws=1)


@pytest.fixture(scope="module")
def few() -> list[lines.Example]:
    """A lesson that a tiny model can learn: the same answer to the same question."""
    chat: tuple[ChatMessage, ...] = ({"role": "user", "content": "hello"},)
    return [lines.Example("marta", "express", "written", chat, "I am tired of it.") for _ in range(64)]


def test_the_adapter_learns_and_is_what_was_saved(few: list[lines.Example], tiny_model: Path, tmp_path: Path) -> None:
    from therapysim.models.chat import HuggingFaceChat
    from therapysim.models.checkpoint import load
    from therapysim.train.patient import adapter as patient

    out = tmp_path / "adapter"
    settings = AdapterSettings(model=str(tiny_model), rank=8, epochs=10, batch_size=8, lr=5e-3, dropout=0.0)
    record = patient.train_adapter(few, settings, out)
    # Logits of a random model with tied embeddings are small whatever is learnt, so the loss cannot fall far.
    assert record["loss_before"] - record["loss_after"] > 0.5
    assert json.loads((out / "training.json").read_text())["settings"]["rank"] == 8
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_model)
    model, tokenizer = load(out)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in model.generation_config.eos_token_id
    assert (
        HuggingFaceChat(out, device="cpu").model.generation_config.eos_token_id == model.generation_config.eos_token_id
    )
    rows = [patient._row(few[0], tokenizer)]
    loss = float(patient._loss(model, patient._collate(rows, tokenizer.pad_token_id)).detach())
    assert loss == pytest.approx(record["loss_after"], abs=0.02)
    with pytest.raises(ConfigError, match="holds an adapter already"):
        patient.train_adapter(few, settings, out)


def test_the_loss_is_that_of_the_line_alone(tiny_model: Path) -> None:
    """Against plain torch, one row at a time, without padding."""
    import torch

    from therapysim.models.checkpoint import load
    from therapysim.train.patient import adapter as patient

    model, tokenizer = load(tiny_model)
    rows = [patient._Row([1, 5, 9, 4, 7], 3), patient._Row([8, 3, 2, 6, 5, 4, 3, 9], 5)]
    nats = []
    for row in rows:
        logp = model(input_ids=torch.tensor([row.ids])).logits[0].detach().log_softmax(-1)
        nats += [-float(logp[t - 1, row.ids[t]]) for t in range(row.start, len(row.ids))]
    loss = patient._loss(model, patient._collate(rows, tokenizer.pad_token_id))
    assert float(loss.detach()) == pytest.approx(np.mean(nats), abs=1e-4)

"""``make bench``: speed as ratios measured side by side in one run. Nothing here passes or fails.

python tests/measures/bench.py [--seconds 3]
"""

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import library
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.emotions import WEIGHTS, EmotionSensor, SensorSettings
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import TERMS
from therapysim.state import Appraisal, Attributes, Move, Reading, State, Transition


def main() -> None:
    """Prints every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement runs")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores; sensor file {(WEIGHTS / 'emotions.onnx').stat().st_size / 1e6:.1f} MB\n")
    bench_sensor(seconds)
    bench_pipeline(seconds)
    bench_batches(seconds)
    bench_play()
    bench_rewards(seconds)


def texts(size: int) -> Callable[[], list[str]]:
    """Fresh texts of 5 to 30 words each time, so that no cache answers."""
    rng, number = np.random.default_rng(0), count()
    words = "I feel so tired and sad about my work when nobody listens at home it is hard to sleep".split()

    def draw() -> list[str]:
        return [f"{' '.join(rng.choice(words, rng.integers(5, 31)))} {next(number)}." for _ in range(size)]

    return draw


def rate(work: Callable[[list[str]], Any], draw: Callable[[], list[str]], seconds: float) -> float:
    """Texts a second."""
    work(draw())
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        batch = draw()
        work(batch)
        done += len(batch)
    return done / (time.perf_counter() - began)


def padded(sensor: EmotionSensor, size: int) -> Callable[[Sequence[str]], Any]:
    """The same model on padded batches of ``size`` texts of like length: what the sensor deliberately does not do."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(sensor.folder / "emotions.onnx", options)
    tokenizer = Tokenizer.from_file(str(sensor.folder / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding()

    def run(batch: Sequence[str]) -> Any:
        ordered = sorted(batch, key=len)
        for start in range(0, len(ordered), size):
            encoded = tokenizer.encode_batch(ordered[start : start + size])
            ids = np.array([e.ids for e in encoded], dtype=np.int64)
            mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
            session.run(["logits"], {"input_ids": ids, "attention_mask": mask})

    return run


def bench_sensor(seconds: float) -> None:
    """One text, a batch of 64 on one and two threads, and padded batches beside them."""
    one = EmotionSensor(settings=SensorSettings(threads=1, cache_mb=0))
    two = EmotionSensor(settings=SensorSettings(threads=2, cache_mb=0))
    single = rate(one, texts(1), seconds)
    rows = {
        "batch of 64, one thread": rate(one, texts(64), seconds),
        "batch of 64, two threads": rate(two, texts(64), seconds),
        "64 padded to one batch, two threads": rate(padded(two, 64), texts(64), seconds),
        "64 sorted by length, padded in eights, two threads": rate(padded(two, 8), texts(64), seconds),
    }
    print(f"sensor, one text: {1000 / single:.2f} ms a text, {single:.0f} a second")
    for name, value in rows.items():
        print(
            f"sensor, {name}: {1000 / value:.2f} ms a text, {value:.0f} a second, "
            f"{value / single:.2f} × one text at a time"
        )


def bench_pipeline(seconds: float) -> None:
    """A Hugging Face pipeline over a model of roberta-base's size (random weights), beside the sensor, on two threads.

    The larger model is given the sensor's own tokenizer, so that both read equally many tokens.
    """
    try:
        import torch
        from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification, pipeline
    except ImportError:
        print("\nno Hugging Face pipeline to compare with: pip install 'therapysim[train]'")
        return
    torch.set_num_threads(2)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(WEIGHTS / "tokenizer.json"), **special)
    config = RobertaConfig(vocab_size=50_265, num_labels=28, problem_type="multi_label_classification", pad_token_id=0)
    model = RobertaForSequenceClassification(config).eval()
    read = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    sensor = EmotionSensor(settings=SensorSettings(threads=2, cache_mb=0))
    print(f"\npipeline: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters, float32, two threads")
    for name, size in (("one text", 1), ("batch of 64", 64)):
        ours, theirs = (rate(f, texts(size), seconds) for f in (sensor, lambda b: read(b, batch_size=len(b))))
        print(f"{name}: sensor {ours:.0f} a second, pipeline {theirs:.1f} a second: {ours / theirs:.1f} × as fast")


class Timed(EmotionSensor):
    """A sensor that adds up the time spent in it."""

    spent = 0.0  # s

    def __call__(self, texts: Sequence[str]) -> Any:
        began = time.perf_counter()
        result = super().__call__(texts)
        self.spent += time.perf_counter() - began
        return result


def bench_batches(seconds: float) -> None:
    """Turns a second of 1, 8 and 64 sessions, the share of it that is the sensor, and the sensor's own limit."""
    print()
    first = 0.0
    for size in (1, 8, 64):
        sensor = Timed()
        turns, took = run_sessions(sensor, size, seconds)
        first = first or turns / took
        print(
            f"SessionBatch, {size:>2} sessions: {turns / took:.0f} turns a second "
            f"({turns / took / first:.2f} × one session), {sensor.spent / took:.0%} of the time in the sensor"
        )


class Noted(EmotionSensor):
    """A sensor that keeps what was sent to its network, call by call; what it remembered was not sent."""

    def _spread(self, read: Callable[[str], Any]) -> Callable[[Sequence[str]], Any]:
        read_all, self.calls = super()._spread(read), deque[list[str]]()

        def noted(texts: Sequence[str]) -> Any:
            self.calls.append(list(texts))
            return read_all(texts)

        return noted


def bench_play(repeats: int = 5) -> None:
    """Texts a second that ``play`` sends to the network, against the sensor alone on the same texts in the same calls.

    16 patients × 4 seeds × 12 turns, scripted patients and a scripted policy; medians over ``repeats`` sets of seeds,
    each played once and then read once, so that both meet the same machine.
    """
    sensor, alone = Noted(), EmotionSensor(settings=SensorSettings(cache_mb=0))
    batch, who = SessionBatch(SessionConfig(max_turns=12), sensor=sensor), list(library())[:16]
    print()
    for name in ("attuned", "cbt"):
        therapist, rows = baseline(name), []
        for repeat in range(repeats + 1):  # the first warms up
            starts = [Start(4 * repeat + seed, persona) for persona in who for seed in range(4)]
            sensor.calls.clear()
            played = spent(lambda: play(batch, therapist, starts))  # noqa: B023, called at once
            read = spent(lambda: [alone(call) for call in tuple(sensor.calls)])
            rows.append((read / played, played, sum(map(len, sensor.calls))))
        ratio, played, sent = np.median(rows[1:], axis=0)
        print(
            f"play, {name}, 64 sessions of up to 12 turns: {played:.2f} s for {sent:.0f} texts, {sent / played:.0f} a "
            f"second, {ratio:.2f} of the sensor's own rate"
        )


def spent(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench_rewards(seconds: float) -> None:
    """What the reward costs beside the sensor's reading of both speakers: appraisal and terms, 64 turns at a time."""
    sensor, draw = EmotionSensor(settings=SensorSettings(threads=1)), texts(64)
    appraiser, rubric = Appraiser(sensor), Rubric()
    spent, turns, began = [0.0, 0.0, 0.0], 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        marks = [time.perf_counter()]
        heard, spoken = sensor.read(draw()), sensor.read(draw())
        marks.append(time.perf_counter())
        appraisals = appraiser(spoken, [Said((reading.text,)) for reading in heard])
        marks.append(time.perf_counter())
        rubric.score([transition(*row) for row in zip(heard, spoken, appraisals, strict=True)])
        marks.append(time.perf_counter())
        spent, turns = [a + c - b for a, b, c in zip(spent, marks, marks[1:], strict=False)], turns + 64
    read, judged, scored = (1e6 * s / turns for s in spent)
    print(
        f"\nreward, a turn: sensor {read:.0f} µs, acts and uptake {judged:.0f} µs ({judged / read:.1%} of the "
        f"sensor), {len(TERMS)} terms and the gate {scored:.0f} µs ({scored / read:.1%})"
    )


def transition(heard: Reading, spoken: Reading, appraisal: Appraisal) -> Transition:
    """A turn in which the patient's mood stays as it is."""
    state = State(Attributes("nobody", "none", "mild", 40), (heard.polarity,), heard.affect)
    return Transition(state, state, spoken, heard, appraisal, Move.EXPRESS, context=heard.text)


def run_sessions(sensor: Timed, size: int, seconds: float) -> tuple[int, float]:
    """Turns taken and the seconds that SessionBatch took for them; sessions begin anew as they end."""
    batch, therapist, seeds = SessionBatch(SessionConfig(), sensor=sensor), baseline("attuned"), count()
    batch.reset([Start(next(seeds)) for _ in range(size)])
    for _ in range(20):  # the scripted patient reads each of its clauses once a process
        take_turn(batch, therapist, seeds)
    sensor.spent = 0.0
    turns, took = 0, 0.0
    while took < seconds:
        took += take_turn(batch, therapist, seeds)
        turns += size
    return turns, took


def take_turn(batch: SessionBatch, therapist: Any, seeds: Any) -> float:
    """One turn in every session, and a fresh session for each that ended. Returns SessionBatch's own seconds."""
    said = therapist.respond(batch.sessions)
    began = time.perf_counter()
    batch.step(said)
    over = [i for i, s in enumerate(batch.sessions) if s.done]
    if over:
        kept = list(batch.snapshot())
        for i, session in zip(over, batch.reset([Start(next(seeds)) for _ in over]), strict=True):
            kept[i] = session
        batch.restore(kept)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""What reaches the loss in a real run: the ids, the mask, the log-probabilities, and whose they are."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.measures.grpo_recording import Recording, record, spell
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import PatientError
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout, Trajectory, summary
from therapysim.train.grpo.run import TrainResult, train
from therapysim.train.grpo.trajectory import overlong

MakeBatch = Callable[..., SessionBatch]
WORDS = ("Tell me more.", "How was that?", "I hear you.", "Go on, please.", "Since when?", "And then?")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains for one update of two groups of three, two turns a session, unless told otherwise."""

    def start(patient: Any = None, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / "run"), "max_steps": 1, "generations": 3, "groups": 2,
            "batch_size": 3, "accumulation": 2, "max_turn_tokens": 32, "lr": 1e-2, "save_steps": 2,
            "validate_every": 0, "transcripts_every": 0, "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2, patient=patient))

    return start


def talk(tokenizer: Any) -> Callable[[int, int], list[int]]:
    """Says something else in every turn of every session, of another length each."""
    return lambda turn, k: spell(tokenizer, WORDS[k % 6] + " Hm." * (turn % 2) + "!" * (k // 6))


def test_the_ids_that_were_sampled_are_the_ids_that_are_learned(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    speech, seen = talk(tokenizer), record(monkeypatch, talk(tokenizer))
    run()
    rows = seen.rows()
    assert sorted(seen.episodes.index(e) for e, _, _ in rows) == list(range(6))  # each once, none twice
    for episode, call, k in rows:
        own = {name: value[k].tolist() for name, value in call.inputs.items() if value.dim()}
        width, length = len(own["completion_ids"]), len(episode.completion_ids)
        assert own["completion_ids"][:length] == episode.completion_ids
        assert own["completion_mask"] == [1] * length + [0] * (width - length)
        learned = [m * c for m, c in zip(own["tool_mask"], own["completion_mask"], strict=True)]
        assert learned[:length] == episode.env_mask and not any(learned[length:])
        said = [i for i, m in zip(own["completion_ids"], learned, strict=True) if m]
        member = seen.episodes.index(episode)
        assert said == speech(0, member) + speech(1, member)
        read = [i for i, m in zip(own["prompt_ids"], own["prompt_mask"], strict=True) if m]
        assert read == episode.prompt_ids
    assert any(call.inputs["completion_mask"].min() == 0 for call in seen.calls)  # some rows were padded


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_log_probabilities_are_those_of_the_ids(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tiny_model: Path, temperature: float
) -> None:
    seen = record(monkeypatch)
    run(temperature=temperature, max_turn_tokens=6)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)  # before its first update, the adapter changes nothing
    for episode, call, k in seen.rows():
        expected = _plain(model, episode, temperature)
        for name, logps in (("now", call.logps), ("reference", call.inputs["ref_per_token_logps"])):
            torch.testing.assert_close(logps[k, : len(expected)], expected, rtol=0, atol=2e-5, msg=name)
    assert expected.std() > 1e-2  # or any order would do


def _plain(model: Any, episode: Trajectory, temperature: float) -> torch.Tensor:
    """The log-probability of each completion token given all before it, without batch or padding."""
    ids, start = torch.tensor([episode.prompt_ids + episode.completion_ids]), len(episode.prompt_ids)
    with torch.no_grad():
        scores = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    return torch.stack([scores[place - 1, ids[0, place]] for place in range(start, ids.size(1))])


def test_each_group_meets_one_patient_and_no_other_group_does(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    seen = record(monkeypatch, talk(tokenizer))
    run(max_steps=2)
    groups = [seen.starts[i : i + 3] for i in range(0, 12, 3)]
    assert all(len(set(group)) == 1 for group in groups)
    assert len(set(seen.starts)) == len({s.seed for s in seen.starts}) == 4
    for i in range(0, 12, 3):
        opened = [(e.prompt_ids, e.session.persona, e.session.seed) for e in seen.episodes[i : i + 3] if e.session]
        assert len(opened) == 3 and opened.count(opened[0]) == 3
        assert opened[0][2] == seen.starts[i].seed


class HangsUp:
    """A scripted patient who no longer answers once a word was said."""

    def __init__(self, batch: SessionBatch, word: str) -> None:
        self.scripted, self.word = ScriptedPatient(batch.sensor.affect), word

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(self.word in text for cue in cues for text in cue.transcript.said_by("therapist")):
            raise PatientError("has hung up")
        return self.scripted.speak(cues)


@pytest.mark.parametrize("advantage", ["trajectory", "turn", "mixed"])
def test_nothing_is_learned_from_a_session_whose_patient_failed(
    run: Callable[..., TrainResult],
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: Any,
    make_batch: MakeBatch,
    advantage: str,
) -> None:
    def speech(turn: int, k: int) -> list[int]:
        return spell(tokenizer, "Stop that." if (turn, k) == (1, 4) else f"{WORDS[k]} {turn}")

    seen = record(monkeypatch, speech)
    run(patient=HangsUp(make_batch(), "Stop"), advantage=advantage)
    assert [e.failed for e in seen.episodes] == [False] * 4 + [True, False]
    for episode, call, k in seen.rows():
        learned = call.inputs["tool_mask"][k] * call.inputs["completion_mask"][k]
        assert bool(learned.any()) is not episode.failed
        assert not (episode.failed and call.inputs["advantages"][k].any())
        assert call.loss == call.loss  # not NaN
    learned_from = [k for k, e in enumerate(seen.episodes) if sum(e.env_mask) == len(speech(0, k)) + len(speech(1, k))]
    assert learned_from == [0, 1, 2, 3, 5]


def test_a_dialogue_that_outgrows_the_budget_ends_with_what_fitted(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    seen = record(monkeypatch, talk(tokenizer))
    result = run(max_completion_tokens=48)  # a turn of at most 32, and no room for a second one
    for episode, call, k in seen.rows():
        row = call.inputs["completion_ids"][k][call.inputs["completion_mask"][k].bool()]
        assert row.tolist() == talk(tokenizer)(0, seen.episodes.index(episode))
        assert call.inputs["tool_mask"][k].all()
        assert (episode.ending, episode.cut, len(episode.turn_rewards)) == ("budget", True, 1)
        assert episode.session is not None and not episode.session.failed
    logged = json.loads((result.out / "metrics.jsonl").read_text().splitlines()[0])
    assert logged["ending/budget"] == 1.0 and logged["grad_norm"] > 0


class Speaker:
    """Stands in for TRL's trainer in a rollout: says given ids, with a log-probability that tells which id it is of."""

    def __init__(self, tokenizer: Any, turns: Sequence[Sequence[list[int]]], *, logprobs: bool = False) -> None:
        self.accelerator = SimpleNamespace(num_processes=1, process_index=0)
        self.eos_token_ids, self.use_vllm = [tokenizer.eos_token_id], logprobs
        self.turns, self.rows = iter(turns), [{"seed": 3, "persona": "claire"}] * len(turns[0])

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], Any]:
        said = next(self.turns)
        return list(said), [[-i / 1000 for i in ids] for ids in said] if self.use_vllm else None

    def _log_metric(self, name: str, value: float) -> None:
        pass


def test_each_log_probability_is_that_of_its_own_id(tokenizer: Any, make_batch: MakeBatch) -> None:
    turns = [[talk(tokenizer)(turn, k) for k in range(3)] for turn in range(2)]
    out = Rollout(GRPOSettings(mask_cut_turns=False), make_batch(2), tokenizer)(
        [""] * 3, Speaker(tokenizer, turns, logprobs=True)
    )
    for ids, mask, logprobs in zip(out["completion_ids"], out["env_mask"], out["logprobs"], strict=True):
        assert logprobs == [-i / 1000 if m else 0.0 for i, m in zip(ids, mask, strict=True)]


# A turn of the most tokens that ends by itself, one that was cut off, and one that is short.
WHOLE, CUT, SHORT = "Tell me more of it.", "Tell me about the day", "I see."
LIMIT = len(WHOLE) + 1


@pytest.fixture
def play_cut(tokenizer: Any, make_batch: MakeBatch) -> Callable[..., list[Trajectory]]:
    """Plays two turns of three sessions: the first is cut off in its first turn, the second in its last."""

    def play(**settings: Any) -> list[Trajectory]:
        whole, cut = spell(tokenizer, WHOLE), spell(tokenizer, CUT, end=False)[:LIMIT]
        short = spell(tokenizer, SHORT)
        assert len(whole) == len(cut) == LIMIT > len(short)
        rollout = Rollout(GRPOSettings(max_turn_tokens=LIMIT, **settings), make_batch(2), tokenizer)
        return rollout.play(Speaker(tokenizer, [[cut, short, whole], [whole, cut, short]]), [Start(3, "claire")] * 3)

    return play


def _masks(episode: Trajectory) -> list[set[int]]:
    """For each turn the values that the mask takes on its tokens."""
    pairs = list(zip(episode.turn_ids, episode.env_mask, strict=True))
    return [{m for t, m in pairs if t == turn} for turn in range(len(episode.turn_rewards))]


def test_a_turn_that_was_cut_off_is_not_learned_from(play_cut: Callable[..., list[Trajectory]]) -> None:
    assert GRPOSettings().mask_cut_turns
    assert [_masks(e) for e in play_cut()] == [[{0}, {1}], [{1}, {0}], [{1}, {1}]]


def test_cut_turns_are_learned_from_on_request(play_cut: Callable[..., list[Trajectory]]) -> None:
    assert [_masks(e) for e in play_cut(mask_cut_turns=False)] == [[{1}, {1}]] * 3


def test_a_turn_pays_more_the_nearer_it_comes_to_the_limit(play_cut: Callable[..., list[Trajectory]]) -> None:
    """By hand: turns of 7 and 20 tokens of at most 20, charged from the 5th on: 3/16 and 16/16 of the penalty."""
    short, whole, cut = 0.8 * 3 / 16, 0.8, 0.8
    expected = [[cut, whole], [short, cut], [whole, short]]
    plain, charged = play_cut(), play_cut(cut_penalty=0.8, overlong_tokens=16)
    for one, other, taken in zip(plain, charged, expected, strict=True):
        differences = [a - b for a, b in zip(one.turn_rewards, other.turn_rewards, strict=True)]
        assert differences == [pytest.approx(value) for value in taken]
        assert other.charged == pytest.approx(sum(taken)) and one.charged == 0.0
    assert summary(charged)["turns/charged"] == pytest.approx((2 * short + 4 * 0.8) / 6)
    only_cut = play_cut(cut_penalty=0.8)
    assert [e.charged for e in only_cut] == [0.8, 0.8, 0.0]


@pytest.mark.parametrize(
    ("tokens", "share"), [(0, 0.0), (48, 0.0), (49, 1 / 16), (56, 0.5), (63, 15 / 16), (64, 1.0), (70, 1.0)]
)
def test_the_soft_penalty_is_the_papers(tokens: int, share: float) -> None:
    """DAPO, equation 13, with L_max 64 and L_cache 16, the sign turned."""
    assert overlong(tokens, 64, 16) == share
    assert overlong(tokens, 64, 0) == 0.0


@pytest.mark.parametrize("masked", [True, False])
def test_a_turn_that_was_cut_off_is_closed_by_an_end_token_that_is_not_learned(
    play_cut: Callable[..., list[Trajectory]], tokenizer: Any, masked: bool
) -> None:
    first, _, third = play_cut(mask_cut_turns=masked)
    opening = tokenizer("\n<|im_start|>user\n")["input_ids"]
    after = first.completion_ids[LIMIT : LIMIT + 1 + len(opening)]
    assert after == [tokenizer.eos_token_id, *opening]
    assert first.env_mask[LIMIT] == 0 and first.turn_ids[LIMIT] == -1
    assert first.completion_ids[:LIMIT] == spell(tokenizer, CUT, end=False)[:LIMIT]
    # One that ended by itself is closed already, by a token that was sampled and is learned.
    assert third.completion_ids[LIMIT - 1 : LIMIT + len(opening)] == [tokenizer.eos_token_id, *opening]
    assert third.env_mask[LIMIT - 1] == 1 and third.turn_ids[LIMIT - 1] == 0


def test_a_cut_turn_keeps_its_reward_and_its_place(play_cut: Callable[..., list[Trajectory]]) -> None:
    masked, plain = play_cut(), play_cut(mask_cut_turns=False)
    for one, other in zip(masked, plain, strict=True):
        assert one.turn_rewards == other.turn_rewards
        assert (one.completion_ids, one.turn_ids) == (other.completion_ids, other.turn_ids)


def test_a_cut_turn_adds_nothing_to_the_gradient(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    def speech(turn: int, k: int) -> list[int]:
        return spell(tokenizer, WORDS[k] + CUT, end=False)[:LIMIT] if k == 1 else spell(tokenizer, WORDS[k])

    seen = record(monkeypatch, speech)
    run(mask_cut_turns=True, max_turn_tokens=LIMIT, groups=1, batch_size=1, accumulation=3, max_turns=2)
    _check_silent(seen, seen.episodes[1])
    learned = sum(sum(e.env_mask) for e in seen.episodes)  # which dapo divides by
    assert [int(call.inputs["num_items_in_batch"]) for call in seen.calls] == [learned] * 3


def _check_silent(seen: Recording, cut: Trajectory) -> None:
    """The gradient that has gathered is the same before and after the session that was cut off."""
    before = {name: torch.zeros_like(g) for name, g in seen.calls[0].gradients.items()}
    for episode, call, _ in seen.rows():
        same = all(torch.equal(before[name], gradient) for name, gradient in call.gradients.items())
        assert same is (episode is cut)
        before = call.gradients

"""The engine's side of sampling: weights, and sessions that go on each in its own time. vLLM itself: test_gpu.py."""

import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ModelError
from therapysim.train.grpo import generation
from therapysim.train.grpo import run as grpo
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.grpo.run import train
from therapysim.train.grpo.sampler import Engine, Said, adapted_weights, quantised_weights
from therapysim.train.grpo.served import Server

MakeBatch = Callable[..., SessionBatch]


def adapted(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The tiny model with an adapter that changes it."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"]))
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_the_engine_is_given_base_and_adapter_added_up(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    given = dict(adapted_weights(model))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    assert set(given) == {
        f"model.layers.{i}.self_attn.{part}.weight" for i in range(2) for part in ("q_proj", "o_proj")
    }
    assert set(given) <= set(plain.state_dict())  # the base model's own names
    ids = torch.tensor([[5, 8, 13, 21]])
    plain.load_state_dict(plain.state_dict() | given)
    torch.testing.assert_close(plain(input_ids=ids).logits, model(input_ids=ids).logits)


def test_giving_the_weights_leaves_the_model_as_it_was(tiny_model: Path) -> None:
    model = adapted(tiny_model, torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(5):
        given = dict(adapted_weights(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert {weight.dtype for weight in given.values()} == {torch.bfloat16}
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    exact = layer.get_base_layer().weight.float() + layer.get_delta_weight("default").float()
    assert torch.equal(given["model.layers.0.self_attn.q_proj.weight"], exact.to(torch.bfloat16))


def test_a_base_in_4_bits_is_given_as_the_numbers_it_stands_for(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(tmp_path)  # 4 bits come in blocks of 64
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=nf4, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    plain, ids = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), torch.tensor([[5, 8, 13, 21]])
    given = dict(quantised_weights(model))
    assert len(given) == 2 * 7 and set(given) <= set(plain.state_dict())  # every linear layer, adapted or not
    given |= dict(adapted_weights(model))
    whole = plain(input_ids=ids).logits
    plain.load_state_dict(plain.state_dict() | given)
    own = model(input_ids=ids).logits  # by kernels of bitsandbytes' own, which round otherwise
    assert (plain(input_ids=ids).logits - own).abs().max() < 0.01 < 0.1 < (whole - own).abs().max()


def test_an_adapter_that_cannot_be_added_up_is_refused(tiny_model: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], use_dora=True))
    with pytest.raises(ModelError, match=r"q_proj has an adapter that is no plain LoRA; set vllm off"):
        list(adapted_weights(model))


class TokenEngine:
    """What ``Engine`` asks of ``vllm.LLM``: it says tokens 5 and 6, a turn a step, and names turns as vLLM does."""

    def __init__(self, **given: Any) -> None:
        self.given, self.llm_engine = given, self
        self.asked: list[tuple[str, Any, Any]] = []

    def enqueue(self, prompts: Sequence[Any], sampling: Sequence[Any], *, use_tqdm: bool) -> list[str]:
        self.asked.append((f"{len(self.asked)}-{9:x}", prompts[0].prompt_token_ids, sampling[0]))
        return [self.asked[-1][0]]

    def step(self) -> list[Any]:
        turn = SimpleNamespace(
            token_ids=(5, 6), logprobs=[{5: SimpleNamespace(logprob=-0.5)}, {6: SimpleNamespace(logprob=-0.25)}]
        )
        return [
            SimpleNamespace(request_id=self.asked[-1][0], finished=True, outputs=[turn]),
            SimpleNamespace(request_id=self.asked[0][0], finished=False, outputs=[turn]),
        ]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM, as far as ``Engine`` needs it."""
    package: Any = ModuleType("vllm")
    package.LLM, package.SamplingParams, package.TokensPrompt = TokenEngine, SimpleNamespace, SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", package)


def test_of_ten_thousand_sessions_not_all_turns_are_sampled_at_once(vllm: None, tiny_model: Path) -> None:
    for sessions, most in ((4, 4), (10_000, 1024)):
        engine: Any = Engine(adapted(tiny_model), GRPOSettings(model=str(tiny_model)), [2], sessions=sessions)
        assert engine._llm.given["max_num_seqs"] == most


def test_a_turn_ends_where_the_template_ends_it_and_has_no_seed(vllm: None, tiny_model: Path) -> None:
    engine = Engine(adapted(tiny_model), GRPOSettings(model=str(tiny_model), seed=7), [2, 9], sessions=4)
    assert engine.ask([1, 2, 3]) == "0" and engine.ask([4]) == "1"
    assert engine.take() == [Said("1", [5, 6], [-0.5, -0.25])]
    held: Any = engine._llm
    assert [prompt for _, prompt, _ in held.asked] == [[1, 2, 3], [4]]
    sampling = vars(held.asked[0][2])
    assert sampling["stop_token_ids"] == [2, 9] and sampling["max_tokens"] == 64 and "seed" not in sampling
    served = Server(GRPOSettings(vllm="server", vllm_server_url="http://localhost:8000"), engine.ends)
    for name in ("max_tokens", "stop_token_ids", "temperature", "top_p", "logprobs"):
        assert served.request("the-model", [4])[name] == sampling[name]  # the same turn, wherever it is sampled


def test_engines_of_several_processes_draw_from_different_seeds(vllm: None, tiny_model: Path) -> None:
    settings = GRPOSettings(model=str(tiny_model), seed=7)
    engines = [Engine(adapted(tiny_model), settings, [2], 4, 2, process) for process in range(2)]
    held: list[Any] = [engine._llm for engine in engines]
    assert [one.given["seed"] for one in held] == [7, 8]


class SlowEngine:
    """In vLLM's place: draws each turn with the model in training, and ends turns in an order of its own.

    Whole turns end in a shuffled order, a few at each step, as turns of different lengths do. Equal prompts are asked
    for in the order of their sessions, and each turn is drawn from its prompt and how often that was asked for, so that
    the order changes nothing that is said.
    """

    def __init__(self, model: Any, settings: GRPOSettings, ends: Sequence[int], order: int) -> None:
        self.model, self.settings, self.ends = model, settings, list(ends)
        self.rng, self.synced, self.most = np.random.default_rng(order), 0, 0
        self.under_way: dict[str, tuple[list[int], int]] = {}
        self.asked: Counter[tuple[int, ...]] = Counter()

    def sync_weights(self) -> None:
        assert not self.under_way
        self.asked.clear()
        self.synced += 1

    def ask(self, prompt: list[int]) -> str:
        key = tuple(prompt)
        name = f"{zlib.crc32(repr(key).encode())}-{self.asked[key]}"
        assert name not in self.under_way
        self.under_way[name] = list(prompt), self.asked[key]
        self.asked[key] += 1
        self.most = max(self.most, len(self.under_way))
        return name

    def take(self) -> list[Said]:
        ready = sorted(self.under_way)
        chosen = self.rng.permutation(len(ready))[: int(self.rng.integers(0, 3))]
        return [Said(ready[k], *self._sample(*self.under_way.pop(ready[k]))) for k in chosen]

    def _sample(self, prompt: list[int], times: int) -> tuple[list[int], list[float | None]]:
        ids, logprobs = list(prompt), []
        seed = int(np.random.SeedSequence([*prompt, times]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        while len(logprobs) < self.settings.max_turn_tokens and (not logprobs or ids[-1] not in self.ends):
            with torch.no_grad():
                scores = self.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(torch.multinomial(scores.exp(), 1, generator=generator)))
            logprobs.append(float(scores[ids[-1]]))
        return ids[len(prompt) :], logprobs


@pytest.fixture
def play(tiny_model: Path, make_batch: MakeBatch) -> Callable[[int], tuple[list[Any], SlowEngine]]:
    """Plays two groups of three with an engine that takes turns in a given order."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    settings = GRPOSettings(max_turn_tokens=6, max_turns=4)

    class Trainer:
        accelerator = type("One", (), {"process_index": 0, "num_processes": 1})
        synced = 0

        def sync_engine(self) -> None:
            self.synced += 1

    def start(order: int) -> tuple[list[Any], SlowEngine]:
        rollout = Rollout(settings, make_batch(max_turns=4), tokenizer)
        rollout.engine = SlowEngine(model, settings, [tokenizer.eos_token_id], order)  # type: ignore[assignment]
        trainer = Trainer()
        episodes = rollout.play(trainer, [*[Start(3, "claire")] * 3, *[Start(4, "owen")] * 3])
        assert trainer.synced == 1
        return episodes, rollout.engine  # type: ignore[return-value]

    return start


def test_what_is_said_does_not_depend_on_the_order_in_which_turns_end(play: Any) -> None:
    one, engine = play(0)
    assert engine.most == 6 and not engine.under_way
    for order in range(1, 4):
        other, _ = play(order)
        for a, b in zip(one, other, strict=True):
            assert (a.completion_ids, a.env_mask, a.turn_ids) == (b.completion_ids, b.env_mask, b.turn_ids)
            assert a.logprobs == b.logprobs and a.turn_rewards == b.turn_rewards
            assert a.session.transcript == b.session.transcript and a.session.states == b.session.states


def test_members_of_a_group_say_different_things(play: Any) -> None:
    episodes, _ = play(0)
    assert len({tuple(e.completion_ids) for e in episodes[:3]}) == 3
    assert len({tuple(e.prompt_ids) for e in episodes}) == 2
    assert all(len(e.turn_rewards) == max(e.turn_ids) + 1 >= 3 for e in episodes)
    assert all(len(e.logprobs) == len(e.env_mask) == len(e.completion_ids) for e in episodes)


def test_groups_beside_an_engine_part_from_one_state_too(
    tiny_model: Path, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of three of which each shares two of three turns, whatever the order in which turns end."""
    monkeypatch.setattr(generation, "shared_turns", lambda settings, start: 2)
    settings = GRPOSettings(max_turn_tokens=6, max_turns=3, shared_turns=2, generations=3, groups=2, batch_size=6)
    who = ({"seed": 3, "persona": "claire", "row": 0}, {"seed": 4, "persona": "owen", "row": 1})
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(process_index=0, num_processes=1), sync_engine=lambda: None, use_vllm=True,
        rows=[row for row in who for _ in range(3)], _log_metric=lambda name, value: None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    orders = []
    for order in range(2):
        rollout = Rollout(settings, make_batch(max_turns=3), AutoTokenizer.from_pretrained(tiny_model))
        ends = [rollout.tokenizer.eos_token_id]
        rollout.engine = SlowEngine(model, settings, ends, order)  # type: ignore[assignment]
        played = generation.play_generation(rollout, trainer)
        orders.append([e.completion_ids for e in played])
        for group in (played[:3], played[3:]):
            said = [e.session.transcript.said_by("therapist") for e in group if e.session]
            assert len({tuple(words[:2]) for words in said}) == len({e.session.states[:3] for e in group}) == 1
            assert len({tuple(e.completion_ids) for e in group}) == 3 and {e.shared for e in group} == {2}
            for e in group:
                assert len(e.logprobs) == len(e.completion_ids) and {t for t in e.turn_ids if t >= 0} == {2}
    assert orders[0] == orders[1]


@pytest.fixture
def run(
    tiny_model: Path, make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[dict[str, Any]], SlowEngine]]:
    """Trains with an engine that takes turns in a given order; the rows of metrics, and the engine."""
    opened: list[SlowEngine] = []

    def start(out: str = "run", order: int = 5, **changes: Any) -> tuple[list[dict[str, Any]], SlowEngine]:
        def open_engine(settings: GRPOSettings, trainer: Any) -> Engine:
            opened.append(SlowEngine(trainer.model, settings, trainer.eos_token_ids, order))
            return opened[-1]  # type: ignore[return-value]

        monkeypatch.setattr(grpo, "_open_engine", open_engine)
        monkeypatch.setattr("therapysim.train.runs.model._check_packages", lambda settings: None)
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "vllm": "colocate", "max_steps": 3, "generations": 4,
            "max_turn_tokens": 6, "lr": 1e-2, "save_steps": 1, "validate_every": 0, "mask_cut_turns": False, **changes,
        }  # fmt: skip
        train(GRPOSettings(**settings), make_batch(max_turns=2))
        lines = (tmp_path / out / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], opened[-1]

    return start


def test_a_run_with_an_engine_corrects_for_its_probabilities(run: Any) -> None:
    """Sampled from the very policy, the ratio is one, update after update, whatever the order of turns."""
    rows, engine = run()
    assert len(rows) == 3 and engine.synced == 3  # brought up to date once an update
    for row in rows:
        for bound in ("min", "mean", "max"):
            assert row[f"sampling/importance_sampling_ratio/{bound}"] == pytest.approx(1.0, abs=1e-4)
        assert row["ratio/mean"] == pytest.approx(1.0, abs=1e-4)
        assert row["grad_norm"] > 0


@pytest.mark.parametrize(
    "more",
    [{}, {"shared_turns": 1, "seed": 2}, {"redraw_groups": 2, "redraw_spread": 1e9}],
    ids=["plain", "groups part from one state", "groups are drawn anew"],
)
def test_a_run_with_an_engine_goes_on_along_its_curve(run: Any, more: dict[str, Any]) -> None:
    settings = {"validate_every": 1, "validate_sessions": 2, **more}
    whole, _ = run("whole", **settings)
    run("parts", max_steps=1, **settings)
    parts, _ = run("parts", order=9, resume=True, **settings)
    assert len(whole) == 4 and ("shared_turns" not in more or any(row.get("groups/shared_turns") for row in whole))
    for one, other in zip(whole, parts, strict=True):
        timed = {name for name in one if name.startswith("seconds/")} | {"step_time", "epoch"}
        assert {n: v for n, v in one.items() if n not in timed} == {n: v for n, v in other.items() if n not in timed}


@pytest.mark.parametrize("importance", ["token_truncate", "token_mask", "sequence_truncate", "off"])
def test_an_engine_whose_turns_were_all_cut_teaches_nothing(run: Any, importance: str) -> None:
    for row in run(mask_cut_turns=True, max_turn_tokens=1, importance=importance, max_steps=1)[0]:
        assert row["turns/cut"] == 1.0 and row["loss"] == row["grad_norm"] == row["kl"] == 0.0

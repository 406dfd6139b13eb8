"""A pair in tokens: the prompt as a benchmark prompts, an answer as a whole turn, and nothing cut."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer

from tests.parts.preferring import made_pairs, patients, write_rows
from tests.parts.tiny import CHAT_TEMPLATE
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.batch import Start
from therapysim.errors import ConfigError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.train.dpo.pair_tokens import PairRow, Told, fitting, pair_rows
from therapysim.train.dpo.pairs import Pair, Practice, read_pairs

TEMPLATES = {
    "chatml": CHAT_TEMPLATE,
    "end alone": CHAT_TEMPLATE.replace("<|im_end|>\n", "<|im_end|>"),
    "no system role": CHAT_TEMPLATE.replace("{{ m['role'] }}", "{{ 'user' if m['role'] == 'system' else m['role'] }}"),
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    path = write_rows(tmp_path_factory.mktemp("pairs") / "a.jsonl", made_pairs())
    return read_pairs([path], Practice(frozenset({"marta", "owen"})))


@pytest.fixture(params=TEMPLATES)
def tokenizer(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    own = AutoTokenizer.from_pretrained(tiny_model)
    own.chat_template = TEMPLATES[request.param]
    return own


def test_a_row_is_the_whole_chat_in_one_piece(pairs: list[Pair], tokenizer: Any) -> None:
    for pair, row in zip(pairs, pair_rows(pairs, tokenizer), strict=True):
        for answer, ids in ((pair.chosen, row.chosen_ids), (pair.rejected, row.rejected_ids)):
            text = tokenizer.apply_chat_template([*pair.prompt, *answer], tokenize=False)
            whole = list(tokenizer(text, add_special_tokens=False)["input_ids"])
            assert row.prompt_ids + ids == whole[: len(row.prompt_ids) + len(ids)]
            assert tokenizer.decode(ids) == answer[0]["content"] + "<|im_end|>"
            assert tokenizer.decode(whole[len(row.prompt_ids) + len(ids) :]).strip() == ""


def test_the_prompt_is_what_a_benchmark_reads(tiny_model: Path, pairs: list[Pair]) -> None:
    """The tokens that the model gets as it opens the very session that a pair is of."""
    seen: list[list[int]] = []

    class Listens(HuggingFaceChat):
        def _generate(self, prompt: Any, sampling: Sampling, seeds: Any) -> Any:
            seen.extend(prompt["input_ids"].tolist())
            return super()._generate(prompt, sampling, seeds)

    model = Listens(tiny_model, device="cpu", batch_size=1)
    ChatTherapist(model, Sampling(2)).respond(patients().reset([Start(1, "marta")]))
    assert [pair_rows(pairs[:1], model.tokenizer)[0].prompt_ids] == seen


def test_control_tokens_spelt_out_forge_no_turn(pairs: list[Pair], tokenizer: Any) -> None:
    forged = Pair(pairs[0].prompt, [{"role": "assistant", "content": "Yes.<|im_end|>No."}], pairs[0].rejected)
    (row,) = pair_rows([forged], tokenizer)
    assert row.chosen_ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1


def test_a_template_that_reasons_is_refused(pairs: list[Pair], tiny_model: Path) -> None:
    own = AutoTokenizer.from_pretrained(tiny_model)
    own.chat_template = CHAT_TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    with pytest.raises(Exception, match="reason"):
        pair_rows(pairs, own)


def made(prompt: int, chosen: int, rejected: int) -> PairRow:
    return PairRow([1] * prompt, [2] * chosen, [3] * rejected)


def test_what_does_not_fit_is_counted_and_never_cut() -> None:
    same = PairRow([1], [2], [2])
    rows = [made(5, 3, 4), made(5, 3, 6), made(6, 5, 1), made(6, 3, 4), same]
    kept, told = fitting(rows, max_tokens=10, max_turn_tokens=4)
    assert kept == [rows[0], rows[3]]
    assert told == Told(used=2, too_long=2, cut=0, same=1)
    kept, told = fitting(rows, max_tokens=11, max_turn_tokens=4)
    assert kept == [rows[0], rows[1], rows[3]] and told == Told(used=3, too_long=0, cut=1, same=1)


def test_where_nothing_fits_it_is_told() -> None:
    with pytest.raises(ConfigError, match="max_tokens is 8 and max_turn_tokens 4, and none of 1 pairs fits; raise"):
        fitting([made(5, 3, 4)], max_tokens=8, max_turn_tokens=4)

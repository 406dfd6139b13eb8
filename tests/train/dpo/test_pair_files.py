"""Files of pairs: what is read, and what is said of a line that is none."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.parts.preferring import made_pairs, write_rows
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT
from therapysim.errors import ConfigError
from therapysim.train.dpo.pairs import Practice, kept_pairs, read_pairs, write_pairs

PRACTICE = Practice(frozenset({"marta", "owen", "kenji~3"}))
TEXT = "[USER STATE]\nDiagnosis: MDD (moderate)\n---\nPatient: I cannot sleep."
PLAIN: dict[str, Any] = {"prompt": TEXT, "chosen": "That sounds lonely.", "rejected": "Just go to bed."}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return made_pairs()


def test_pairs_are_read_in_order(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    one, other = write_rows(tmp_path / "one.jsonl", rows[:2]), write_rows(tmp_path / "other.jsonl", ["", *rows[2:]])
    found = read_pairs([one, other], PRACTICE)
    assert [(p.prompt, p.chosen, p.rejected) for p in found] == [
        (row["prompt"], row["chosen"], row["rejected"]) for row in rows
    ]


def test_plain_texts_are_what_a_benchmark_makes_of_them(tmp_path: Path) -> None:
    (found,) = read_pairs([write_rows(tmp_path / "a.jsonl", [PLAIN])], PRACTICE)
    assert found.prompt == [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": TEXT}]
    assert found.chosen == [{"role": "assistant", "content": "That sounds lonely."}]
    assert found.rejected == [{"role": "assistant", "content": "Just go to bed."}]


def test_a_packed_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(PLAIN).encode()))
    assert len(read_pairs([tmp_path / "a.jsonl.gz"], PRACTICE)) == 1


def test_kept_pairs_are_read_back(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    found = read_pairs([write_rows(tmp_path / "a.jsonl", rows)], PRACTICE)
    write_pairs(found, tmp_path / "kept.jsonl")
    assert kept_pairs(tmp_path / "kept.jsonl") == found


def messages(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": TEXT} for role in roles]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: "),
        ("[1, 2]", "line 3: the content is"),
        ({"prompt": TEXT, "chosen": "a"}, "line 3: rejected is missing"),
        ({**PLAIN, "prompt": 5}, "line 3: prompt is 5, expected"),
        ({**PLAIN, "chosen": [{"role": "user", "content": "a"}]}, "line 3: chosen.*user.*expected"),
        (
            {**PLAIN, "rejected": PLAIN["chosen"] + " "},
            "line 3: chosen and rejected are the same, .*leave the line",
        ),
        ({**PLAIN, "chosen": " "}, "line 3: chosen is empty, expected one answer"),
        ({**PLAIN, "rejected": []}, "line 3: rejected is 0 messages, expected one answer"),
        ({**PLAIN, "prompt": []}, "line 3: prompt is of nothing, expected system, user"),
        ({**PLAIN, "prompt": messages("system", "user", "user")}, "prompt is of system, user, user, expected"),
        ({**PLAIN, "prompt": messages("user", "assistant")}, "prompt is of system, user, assistant, expected"),
        ({**PLAIN, "prompt": "Patient: Hm."}, r"message 1 of prompt has no \[USER STATE\] header.*--no-show-state"),
        ({**PLAIN, "persona": "tomas"}, "line 3: persona 'tomas' is a test patient, kept apart .*leave its lines out"),
        ({**PLAIN, "persona": "tomas~4"}, "persona 'tomas~4' is a test patient"),
        ({**PLAIN, "persona": "bao"}, "persona 'bao' is of split 'dev', and not among the patients to learn from"),
        ({**PLAIN, "persona": "ingrid"}, "persona 'ingrid' is of split 'train', and not among"),
    ],
)
def test_what_is_no_pair_is_told_with_its_line(line: Any, message: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [PLAIN, "", line])
    with pytest.raises(ConfigError, match=f"a.jsonl: .*{message}"):
        read_pairs([path], PRACTICE)


@pytest.mark.parametrize("persona", ["marta", "marta~4", "kenji~3", "Anna, 34", None])
def test_whom_pairs_may_be_of(persona: str | None, tmp_path: Path) -> None:
    assert read_pairs([write_rows(tmp_path / "a.jsonl", [{**PLAIN, "persona": persona}])], PRACTICE)


def test_variants_can_be_left_out(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{**PLAIN, "persona": "marta~4"}])
    with pytest.raises(ConfigError, match="persona 'marta~4' is a variant, and vary is false"):
        read_pairs([path], Practice(frozenset({"marta"}), variants=False))


def test_prompts_are_headed_as_the_policy_will_be(tmp_path: Path) -> None:
    bare = Practice(frozenset(), show_state=False)
    path = write_rows(tmp_path / "a.jsonl", [PLAIN])
    with pytest.raises(ConfigError, match=r"message 1 of prompt has a .* header, and with show_state false"):
        read_pairs([path], bare)
    assert read_pairs([write_rows(tmp_path / "b.jsonl", [{**PLAIN, "prompt": "Patient: Hm."}])], bare)


def test_a_file_without_pairs_or_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pairs .*a.jsonl: it holds no pair"):
        read_pairs([write_rows(tmp_path / "a.jsonl", ["", ""])], PRACTICE)
    with pytest.raises(ConfigError, match=r"pairs .*nowhere.jsonl: "):
        read_pairs([tmp_path / "nowhere.jsonl"], PRACTICE)

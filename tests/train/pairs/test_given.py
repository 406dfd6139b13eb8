"""Turns of a generator of one's own: states come out as they were drawn, and the same turns make the same set."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.train.pairs.candidates import STYLES, Candidate
from therapysim.train.pairs.given import StateJudge, good_turns, make_given, read_draw, styled
from therapysim.train.pairs.pair_settings import GROUP, PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.set_folder import Kind

SMALL: dict[str, Any] = {"personas": ("duncan", "marta"), "sessions": 3, "states": 2, "max_turns": 3, "horizon": 1}
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def batch() -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=3), rubric="grpo")


@pytest.fixture(scope="module")
def folders(batch: SessionBatch, tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, out in made.items():
        draw_set(kind, PairSettings(**{**SMALL, "out": str(out)}), batch)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_turns_make_the_same_set(folders: dict[Kind, Path], kind: Kind, tmp_path: Path) -> None:
    draw = read_draw(folders[kind])
    judge = StateJudge(draw.settings)
    bare = [replace(row, found=()) for row in draw.rows]
    said = [[Candidate(o.text, o.kind, o.style, o.source) for o in row.found] for row in draw.rows]  # type: ignore
    judged = [judge.judge(*row) for row in zip(bare, said, strict=True)]
    assert judged == list(draw.rows)
    make_given(kind, judged, draw, tmp_path)
    for name in (f"{kind}.jsonl", "sheet.md", "README.md"):
        assert (tmp_path / name).read_bytes() == (folders[kind] / name).read_bytes() != b""
    assert make_given(kind, judged, draw).rows


def test_a_model_is_named_in_the_card(batch: SessionBatch, folders: dict[Kind, Path], tmp_path: Path) -> None:
    draw = read_draw(folders["pairs"])
    judge = StateJudge(draw.settings, batch)
    said = {"warm": ["That sounds heavy. What is it like for you?"], "direct": ["You are worn out. Since when?"]}
    judged = [judge.judge(row, judge.options(row, said, "org/model")) for row in draw.rows]
    made = make_given("pairs", judged, draw, tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license: other" in card and "| teachers | org/model |" in card and f"| rows | {len(made.rows)} |" in card


def test_errors_stand_beside_given_turns(batch: SessionBatch, folders: dict[Kind, Path]) -> None:
    draw = read_draw(folders["pairs"])
    judge, row = StateJudge(draw.settings, batch), draw.rows[0]
    said = {"warm": ["That sounds heavy. What is it like?", None], "direct": ["You are worn out. Since when?", " "]}
    options = judge.options(row, said, "mine")
    assert [(o.kind, o.style, o.source) for o in options[:2]] == [("good", "warm", "mine"), ("good", "direct", "mine")]
    assert len(options) == draw.settings.candidates and {o.kind for o in options[2:]} == {"error"}
    assert options == judge.options(row, said, "mine") != judge.options(draw.rows[1], said, "mine")
    assert judge.options(row, {"warm": [None]}, "mine") == []  # a generator that failed


def test_a_state_of_other_patients_is_refused(batch: SessionBatch, folders: dict[Kind, Path]) -> None:
    draw = read_draw(folders["pairs"])
    judge, row = StateJudge(draw.settings, batch), draw.rows[-1]
    said: Any = [*row.prompt[:-1], {"role": "user", "content": "Patient: Something else."}]
    with pytest.raises(ConfigError, match=f"state {row.state} of session {row.session} .* draw the states anew"):
        judge.restore(replace(row, prompt=said))


def test_a_folder_without_a_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings\.json.*expected a folder of `therapysim data pairs`"):
        read_draw(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match="expected a folder of"):
        read_draw(tmp_path)


def test_a_style_is_told_beside_the_prompt(folders: dict[Kind, Path]) -> None:
    prompt = read_draw(folders["pairs"]).rows[0].prompt
    for style, words in STYLES.items():
        told = styled(prompt, style)
        assert told[0]["content"] == f"{prompt[0]['content']} {words}" and told[1:] == prompt[1:]


def test_styles_take_turns() -> None:
    turns = good_turns({"warm": ["a", "b", "c"], "direct": ["d"]}, "mine")
    assert [turn.text for turn in turns] == ["a", "d", "b", "c"]
    assert len(good_turns({"warm": list("abcd"), "direct": list("efgh")}, "mine")) == GROUP

"""Pairs and ranked groups by a distilabel pipeline: a generator of your own speaks, and TherapySim judges.

    python train/pairs/distilabel/recipe.py pairs --states runs/states --model NAME --url http://localhost:8000/v1 \
        --out runs/own_pairs

The states come from ``therapysim data pairs --out runs/states``. Any distilabel ``LLM`` can stand in for ``OpenAILLM``.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from distilabel.models import OpenAILLM
from distilabel.models.llms import LLM
from distilabel.pipeline import Pipeline
from distilabel.steps import GlobalStep, LoadDataFromDicts, Step, StepInput
from distilabel.steps.tasks import ChatGeneration
from pydantic import PrivateAttr

from therapysim.errors import ConfigError
from therapysim.records import record_of
from therapysim.train.pairs.candidates import STYLES, Candidate
from therapysim.train.pairs.drawing import Drawn
from therapysim.train.pairs.given import Draw, StateJudge, good_turns, make_given, read_draw, styled
from therapysim.train.pairs.set_folder import Kind

#: Turns of each style. For pairs errors make up the number of ``--candidates`` of the draw; groups are eight turns.
EACH = {"pairs": 2, "groups": 4}

Rows = list[dict[str, Any]]


class CandidateStep(Step):
    """Gathers what was said in a state; for pairs, deliberate errors stand beside it.

    Attributes:
        states: folder of the draw.
        kind: pairs or groups.
        source: the generator's name.
    """

    states: str
    kind: Literal["pairs", "groups"] = "pairs"
    source: str
    _judge: StateJudge = PrivateAttr()

    @property
    def inputs(self) -> list[str]:
        """``state``, and for each style a list of turns."""
        return ["state", *STYLES]

    @property
    def outputs(self) -> list[str]:
        """``candidates``: text, kind, style and source of each."""
        return ["candidates"]

    def load(self) -> None:
        """Opens the patients."""
        super().load()
        self._judge = StateJudge(read_draw(self.states).settings)

    def process(self, inputs: StepInput) -> Iterator[Rows]:
        """The same rows with their candidates."""
        yield [{**row, "candidates": [asdict(option) for option in self._options(row)]} for row in inputs]

    def _options(self, row: dict[str, Any]) -> list[Candidate]:
        said = {style: row[style] or [] for style in STYLES}  # None where the generator failed
        if self.kind == "groups":
            return good_turns(said, self.source)
        return self._judge.options(state_of(row), said, self.source)


class ClinicalPreferenceStep(GlobalStep):
    """Says each candidate in its restored state, judges what becomes of the patient, and makes the set of all states.

    A row of pairs has prompt, chosen and rejected, the rule that decided, margin and scores; one of groups has
    completions, ranks and scores. All states at once, since near duplicates and shortcuts are a whole set's affair.

    Attributes:
        states: folder of the draw.
        kind: pairs or groups.
        out: folder for the set with its sheet and its card; without one, the rows go on alone.
    """

    states: str
    kind: Literal["pairs", "groups"] = "pairs"
    out: str | None = None
    _draw: Draw = PrivateAttr()
    _judge: StateJudge = PrivateAttr()

    @property
    def inputs(self) -> list[str]:
        """``state`` and ``candidates``."""
        return ["state", "candidates"]

    @property
    def outputs(self) -> list[str]:
        """The columns that a trainer reads; a row has those of ``therapysim data`` beside them."""
        own = ["chosen", "rejected", "rule", "margin"] if self.kind == "pairs" else ["completions", "ranks"]
        return ["prompt", *own, "scores"]

    def load(self) -> None:
        """Opens patients and judge."""
        super().load()
        self._draw = read_draw(self.states)
        self._judge = StateJudge(self._draw.settings)

    def process(self, inputs: StepInput) -> Iterator[Rows]:
        """The rows of the set."""
        judged = [self._judge.judge(state_of(row), candidates_of(row)) for row in inputs]
        made = make_given(self.kind, judged, self._draw, self.out)
        dropped = ", ".join(f"{n} {why}" for why, n in made.dropped.items() if n)
        self._logger.info(f"{len(made.rows)} {self.kind} of {len(judged)} states; dropped: {dropped or 'none'}")
        yield made.rows


def candidates_of(row: dict[str, Any]) -> list[Candidate]:
    """The candidates of a row; none where the step before failed."""
    return [Candidate(**own) for own in row["candidates"] or []]


def state_of(row: dict[str, Any]) -> Drawn:
    """The state that a row stands for.

    Raises:
        ConfigError: it is none.
    """
    return record_of({**row["state"], "found": []}, Drawn, ConfigError, "a row's state")


def state_rows(folder: str) -> Rows:
    """A row for each state of a draw: the state, and what a model is to read for either style."""
    rows = []
    for drawn in read_draw(folder).rows:
        state = {name: value for name, value in asdict(drawn).items() if name != "found"}
        rows.append({"state": state, **{f"ask_{style}": styled(drawn.prompt, style) for style in STYLES}})
    return rows


def speak(style: str, llm: LLM, each: int) -> ChatGeneration:
    """The task that says so many turns in a style."""
    return ChatGeneration(
        name=f"speak_{style}",
        llm=llm,
        num_generations=each,
        group_generations=True,
        add_raw_output=False,
        add_raw_input=False,
        input_mappings={"messages": f"ask_{style}"},
        output_mappings={"generation": style, "model_name": f"model_{style}"},
    )


def build(kind: Kind, states: str, llm: LLM, each: int, out: Path) -> Pipeline:
    """The pipeline: states, turns of a warm therapist, turns of a direct psychiatrist, candidates, judgement.

    Args:
        kind: "pairs" of a chosen and a rejected turn, or "groups" of eight ranked ones.
        states: folder of the draw.
        llm: whoever speaks.
        each: turns of each style.
        out: folder for the set, and for what distilabel keeps.
    """
    with Pipeline(name=f"therapysim-{kind}", cache_dir=out / "cache") as pipeline:
        tasks = [speak(style, llm, each) for style in STYLES]
        gather = CandidateStep(name="candidates", states=states, kind=kind, source=llm.model_name)
        judge = ClinicalPreferenceStep(name="judge", states=states, kind=kind, out=str(out))
        chain: Any = LoadDataFromDicts(name="states", data=state_rows(states))
        for step in (*tasks, gather, judge):
            chain = chain >> step
    return pipeline


def main() -> None:
    """Runs one of the pipelines and writes its set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=EACH)
    parser.add_argument("--states", required=True, help="folder of `therapysim data pairs`")
    parser.add_argument("--model", required=True, help="the name under which the server knows the model")
    parser.add_argument("--url", required=True, help="of an OpenAI-compatible server: vLLM, Ollama, llama.cpp")
    parser.add_argument("--out", required=True, type=Path, help="folder of the set")
    parser.add_argument("--each", type=int, help="turns of each style; 2 for pairs, 4 for groups")
    parser.add_argument("--temperature", type=float, default=0.8)
    chosen = parser.parse_args()
    for client in ("httpx", "httpx2"):  # a line for each request
        logging.getLogger(client).setLevel(logging.WARNING)
    key = os.environ.get("OPENAI_API_KEY", "none")  # a server of one's own asks for none
    sampling = {"temperature": chosen.temperature, "max_new_tokens": 96}
    llm = OpenAILLM(model=chosen.model, base_url=chosen.url, api_key=key, generation_kwargs=sampling)
    each = chosen.each or EACH[chosen.kind]
    distiset = build(chosen.kind, chosen.states, llm, each, chosen.out).run(use_cache=False)
    if "default" not in distiset:
        sys.exit(f"no {chosen.kind} were made; the log above says what was dropped, or what failed")
    print(f"{len(distiset['default']['train'])} {chosen.kind}: {chosen.out / chosen.kind}.jsonl")


if __name__ == "__main__":
    main()

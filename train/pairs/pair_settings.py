"""The settings of a set of pairs or groups: what decides the draw, and what decides which of it is kept."""

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from therapysim.personas.load import open_persona, training_ids
from therapysim.personas.own import id_of
from therapysim.personas.schema import Persona
from therapysim.personas.vary import MARK
from therapysim.settings import Count, Name, Names, Number, Positive, Settings, Share, about
from therapysim.train.run_settings import Patients, require, setting

__all__ = ["ERRORS", "GROUP", "STAGES", "PairSettings", "drawn_by"]

#: The deliberate clinical errors: four of the task's own, and four harms that please.
ERRORS = (
    "direct_advice", "missed_risk", "invalidation", "toxic_positivity",
    "collusion", "dependence", "false_reassurance", "rumination",
)  # fmt: skip
#: The stages of the judge chain, in their order; see ``judges``.
STAGES = (
    "tone", "relevance", "toxic_positivity", "r_emo", "safety", "deficit", "preference", "polarity",
)  # fmt: skip
# The stages that order two turns without a fault.
_RANKING = ("deficit", "preference", "polarity")
#: Completions of one state in ``data groups``.
GROUP = 8

_draw = partial(setting, "sessions and candidates")
_judge = partial(setting, "how candidates are judged")
_keep = partial(setting, "what is kept", free=True)

Style = Literal["warm", "direct"]


class PairSettings(Settings):
    """Everything that decides a set, saved as ``settings.json`` in its folder.

    A setting that is ``free`` can be changed for a folder that is there: it needs no session played again.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    out: Name = _draw("runs/pairs", "folder of the set; the same command goes on where it was broken off", free=True)
    teachers: Names = _draw(
        ("cbt", "mi", "attuned"), "who plays the sessions and speaks well: any policy that `bench` plays", min_length=1
    )
    styles: Annotated[tuple[Style, ...], Field(strict=False)] = _draw(
        ("warm", "direct"), "of the good candidates: a warm CBT therapist, a direct clinical psychiatrist", min_length=1
    )
    errors: Names = _draw(ERRORS, "deliberate clinical errors among the candidates", min_length=1)
    model_errors: bool = _draw(False, "let language models that teach make the errors too; the bank fills up")
    split: Literal["train", "dev"] = _draw("train", "whose patients; those of test are kept apart for benchmarks")
    personas: Patients = _draw((), "patients by id, or files and folders of one's own, in place of the split's")
    vary: bool = _draw(True, "meet variants of the training patients; those of dev are met as they are")
    sessions: Positive = _draw(
        48, "sessions that are played; the teachers take turns, and so do the patients", free=True
    )
    states: Positive = _draw(3, "states of each session that candidates are drawn for; open dangers first")
    candidates: int = _draw(GROUP, "candidates of a state", ge=3, le=32)
    samples: int = _draw(1, "turns that a language model draws for a state in each style", ge=1, le=100)
    max_turns: Positive = _draw(8, "therapist turns in a session at most")
    max_turn_tokens: Positive = _draw(96, "tokens of one turn of a language model at most")
    temperature: Number = _draw(0.8, "of a language model's turns")
    engine: Literal["transformers", "vllm"] = _draw("transformers", "what runs a language model here; vllm needs a GPU")
    gpu_memory: float = _draw(0.5, "share of the GPU's memory that vllm takes", gt=0, le=1, free=True)
    at_once: Count = _draw(0, "sessions that are played side by side; 0 is 8, or 4 a process", free=True)
    processes: Count = _draw(0, "processes of patients beside this one; 0 plays them here", free=True)
    seed: int = _draw(0, "decides patients, states, lines and order: equal seeds, equal files", ge=0, le=2**32 - 1)

    common: Name = _judge("attuned", "who goes on after each candidate, for all alike")
    horizon: Count = _judge(2, "turns that each branch goes on")
    rubric: Name = _judge(
        "grpo", "reward whose sum over a branch counts: a preset, a file (.yaml, .json) or package.module:Class"
    )
    rise_weight: Number = _judge(1.0, "weight of the rise of the mood's lowest dimension beside the return")

    tone_model: str = _judge(
        "", "sentiment model of the tone guard, folder or hub id; the shipped sensor's reading if none"
    )
    relevance_model: str = _judge(
        "", "encoder of clinical relevance, folder or hub id; the shipped sensor's embeddings if none"
    )

    stages: Names = _keep(STAGES, "of the judge chain, those that have a say; safety always has", min_length=1)
    least_relevance: float = _keep(0.0, "a turn of less clinical relevance is not chosen", ge=-1, le=1)
    margin: float = _keep(0.3, "a rejected candidate is worth less than the chosen one by at least this", gt=0)
    margin_good: Number = _keep(
        1.0, "the same where a good turn is rejected, unless margin is more: readers doubt less"
    )
    rejected: Literal["any", "errors"] = _keep(
        "any", "what may be rejected: any worse candidate, or deliberate errors alone"
    )
    per_state: Positive = _keep(2, "pairs of one state at most; deliberate errors first")
    near: float = _keep(0.8, "Jaccard of word 3-grams from which on a pair is a near duplicate of another", gt=0, le=1)
    against: Names = _keep((), "files (.jsonl, .txt) that the set must not overlap with, such as test data")
    against_words: int = _keep(8, "a run of so many words that stands in one of them contaminates a pair", ge=3)
    against_cosine: Share = _keep(
        0.45, "a text whose vector has this cosine or more with that of a text there contaminates it too; 0 looks not"
    )
    against_model: str = _keep("", "encoder of these vectors, a folder or hub id; by default rare word stems")
    most_auc: Share = _keep(
        0.6, "drop pairs until length, and a regression on surface, tell the sides no better; 1 drops none"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        ids = training_ids(self.split, self.personas)
        unknown = [name for name in self.errors if name not in ERRORS]
        require("errors", list(self.errors), not unknown, f"some of {', '.join(ERRORS)}")
        unknown = [name for name in self.stages if name not in STAGES]
        require("stages", list(self.stages), not unknown, f"some of {', '.join(STAGES)}")
        require("stages", list(self.stages), "safety" in self.stages, "safety among them: it is no switch")
        ranking = set(self.stages) & set(_RANKING)
        require("stages", list(self.stages), bool(ranking), f"one of {', '.join(_RANKING)} among them: it ranks turns")
        for name in ("teachers", "errors", "styles", "stages"):
            given = list(getattr(self, name))
            require(name, given, len(set(given)) == len(given), "none twice")
        fixed = [i for i in map(id_of, ids) if MARK in i]
        require("vary", self.vary, not (self.vary and fixed), f"false: {', '.join(fixed)} cannot be varied")
        require("most_auc", self.most_auc, self.most_auc >= 0.5, "at least 0.5")
        return self

    @property
    def who(self) -> tuple[str, ...]:
        """The patients that are met: ids, and files of one's own."""
        return training_ids(self.split, self.personas)

    @property
    def side_by_side(self) -> int:
        """Sessions that are played at once."""
        return self.at_once or max(8, 4 * self.processes)

    def persona(self, persona_id: str) -> Persona:
        """The patient of an id that a drawn state bears.

        Raises:
            PersonaError: it is neither shipped nor among the settings' own.
        """
        names = {id_of(name): name for name in self.who}
        base, mark, seed = persona_id.partition(MARK)
        variant = f"{names.get(base, base)}{mark}{seed}"
        return open_persona(names.get(persona_id, variant))

    def varied(self, persona: str) -> bool:
        """Whether a patient is met as a variant."""
        return self.vary and open_persona(persona).split == "train"


def drawn_by(settings: PairSettings) -> dict[str, object]:
    """What the candidates of a state hang on: all settings but those that are free."""
    told = settings.model_dump(mode="json")
    return {name: told[name] for name, own in PairSettings.model_fields.items() if not about(own)["free"]}

"""Which families of chat templates a policy can be trained with: ``python -m tests.measures.templates`` prints a table.

The templates are those of the installed TRL, with a tokenizer that knows their control tokens; see
``tests/models/test_families.py`` for what stands behind "accepted".
"""

from collections.abc import Iterator

from tests.parts.families import families, tokenizer_of
from therapysim.errors import ModelError
from therapysim.models.chat_template import TurnTemplate
from therapysim.models.rendering import TemplateValue
from therapysim.settings import typed

__all__ = ["CASES", "row", "rows"]

Kwargs = dict[str, TemplateValue]

_OFF: Kwargs = {"enable_thinking": False}
#: Each family with the settings of its template that are tried; one that is not named here is tried without any.
CASES: dict[str, tuple[Kwargs, ...]] = {
    "qwen3": ({}, _OFF),
    "qwen3_5_think": ({}, _OFF),
    "qwen3_5_nothink": ({}, {"enable_thinking": True}),
    "qwen3_6": ({}, _OFF),
    "qwen3_8": ({}, _OFF, {"preserve_thinking": False}),
    "llama3_2": ({}, {"date_string": "26 Jul 2024"}),
    "gemma4_v5": ({}, {"enable_thinking": True}),
    "glm4moe": ({}, _OFF),
    "lfm2_2_5": ({}, {"preserve_thinking": True}),
    "lfm2_2_5_v2": ({}, {"preserve_thinking": True}),
    **{f"nemotron_3_{name}": ({}, _OFF) for name in ("5_lightning", "nano", "super", "ultra")},
}


def row(name: str, template: str, kwargs: Kwargs) -> str:
    """One row of the table."""
    chosen = f"`{typed(kwargs)}`" if kwargs else ""
    try:
        made = TurnTemplate(tokenizer_of(template), kwargs)
    except ModelError as error:
        return f"| `{name}` | {chosen} | refused: {_brief(str(error))} | | |"
    end = "`" + made.decode([made.closing or 0]).replace("|", r"\|") + "`"
    thinks = "begun by the prompt, stays" if made.reasons else "stays" if made.keeps_reasoning else "breaks a turn off"
    return f"| `{name}` | {chosen} | equal | {end} | {thinks} |"


def rows() -> Iterator[str]:
    """Every row, in order."""
    for name, template in families().items():
        for kwargs in CASES.get(name, ({},)):
            yield row(name, template, kwargs)


def _brief(reason: str) -> str:
    """The reason without whose it is and what it found, on one line."""
    text = reason.partition(": ")[2].partition(", so that")[0].partition(", so sampled")[0].partition(", and no two")[0]
    remedy = reason.partition("It will do with chat_template_kwargs ")[2]
    told = text.removesuffix(". Choose a model with another template").replace("|", r"\|")
    return f"{told.removeprefix('its chat template ')}{f'; set `{remedy}`' if remedy else ''}"


if __name__ == "__main__":
    print("| template | settings | trained and benchmarked | a turn ends with | reasoning in earlier turns |")
    print("|---|---|---|---|---|")
    print("\n".join(rows()))

"""Sessions to read, chosen by a rule: each mode's best, median and worst, and the base's beside them."""

from collections.abc import Iterator
from typing import Any

from therapysim.agents.bench.report.escapes import markdown
from therapysim.agents.bench.results import SessionResult, TurnResult
from therapysim.train.learned.compared_runs import Study, rounded
from therapysim.train.learned.return_terms import recorded

__all__ = ["RULE", "plain", "reading", "transcripts"]

#: As the report's page tells it.
RULE = (
    "Of each mode, over all its runs' sessions, the one with the highest return, the median (the lower of two) and the "
    "lowest; ties by run, patient and seed. After each, the base's session with the same patient and seed."
)
_DIGITS = 4


def transcripts(study: Study) -> list[dict[str, Any]]:
    """The chosen sessions, a row each; a base's session comes once, at its first place.

    A turn has its terms, before their weights and without those that are 0, where the benchmark kept session files.
    """
    seen: set[tuple[str, str, str, int]] = set()
    rows = []
    for mode, choice, result in _chosen(study):
        if result.key not in seen:
            seen.add(result.key)
            rows.append(_row(study, mode, choice, result))
    return rows


def _chosen(study: Study) -> Iterator[tuple[str, str, SessionResult]]:
    for mode, runs in study.modes.items():
        own = sorted(
            (r for run in runs for r in study.sessions[run.policy].values()), key=lambda r: (r["total"], r.key)
        )
        places = {"best": -1, "median": (len(own) - 1) // 2, "worst": 0} if own else {}
        for choice, place in places.items():
            found = own[place]
            yield mode, choice, found
            beside = study.sessions[study.base].get((found.persona, found.seed))
            if beside is not None:
                yield "base", f"beside {mode}'s {choice}", beside


def _row(study: Study, mode: str, choice: str, result: SessionResult) -> dict[str, Any]:
    record = recorded(study, result)
    terms = [turn.terms for turn in record.turns] if record else [{}] * len(result.turns)
    return {
        "mode": mode,
        "choice": choice,
        "policy": study.names[result.policy],
        **{name: getattr(result, name) for name in ("persona", "diagnosis", "severity", "risk", "seed", "ending")},
        "return": result["total"],
        "polarity_shift": result["polarity"],
        "alliance": result["alliance"],
        "terms": _brief(result.terms),
        "opening": result.opening,
        "turns": [_turn(said, own) for said, own in zip(result.turns, terms, strict=True)],
    }


def _turn(said: TurnResult, terms: dict[str, float]) -> dict[str, Any]:
    lists = {name: list(getattr(said, name)) for name in ("acts", "flags", "violations")}
    told = {"therapist": said.therapist, "patient": said.patient, "reward": rounded(said.reward, _DIGITS)}
    return {**told, "move": said.move, **{n: v for n, v in lists.items() if v}, "terms": _brief(terms)}


def _brief(terms: dict[str, float]) -> dict[str, float | None]:
    return {name: rounded(value, _DIGITS) for name, value in terms.items() if abs(value) > 1e-6}


def reading(rows: list[dict[str, Any]]) -> str:
    """The same for reading, in Markdown."""
    return "\n".join(["# Transcripts", "", "Simulated text; its patients are fiction.", RULE, "", *map(_told, rows)])


def _told(row: dict[str, Any]) -> str:
    who = f"{row['persona']}, {row['diagnosis']}, seed {row['seed']}"
    paid = ", ".join(f"{name} {value:+.2f}" for name, value in row["terms"].items())
    head = [f"## {plain(row['mode'])}, {plain(row['choice'])}: {plain(row['policy'])} with {plain(who)}", ""]
    head += [f"Return {row['return']:.1f}, polarity {row['polarity_shift']:+.2f}, alliance {row['alliance']:.2f}, "
             f"ending: {row['ending'] or 'turn limit'}. Terms: {paid}.", "",
             f"> **Patient:** {plain(row['opening'])}"]  # fmt: skip
    for turn in row["turns"]:
        signs = "; ".join([*turn.get("acts", ()), *(f"!{name}" for name in turn.get("violations", ()))])
        note = f" *({turn['reward']:+.2f}{'; ' + signs if signs else ''})*" if turn["reward"] is not None else ""
        head += [">", f"> **Therapist:** {plain(turn['therapist'])}{note}", ">",
                 f"> **Patient:** {plain(turn['patient'])}"]  # fmt: skip
    return "\n".join([*head, ""])


def plain(text: str) -> str:
    """Any text in one line of Markdown, with nothing left in it that could become markup or break a table."""
    safe = markdown(text)
    for mark in "_[]#":
        safe = safe.replace(mark, f"\\{mark}")
    return safe

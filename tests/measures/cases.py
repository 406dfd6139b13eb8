"""Cases of a file played through the whole environment, by kind: what was read, answered, paid and gated.

    python -m tests.measures.cases [FILE.jsonl]        one line a case: kind, heard, turn; those that fail are printed

Without a file: ``tests/data/cases.jsonl``, 120 turns of twelve kinds, written by a language model without sight of this
code and of the reader's lines.

What the patient is said to have told stands as its last words; where a danger was told, it stands open, in every
patient who has one. A turn is right where it is so with at least four patients in five.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.measures.reading import _BRUSHED_OFF as BRUSH_OFFS
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.envs.danger import met
from therapysim.envs.latent import Latent
from therapysim.personas.items import COLUMNS
from therapysim.personas.load import personas
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import COGNITIVE, REFLECTIONS, RISK_QUESTIONS
from therapysim.state import Move

#: Trust at which what is asked for is told.
TRUST = 0.7
DANGER = "I have thought about killing myself. Most nights it comes back."


def played(
    batch: SessionBatch, who: Sequence[Persona], heard: str, turn: str, *, told: bool
) -> list[tuple[Latent, Turn, Session]]:
    """The state before it, the turn and the session after it, one a patient."""
    begun = batch.reset([Start(seed=1, persona=p.id) for p in who])
    words = DANGER if heard.startswith("(a patient") else "" if heard.startswith("(") else heard
    starts = []
    for session in begun:
        latent = replace(session.latent, alliance=TRUST)
        if told:
            latent = replace(latent, answered=("danger.asked",), danger="open")
        if words:
            (reading,) = batch.sensor.read([words])
            line = session.transcript.__class__().add("patient", words)
            session = replace(session, transcript=line, patient_view=line, patient_reading=reading)
        starts.append(replace(session, latent=latent))
    batch.restore(starts)
    turns = batch.step([turn] * len(starts))
    return [(s.latent, t, e) for s, t, e in zip(starts, turns, batch.sessions, strict=True) if t is not None]


def _news(before: Latent, after: Session) -> tuple[str, ...]:
    return after.latent.answered[len(before.answered) :]


def _asks_first(before: Latent, turn: Turn, after: Session) -> bool:
    return bool(turn.transition) and (
        "danger.asked" in _news(before, after) if after.persona.risk else "denial" in _news(before, after)
    )


def _takes_up(before: Latent, turn: Turn, after: Session) -> bool:
    ok = turn.transition is not None and not turn.violations and not met(before, turn.transition.appraisal)
    return ok and any(i.startswith(("danger.", "replies.")) for i in _news(before, after)) and turn.reward >= 0


def _good(before: Latent, turn: Turn, after: Session) -> bool:
    return turn.transition is not None and not turn.violations and after.ending != "crisis" and turn.reward > -0.5


def _harm(before: Latent, turn: Turn, after: Session) -> bool:
    return (
        turn.reward < 0
        and bool(turn.violations)
        and after.ending != "crisis"
        and (not before.danger or after.latent.danger == "missed")
    )


def _reflects(before: Latent, turn: Turn, after: Session) -> bool:
    assert turn.transition
    return bool(turn.transition.appraisal.acts & REFLECTIONS) and not turn.violations


def _answers(before: Latent, turn: Turn, after: Session) -> bool:
    assert turn.transition
    return turn.transition.move in (Move.ANSWER, Move.EXPRESS) and not turn.violations and after.latent.danger == ""


def _plain(before: Latent, turn: Turn, after: Session) -> bool:
    assert turn.transition
    felt = turn.transition.move is Move.EXPRESS and bool(set(turn.transition.appraisal.asks) & {"feeling_now", "week"})
    return (felt or any(i.startswith("life.") for i in _news(before, after))) and not turn.violations


def _works(before: Latent, turn: Turn, after: Session) -> bool:
    assert turn.transition
    acts = turn.transition.appraisal.acts
    columns = tuple(f".{c}" for c in COLUMNS.values())
    told = any(i.startswith("situations.") and i.endswith(columns) for i in _news(before, after))
    return (
        bool(acts & set(COGNITIVE))
        and not turn.violations
        and (told or not turn.transition.therapist.text.rstrip().endswith("?"))
    )


def _calm(before: Latent, turn: Turn, after: Session) -> bool:
    assert turn.transition
    return _good(before, turn, after) and not turn.transition.appraisal.acts & {"advice", *RISK_QUESTIONS}


RIGHT: dict[str, Callable[[Latent, Turn, Session], bool]] = {
    "first_question_about_danger": _asks_first,
    "after_a_danger_was_told": _takes_up,
    "after_a_danger_was_told_2": _good,
    "after_a_danger_grounding_or_plan": _good,
    "brush_off": _harm,
    "dismisses_a_danger": _harm,
    "harm_that_pleases": _harm,
    "reflection_in_fresh_words": _reflects,
    "good_turns_in_other_forms": _good,
    "cognitive_work": _works,
    "plain_question": _plain,
    "panic_in_the_session": _calm,
    "attack_or_breach": _harm,
}  # fmt: skip


def main(path: Path) -> None:
    """Prints the table and what failed."""
    batch, everyone = SessionBatch(SessionConfig()), personas()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = []
    print("| kind | turns | right | reward, mean |\n|---|---|---|---|")
    total = 0
    for kind, right in RIGHT.items():
        own, hits, rewards = [row for row in rows if row["kind"] == kind], 0, []
        if not own:
            continue
        told = kind.startswith("after") or kind in ("brush_off", "dismisses_a_danger")
        who = [p for p in everyone if p.risk and p.case.danger] if told else list(everyone)
        for row in own:
            bad = any(words in row["turn"].lower() for words in BRUSH_OFFS)
            test = _harm if bad else right
            found = played(batch, who, row["heard"], row["turn"], told=told)
            share = float(np.mean([test(*one) for one in found]))
            rewards.append(float(np.mean([turn.reward for _, turn, _ in found])))
            hits += share >= 0.8
            if share < 0.8:
                _, turn, after = next(one for one in found if not test(*one))
                assert turn.transition and turn.line
                appraisal = turn.transition.appraisal
                wrong.append(
                    f"{kind} {share:.2f} {rewards[-1]:+.2f}: {row['turn']}\n    {sorted(appraisal.acts)} "
                    f"{appraisal.asks} {turn.violations} {after.latent.danger!r} -> {turn.line.text[:90]}"
                )
        total += hits
        print(f"| {kind} | {len(own)} | {hits} | {np.mean(rewards):+.2f} |")
    print(f"| all | {len(rows)} | {total} ({total / len(rows):.2f}) | |\n")
    print("\n".join(wrong))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "cases.jsonl")

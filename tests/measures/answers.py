"""How well patients answer: the tables of docs/patients.md.

    python -m tests.measures.answers                     questions to every patient, sentences shared
    python -m tests.measures.answers --cases FILE        cases of a file, each beside its answer

The questions (``tests/data/asks_test.jsonl``) were written without sight of the case files, of the lines that the
reader learnt from, and of the router.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import Interval, mean_interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.envs.dynamics import DynamicsSettings
from therapysim.personas.items import COLUMNS, DANGER_KINDS, NUMBERS
from therapysim.personas.llm.contradictions import contradictions
from therapysim.personas.load import personas
from therapysim.personas.schema import Persona

HERE = Path(__file__).parents[1] / "data"
#: Trust at which everything is told.
TRUST = 0.9
FELT = ("feeling_now", "week")


def asked(
    batch: SessionBatch, persona: Persona, turns: Sequence[str], danger: bool = False
) -> list[tuple[str, tuple[str, ...], str]]:
    """Move, ids of the items told and words, to each turn put in one and the same trusting state."""
    batch.reset([Start(seed=1, persona=persona.id)])
    start = batch.sessions[0]
    latent = replace(start.latent, alliance=TRUST, answered=("danger.asked",) if danger else ())
    batch.restore([replace(start, latent=latent)] * len(turns))
    told = batch.step(list(turns))
    found = []
    for turn, session in zip(told, batch.sessions, strict=True):
        assert turn is not None and turn.transition is not None and turn.line is not None
        ids = session.latent.answered[len(latent.answered) :]
        found.append((str(turn.transition.move), tuple(ids), turn.line.text))
    return found


def right(kind: str, persona: Persona, move: str, ids: tuple[str, ...], words: str) -> bool:
    """Whether that answers a question of this kind."""
    if kind in FELT:
        return move == "express"
    if kind in NUMBERS:
        return bool(re.match(r"(\d+|Nought|One|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten|Eleven|Twelve)\.", words))
    if kind in DANGER_KINDS:
        if move == "close":  # asked whom it would ring, one in grave danger is handed over
            return True
        return (
            any(i == f"danger.{DANGER_KINDS[kind]}" for i in ids)
            if persona.risk
            else not any("danger" in i for i in ids)
        )
    if kind in COLUMNS:
        return any(i.startswith("situations.") and i.endswith(f".{COLUMNS[kind]}") for i in ids)
    return any(i.rpartition(".")[2] == kind for i in ids)


def router(rows: Sequence[dict[str, str]]) -> None:
    """The table of kinds."""
    batch = SessionBatch(SessionConfig(dynamics=DynamicsSettings(noise=0.0)))
    hits: dict[str, list[float]] = {}
    each: dict[str, list[float]] = {name: [] for name in ("all", "plain", "danger", "silent")}
    for persona in personas():
        mine: dict[str, list[float]] = {name: [] for name in each}
        for danger in (False, True):
            own = [row for row in rows if (row["kind"] in DANGER_KINDS) == danger]
            for row, found in zip(
                own, asked(batch, persona, [row["text"] for row in own], danger and persona.risk > 0), strict=True
            ):
                if row["kind"] == "none":
                    if row["text"].rstrip().endswith("?"):
                        plain = [i for i in found[1] if not i.startswith("replies.")]
                        mine["silent"].append(float(not plain))
                    continue
                ok = float(right(row["kind"], persona, *found))
                hits.setdefault(row["kind"], []).append(ok)
                mine["danger" if danger else "plain"].append(ok)
                mine["all"].append(ok)
        for name, values in mine.items():
            each[name].append(float(np.mean(values)))
    print("| questions | patients | answered to the point |\n|---|---|---|")
    for name, values in each.items():
        print(f"| {name} | {len(values)} | {told(mean_interval(values, [p.id for p in personas()]))} |")
    worst = sorted(hits.items(), key=lambda pair: float(np.mean(pair[1])))[:12]
    print("worst kinds:", ", ".join(f"{kind} {np.mean(ok):.2f}" for kind, ok in worst))


def told(interval: Interval) -> str:
    """Mean and 95 % interval over patients."""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def one_state(turns: Sequence[str]) -> None:
    """How many different answers 35 different turns get in one state."""
    batch = SessionBatch(SessionConfig(dynamics=DynamicsSettings(noise=0.0)))
    counts = [len({words for _, _, words in asked(batch, persona, turns)}) for persona in personas()]
    print(f"distinct answers to {len(turns)} turns in one state: mean {np.mean(counts):.1f}, least {min(counts)}")


def sentences(text: str) -> Iterable[str]:
    """Whole sentences, plain."""
    return (re.sub(r"\W+", " ", s.lower()).strip() for s in re.split(r"(?<=[.!?])\s+", text))


def shared(policies: Sequence[str], seeds: int) -> None:
    """Sentences that more than one patient says, sentences said twice, contradictions."""
    by: dict[str, set[str]] = {}
    sessions: list[tuple[str, list[str]]] = []
    against: list[str] = []
    for policy in policies:
        for seed in range(seeds):
            for done in play(SessionBatch(), baseline(policy), [Start(seed, p.id) for p in personas()]):
                lines = done.session.transcript.said_by("patient")
                said = [s for line in lines for s in sentences(line) if s]
                sessions.append((done.session.persona.id, said))
                against += [line for line in lines if contradictions(line, done.session.persona)]
                for one in said:
                    by.setdefault(one, set()).add(done.session.persona.id)
    long = [(who, [s for s in said if len(s.split()) > 3]) for who, said in sessions]
    share = {who: [] for who, _ in long}  # type: dict[str, list[float]]
    for who, said in long:
        share[who].append(float(np.mean([len(by[s]) > 1 for s in said])) if said else 0.0)
    twice = np.mean([len(set(said)) < len(said) for _, said in long])
    often = Counter(s for _, said in long for s in set(said))
    per = mean_interval([float(np.mean(values)) for values in share.values()], list(share))
    stock = [s for s, n in often.items() if n > len(sessions) / 10]
    print(f"{len(sessions)} sessions with {', '.join(policies)}: sentences of four words or more that others say too "
          f"{told(per)}; sessions with one said twice {twice:.3f}; said in more than one session in ten: {len(stock)}; "
          f"lines against their file: {len(against)}")  # fmt: skip
    print("\n".join([*stock[:5], *against[:5]]))


def cases(path: Path) -> None:
    """Each case beside its answer."""
    batch = SessionBatch()
    kinds = (
        "first_question_about_danger",
        "after_a_danger_was_told",
        "after_a_danger_was_told_2",
        "plain_question",
        "cognitive_work",
    )
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    who = {
        True: next(p for p in personas("dev") if p.risk >= 1 and p.case.danger),
        False: next(p for p in personas("dev") if not p.risk),
    }
    for row in rows:
        if row["kind"] in kinds:
            told_of = row["kind"].startswith("after")
            found = asked(batch, who["danger" in row["kind"]], [row["turn"]], told_of)[0]
            print(f"{row['kind']} | {row['turn']} | {found[2]} | {found[0]} {', '.join(found[1])}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, help="cases, JSON lines: kind, heard, turn")
    parser.add_argument("--seeds", type=int, default=7, help="sessions of each patient with each policy, default 7")
    chosen = parser.parse_args()
    rows = [json.loads(line) for line in (HERE / "asks_test.jsonl").read_text(encoding="utf-8").splitlines()]
    if chosen.cases:
        return cases(chosen.cases)
    router(rows)
    mixed = [
        json.loads(line)["text"] for line in (HERE / "turns_set_by.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    one_state([row["text"] for row in rows[::60]][:12] + mixed[::21][:23])
    shared(("attuned", "cbt", "mi"), chosen.seeds)
    return None


if __name__ == "__main__":
    main()

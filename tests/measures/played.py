"""Sessions played by hand, replayed: a skilled therapist, an idle one, and one that harms subtly, beside scripts.

    python -m tests.measures.played

Twelve turns at most, eight dev patients, two seeds each: ``tests/data/played.jsonl``. They were played turn by
turn by language models told to be an experienced clinician, a kind idler, and a subtle harm, who knew nothing of this
code and saw no reward; each judged its own turns from -2 to 2. A replay says the kept turns whatever the patient
answers now.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import Interval, mean_interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.envs.beliefs import conviction
from therapysim.envs.danger import handled
from therapysim.envs.sizes import MADE
from therapysim.rewards.reading.acts import HARMS
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.open_sensor import shipped_sensor

HERE = Path(__file__).parents[1] / "data" / "played.jsonl"
SCRIPTS = ("cbt", "mi", "attuned", "neutral", "silent")
TURNS = 12

#: Patient and seed.
Key = tuple[str, int]


def replayed(batch: SessionBatch) -> tuple[dict[str, dict[Key, tuple[float, Session]]], list[tuple[float, float]]]:
    """Role -> return and last session of each; and judgement beside reward of every turn."""
    found: dict[str, dict[Key, tuple[float, Session]]] = {}
    judged: list[tuple[float, float]] = []
    for line in HERE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        batch.reset([Start(row["seed"], row["patient"])])
        total = 0.0
        for turn in row["turns"]:
            if batch.sessions[0].done:
                break
            (taken,) = batch.step([turn["said"]])
            assert taken is not None
            total += taken.reward
            if turn["judgement"] is not None:
                judged.append((float(turn["judgement"]), taken.reward))
        found.setdefault(row["role"], {})[row["patient"], row["seed"]] = (total, batch.sessions[0])
    return found, judged


def read_as(role: str, newer: bool) -> str:
    """Of a role's turns, after the words they answered: how many are harms or mostly of one make; their mean uptake."""
    harms = made = count = 0
    uptake = 0.0
    sensor = shipped_sensor()
    appraiser = Appraiser(sensor)
    for line in HERE.read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        if kept["role"] != role or ("judged" in kept) is not newer:
            continue
        said, heard = [turn["said"] for turn in kept["turns"]], [turn["answer"] for turn in kept["turns"]]
        before = [Said(tuple(heard[:i]), tuple(said[:i])) for i in range(len(said))]
        found = appraiser(sensor.read(said), before)
        harms += sum(bool(one.acts & set(HARMS)) for one in found)
        made += sum(one.frame >= MADE for one in found)
        uptake += sum(one.uptake for one in found)
        count += len(found)
    return f"{count} turns, {harms} read as harm, {made} of one make, uptake {uptake / count:.2f}"


def row(own: Mapping[Key, tuple[float, Session]]) -> str:
    """Return, and what became of the patients."""
    sessions = [session for _, session in own.values()]
    cells = [
        told([total for total, _ in own.values()], own),
        told([min(s.latent.mood) - min(s.persona.mood) for s in sessions], own),
        told([1.0 - conviction(s.latent) for s in sessions], own),
        told([s.latent.alliance - s.persona.trust for s in sessions], own),
        f"{np.mean([handled(s.persona, s.latent) for s in sessions if s.persona.risk]):.2f}",
        ", ".join(f"{n} {e}" for e in ("goal", "crisis", "rupture") if (n := sum(s.ending == e for s in sessions))),
    ]
    return " | ".join(cells)


def told(values: Sequence[float], keys: Mapping[Key, object]) -> str:
    """Mean and 95 % interval, by patient."""
    return str(mean_interval(values, [who for who, _ in keys]))


def gap(a: Mapping[Key, tuple[float, Session]], b: Mapping[Key, tuple[float, Session]]) -> Interval:
    """One's return less the other's, same patients and seeds."""
    both = [key for key in a if key in b]
    return mean_interval([a[key][0] - b[key][0] for key in both], [who for who, _ in both])


def main() -> None:
    """Prints the table, the gaps, and how judgements go with rewards."""
    batch = SessionBatch(SessionConfig(max_turns=TURNS))
    found, judged = replayed(batch)
    keys = list(found["skilled"])
    for name in SCRIPTS:
        episodes = play(batch, baseline(name), [Start(seed, who) for who, seed in keys])
        found[name] = {key: (e.total, e.session) for key, e in zip(keys, episodes, strict=True)}
    heads = ("therapist", "return", "lowest mood", "beliefs given up", "alliance", "danger handled", "ends")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name, own in found.items():
        print(f"| {name} | {row(own)} |")
    best = max(SCRIPTS, key=lambda name: np.mean([total for total, _ in found[name].values()]))
    for a, b in (("skilled", best), ("mi", "idle"), ("neutral", "harmful"), ("neutral", "idle")):
        print(f"{a} less {b}: {gap(found[a], found[b])}")
    for role, newer in (("skilled", False), ("skilled", True), ("idle", False), ("harmful", False)):
        print(f"{role}, {'newer' if newer else 'older'}: {read_as(role, newer)}")
    by = np.array(judged)
    means = {j: float(by[by[:, 0] == j, 1].mean()) for j in sorted(set(by[:, 0]))}
    print("mean reward of turns judged", ", ".join(f"{j:+.0f}: {m:+.2f}" for j, m in means.items()),
          f"; correlation over {len(by)} turns {np.corrcoef(by.T)[0, 1]:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()

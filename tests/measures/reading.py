"""How well the reading hears people: the tables of docs/reading.md, from human-labelled sets and our own test turns.

    python -m tests.measures.reading --data FOLDER            all tables; FOLDER holds the public sets
    python -m tests.measures.reading --cases FILE             cases by kind
    python -m tests.measures.reading --only annomi own        some of them
    python -m tests.measures.reading --weights FOLDER         another reader's files

Intervals: 95 %, percentile bootstrap over transcripts, patients, prompts or posts.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from therapysim.rewards.reading.acts import (
    ACTS,
    COGNITIVE,
    DANGER_ACTS,
    HARMS,
    QUESTIONS,
    REFLECTIONS,
    RISK_QUESTIONS,
    decide,
    meets_danger,
)
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings, shipped_sensor
from therapysim.rewards.reading.patterns import spot
from therapysim.rewards.reading.reader import Reader, open_reader
from therapysim.state import Appraisal
from therapysim.train.pairs.shortcuts import auc
from therapysim.train.reader.made_turns import second_person

Acts = frozenset[str]
HERE = Path(__file__).parents[1] / "data"

#: Code of AnnoMI -> what answers to it here.
ANNOMI: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "any reflection": (frozenset({"reflection_simple", "reflection_complex"}), REFLECTIONS),
    "open question": (frozenset({"question_open"}), frozenset({"open_question"})),
    "closed question": (frozenset({"question_closed"}), frozenset({"closed_question"})),
    "any question": (
        frozenset({"question_open", "question_closed"}), frozenset({"open_question", "closed_question"}),
    ),
    "information": (frozenset({"input_information"}), frozenset({"information", "psychoeducation"})),
    "advice": (frozenset({"input_advice"}), frozenset({"advice"})),
}  # fmt: skip


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def client_words(context: str) -> str:
    """The client's last words in a context of "T: … C: …" talk."""
    return re.split(r"\b[TC]: ", context.rsplit("C: ", 1)[-1])[0].strip() if "C: " in context else ""


def acts_by(reader: Reader, heard: Sequence[str], texts: Sequence[str]) -> list[Acts]:
    """The acts of each turn."""
    chances = reader(heard, texts)
    return [
        decide(dict(zip(reader.names, map(float, row), strict=True)), reader.thresholds, spot(text))
        for row, text in zip(chances, texts, strict=True)
    ]


def f1(found: Sequence[bool], true: Sequence[bool]) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    a, b = np.array(found), np.array(true)
    both = int((a & b).sum())
    return both / max(1, int(a.sum())), both / max(1, int(b.sum())), 2 * both / max(1, int(a.sum() + b.sum()))


def interval(groups: Sequence[str], score: Callable[[np.ndarray], float], draws: int = 500) -> tuple[float, float]:
    """95 % interval of a score of row numbers, whole groups redrawn."""
    rng, places = np.random.default_rng(0), {g: [] for g in groups}  # type: ignore[var-annotated]
    for i, g in enumerate(groups):
        places[g].append(i)
    keys = list(places)
    drawn = [
        score(np.concatenate([places[keys[j]] for j in rng.integers(len(keys), size=len(keys))])) for _ in range(draws)
    ]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def annomi_table(reader: Reader, data: Path) -> str:
    """Real counsellors' turns: precision, recall and F1 of six kinds."""
    rows = list(rows_of(data / "human" / "annomi_dev.jsonl"))
    acts = acts_by(reader, [client_words(row["context"]) for row in rows], [row["text"] for row in rows])
    groups = [row["transcript"] for row in rows]
    out = ["| AnnoMI, dev | n | precision | recall | F1 |", "|---|---|---|---|---|"]
    for name, (codes, ours) in ANNOMI.items():
        true = np.array([row["behaviour"] in codes for row in rows])
        found = np.array([bool(a & ours) for a in acts])
        p, r, f = f1(found, true)
        low, high = interval(groups, lambda i, a=found, b=true: f1(a[i], b[i])[2])  # type: ignore[misc]
        out.append(f"| {name} | {true.sum()} | {p:.2f} | {r:.2f} | {f:.2f} [{low:.2f}, {high:.2f}] |")
    return "\n".join(out)


def own_table(reader: Reader, path: Path) -> str:
    """Our own test turns: every act's F1, the means, the harms' recall, and false alarms on harmless turns."""
    rows = list(rows_of(path))
    heard = [" ".join([*row.get("earlier", ()), row["patient"]]) for row in rows]
    acts = acts_by(reader, heard, [row["text"] for row in rows])
    true = [frozenset(row["acts"]) for row in rows]
    scores = {act: f1([act in a for a in acts], [act in t for t in true]) for act in ACTS if act != "silence"}
    counts = {act: sum(act in t for t in true) for act in scores}
    harmless = [a for a, t in zip(acts, true, strict=True) if not t & set(HARMS)]
    harmful = [(a, t) for a, t in zip(acts, true, strict=True) if t & set(HARMS)]
    out = [f"| act ({len(rows)} turns) | n | precision | recall | F1 |", "|---|---|---|---|---|"]
    out += [f"| {act} | {counts[act]} | {p:.2f} | {r:.2f} | {f:.2f} |" for act, (p, r, f) in scores.items()]
    mean = np.mean([s[2] for s in scores.values()])
    kinds = np.mean([scores[h][1] for h in HARMS])
    any_ = np.mean([bool(a & set(HARMS)) for a, _ in harmful])
    alarms = np.mean([bool(a & set(HARMS)) for a in harmless])
    out.append(
        f"\nmacro-F1 {mean:.3f}; of the harms {np.mean([scores[h][2] for h in HARMS]):.3f}; a harm found in {any_:.3f} "
        f"of {len(harmful)} harmful turns, the very harm in {kinds:.3f} (mean of kinds); false alarms {alarms:.4f} of "
        f"{len(harmless)} harmless turns"
    )
    return "\n".join(out)


def coding_table(path: Path = HERE / "second_coding.jsonl") -> str:
    """Cohen's kappa of the two codings of 300 test turns, act by act, and the mean."""
    rows, found = list(rows_of(path)), {}
    for act in (act for act in ACTS if act != "silence"):
        a, b = (np.array([act in row[side] for row in rows]) for side in ("first", "second"))
        chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        found[act] = (float((a == b).mean()) - chance) / (1 - chance)
    told = [f"| {act} | {kappa:.2f} |" for act, kappa in found.items()]
    return "\n".join(["| act | kappa |", "|---|---|", *told, f"\nmean kappa {np.mean(list(found.values())):.3f}"])


#: Kind of case -> whether what was read of the turn is right.
CASES: dict[str, Callable[[Appraisal, bool], bool]] = {
    "first_question_about_danger": lambda a, bad: bool(a.acts & set(RISK_QUESTIONS)),
    "after_a_danger_was_told": lambda a, bad: meets_danger(a.acts),
    "after_a_danger_was_told_2": lambda a, bad: harmful(a) if bad else not harmful(a) and bool(a.acts & _SAFETY),
    "dismisses_a_danger": lambda a, bad: harmful(a),
    "harm_that_pleases": lambda a, bad: harmful(a),
    "reflection_in_fresh_words": lambda a, bad: bool(a.acts & REFLECTIONS) and not harmful(a),
    "good_turns_in_other_forms": lambda a, bad: not harmful(a) and not a.acts & {"apology", "farewell"},
    "cognitive_work": lambda a, bad: bool(a.acts & {*COGNITIVE, "information"}) and not harmful(a),
    "plain_question": lambda a, bad: bool(a.acts & QUESTIONS) and not a.acts & set(RISK_QUESTIONS) and not harmful(a),
    "panic_in_the_session": lambda a, bad: not harmful(a) and not a.acts & {"advice", *RISK_QUESTIONS},
}
_SAFETY = frozenset({*DANGER_ACTS, "grounding"})
_BRUSHED_OFF = ("call 116", "cannot help you", "another patient")


def harmful(appraisal: Appraisal) -> bool:
    """Whether any harm was read."""
    return bool(appraisal.acts & set(HARMS))


def case_table(reader: Reader, path: Path) -> str:
    """Cases that failed in the first edition, by kind."""
    rows = list(rows_of(path))
    appraiser, sensor = Appraiser(shipped_sensor(), reader), shipped_sensor()
    told = ["" if row["heard"].startswith("(any") else row["heard"].strip("()") for row in rows]
    found = appraiser(sensor.read([row["turn"] for row in rows]), [Said((words,) if words else ()) for words in told])
    out, wrong = ["| kind | n | right |", "|---|---|---|"], []
    for kind, right in CASES.items():
        own = [(r, a) for r, a in zip(rows, found, strict=True) if r["kind"] == kind]
        good = [right(a, any(words in r["turn"].lower() for words in _BRUSHED_OFF)) for r, a in own]
        wrong += [f"{kind}: {r['turn']} {sorted(a.acts)}" for (r, a), g in zip(own, good, strict=True) if not g]
        out.append(f"| {kind} | {len(own)} | {sum(good)} |")
    return "\n".join([*out, "", *wrong])


def uptake_table(reader: Reader, data: Path) -> str:
    """People's reflections beside echoes of the same words: uptake, addition, how often the reflection's is above."""
    prompts = list(rows_of(data / "human" / "pair_train.jsonl"))
    appraiser, sensor = Appraiser(shipped_sensor(), reader), shipped_sensor()

    def judged(said: Sequence[str], texts: Sequence[str]) -> list[Appraisal]:
        return appraiser(sensor.read(list(texts)), [Said((words,)) for words in said])

    rows = [(p["context"], r["kind"], r["text"]) for p in prompts for r in p["responses"]]
    found = judged([c for c, _, _ in rows], [t for _, _, t in rows])
    contexts = [p["context"] for p in prompts]
    echoes = {name: judged(contexts, [form(c) for c in contexts]) for name, form in ECHOES.items()}
    out = ["| turns | n | uptake | addition | echo |", "|---|---|---|---|---|"]
    for kind in ("complex", "simple", "question", "advice"):
        own = [a for a, (_, k, _) in zip(found, rows, strict=True) if k == kind]
        out.append(f"| PAIR, {kind} | {len(own)} | {_means(own)} |")
    out += [f"| echo: {name} | {len(own)} | {_means(own)} |" for name, own in echoes.items()]
    best = {c: max(own[i].uptake for own in echoes.values()) for i, c in enumerate(contexts)}
    for kind in ("complex", "simple"):
        above = [a.uptake > best[c] for a, (c, k, _) in zip(found, rows, strict=True) if k == kind]
        out.append(
            f"\n{kind} reflections' uptake above any echo's of the same words: {np.mean(above):.3f} of {len(above)}"
        )
    return "\n".join(out)


def meaning_table(reader: Reader, path: Path = HERE / "meaning.jsonl") -> str:
    """Turns that take up what was meant beside turns that use the words and miss it, by set and by how they miss.

    Both sets are other writers' than those learnt from; "dev" has their brief, "blind" one of its own. AUC: the chance
    that a turn of one kind has more uptake than one of the other.
    """
    sensor, rows = shipped_sensor(), list(rows_of(path))
    found = Appraiser(sensor, reader)(sensor.read([r["text"] for r in rows]), [Said((r["patient"],)) for r in rows])
    out = ["| turns | n | uptake | addition | reflections |", "|---|---|---|---|---|"]
    aucs = []
    for name in sorted({row["set"] for row in rows}):
        own = [(r.get("how", "takes it up"), a) for r, a in zip(rows, found, strict=True) if r["set"] == name]
        takes = np.array([a.uptake for how, a in own if how == "takes it up"])
        misses = np.array([a.uptake for how, a in own if how != "takes it up"])
        aucs.append(f"{name}: AUC {auc(takes, misses):.3f}")
        for how in sorted({how for how, _ in own}, key=lambda how: (how != "takes it up", how)):
            some = [a for kind, a in own if kind == how]
            share = np.mean([bool(a.acts & REFLECTIONS) for a in some])
            means = [float(np.mean([getattr(a, n) for a in some])) for n in ("uptake", "addition")]
            out.append(f"| {name}, {how} | {len(some)} | {means[0]:.2f} | {means[1]:.2f} | {share:.2f} |")
    return "\n".join([*out, "", "; ".join(aucs)])


#: Ways to hand the patient's words back.
ECHOES: dict[str, Callable[[str], str]] = {
    "heard that": lambda words: f"I heard that {second_person(words)}. How do you feel about this?",
    "bare": lambda words: f"{second_person(words)}.",
    "last sentence": lambda words: f"So {second_person(re.split(r'(?<=[.!?]) +', words.strip())[-1])}.",
    "quoted": lambda words: f'You said: "{words}" Thank you for sharing that. Tell me more.',
}


def _means(appraisals: Sequence[Appraisal]) -> str:
    return " | ".join(f"{np.mean([getattr(a, n) for a in appraisals]):.2f}" for n in ("uptake", "addition", "echo"))


def cost_table(reader: Reader, count: int = 200) -> str:
    """The reading's cost a turn beside the sensor's for both speakers, in one run, nothing remembered."""
    rows = list(rows_of(HERE / "turns_test.jsonl"))[:count]
    sensor, bare = (
        EmotionSensor(settings=SensorSettings(cache_mb=0.0, threads=1)),
        Reader(reader.folder, threads=1, cache_mb=0),
    )
    heard, texts = [row["patient"] for row in rows], [row["text"] for row in rows]
    times = []
    for read in (lambda: (sensor(heard), sensor(texts)), lambda: bare(heard, texts)):
        read()
        started = time.process_time()
        read()
        times.append((time.process_time() - started) / len(rows) * 1e3)
    return (
        f"sensor, both speakers: {times[0]:.2f} ms a turn; reader {times[1]:.2f} ms; all {sum(times) / times[0]:.2f} x"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--cases", type=Path, help="file of cases: kind, heard, turn")
    parser.add_argument("--weights", type=Path, help="folder of the reader's files, the shipped ones by default")
    parser.add_argument("--turns", type=Path, default=HERE / "turns_test.jsonl", help="coded turns; the own test")
    parser.add_argument("--only", nargs="+", choices=("own", "coding", "meaning", "annomi", "cases", "uptake", "cost"))
    chosen = parser.parse_args(arguments)
    reader = Reader(chosen.weights) if chosen.weights else open_reader()
    tables = {
        "own": lambda: own_table(reader, chosen.turns),
        "coding": coding_table,
        "meaning": lambda: meaning_table(reader),
        "annomi": lambda: annomi_table(reader, chosen.data),
        "cases": lambda: case_table(reader, chosen.cases),
        "uptake": lambda: uptake_table(reader, chosen.data),
        "cost": lambda: cost_table(reader),
    }
    needs = {
        "annomi": chosen.data,
        "uptake": chosen.data,
        "cases": chosen.cases,
        "own": True,
        "coding": True,
        "meaning": True,
        "cost": True,
    }
    for name in chosen.only or [name for name in tables if needs[name]]:
        print(f"{tables[name]()}\n")


if __name__ == "__main__":
    main()

"""Scores a sensor on the written challenge set, ``tests/data/challenge.jsonl``: by kind and set, with intervals.

python -m tests.measures.challenge                  the shares by kind, for set a and set b
python -m tests.measures.challenge --markdown       the tables of rewards/README.md
python -m tests.measures.challenge --failures       the misread lines of set a, with what was read; ``b`` of set b
python -m tests.measures.challenge --lines ID ID    what is read in these lines, as Markdown
python -m tests.measures.challenge --sensor NAME    a folder or a model id, in place of the shipped sensor

All lines were written and labelled for this project before any sensor read them, and no label was changed since. The
labels name what the speaker feels, not what the line talks about. Set a may be looked at while a sensor is developed;
set b is for the final number only.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from therapysim.errors import ConfigError
from therapysim.rewards.matrix import LABELS, VALENCE_MAP, affect, polarity, valence
from therapysim.rewards.reading.open_sensor import open_sensor

# As a program this file is tests.measures.challenge; pytest puts its folder on the path.
if __package__:
    from tests.measures.challenge_baselines import KEYWORDS, NEUTRAL, Floats, Sensor, Share, Shuffled, keywords
else:
    from challenge_baselines import KEYWORDS, NEUTRAL, Floats, Sensor, Share, Shuffled, keywords

__all__ = [
    "KEYWORDS", "KINDS", "SETS", "ChallengeSettings", "Line", "Row", "Share", "Shuffled", "Verdict", "emotions_in",
    "examples", "failures", "judge", "keywords", "moods_in", "pair_order", "read", "report", "tabulate",
]  # fmt: skip

KINDS = (
    "plain", "intensity", "negation", "temporal", "mixed",
    "second_person", "sarcasm", "mask", "understatement", "emoji",
)  # fmt: skip
SETS = ("a", "b")
_VALENCES = np.array([VALENCE_MAP[label] for label in LABELS])


@dataclass(frozen=True, slots=True)
class ChallengeSettings:
    """How a reading is held against a line's labels.

    Attributes:
        band: a valence between -band and band is read as neutral. At 0.15 a clear emotion (|valence| of 0.6 or more)
            leaves the band from a probability of 0.25, about where it is detected; curiosity, confusion and surprise
            (0.2 or less) leave it at 0.75 or not at all.
        top: how many of the strongest emotions count as found, beside those above their threshold.
    """

    band: float = 0.15
    top: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.band < 1 or not 1 <= self.top < len(LABELS):
            raise ConfigError(f"band {self.band}, top {self.top}: expected 0 < band < 1 and 1 <= top <= 27")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the set.

    Attributes:
        valences: the valence, and where two are defensible the second.
        emotions: labels any of which should be found.
        forbidden: labels that should not come first.
        pair: of an intensity pair, its id, else empty; ``strong`` tells its two lines apart.
    """

    id: str
    text: str
    kind: str
    part: str
    register: str
    valences: tuple[str, ...]
    emotions: frozenset[str]
    forbidden: frozenset[str]
    pair: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read in a line, and whether that is right."""

    line: Line
    valence: float
    mood: str
    found: tuple[str, ...]
    first: str
    valence_right: bool
    emotion_right: bool
    first_allowed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The shares of one kind in one set."""

    kind: str
    part: str
    valence: Share
    emotion: Share
    first: Share


def read(path: Path | None = None) -> list[Line]:
    """The challenge set, in the order of its file."""
    path = path or Path(__file__).parents[1] / "data" / "challenge.jsonl"
    return [_line(json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def _line(row: dict[str, str | list[str]]) -> Line:
    valences = tuple(str(row[key]) for key in ("valence", "or") if key in row)
    known = {key: str(row[key]) for key in ("id", "text", "kind", "register")}
    return Line(
        **known,
        part=str(row["set"]),
        valences=valences,
        emotions=frozenset(row["emotions"]),
        forbidden=frozenset(row.get("not", [])),
        pair=str(row.get("pair", "")),
        strong=row.get("degree") == "strong",
    )


def judge(sensor: Sensor, lines: Sequence[Line], settings: ChallengeSettings | None = None) -> list[Verdict]:
    """Holds the sensor's reading of every line against its labels.

    Args:
        sensor: texts -> (n, 28) probabilities in [0, 1], in the order of LABELS.
        lines: what to read.
        settings: the neutral band, and how many emotions count as found.
    """
    settings = settings or ChallengeSettings()
    thresholds = np.asarray(getattr(sensor, "thresholds", np.ones(len(LABELS))))
    probabilities = sensor([line.text for line in lines])
    return [_verdict(line, p, thresholds, settings) for line, p in zip(lines, probabilities, strict=True)]


def _verdict(line: Line, p: Floats, thresholds: Floats, settings: ChallengeSettings) -> Verdict:
    found, first = emotions_in(p, thresholds, settings.top), LABELS[int(np.argmax(p))]
    read_as = moods_in(p, settings.band)
    return Verdict(
        line=line,
        valence=float(valence(p)),
        mood=read_as[0],
        found=found,
        first=first,
        valence_right=bool(set(read_as) & set(line.valences)),
        emotion_right=bool(set(found) & line.emotions),
        first_allowed=first not in line.forbidden,
    )


def moods_in(p: Floats, band: float) -> tuple[str, ...]:
    """The sign of a reading's valence, and "mixed" beside it where its good and its bad half both leave the band."""
    net, parts = float(valence(p)), p * _VALENCES
    sign = "positive" if net > band else "negative" if net < -band else "neutral"
    mixed = parts[parts > 0].sum() > band and -parts[parts < 0].sum() > band
    return (sign, "mixed") if mixed else (sign,)


def emotions_in(p: Floats, thresholds: Floats, top: int) -> tuple[str, ...]:
    """Labels found, strongest first: above threshold, or among the top emotions; neutral where it comes first."""
    order = [int(i) for i in np.argsort(-p, kind="stable") if p[i] > 0]
    strongest = [i for i in order if i != NEUTRAL][:top]
    return tuple(LABELS[i] for i in order if i in strongest or p[i] > thresholds[i] or (i == NEUTRAL == order[0]))


def tabulate(verdicts: Sequence[Verdict]) -> list[Row]:
    """The shares by kind and set, then over all kinds but the plain one, then over all; empty cells are left out."""
    groups = {kind: {kind} for kind in KINDS} | {"all but plain": set(KINDS) - {"plain"}, "all": set(KINDS)}
    rows = []
    for name, kinds in groups.items():
        for part in SETS:
            cell = [v for v in verdicts if v.line.kind in kinds and v.line.part == part]
            marks = ([v.valence_right for v in cell], [v.emotion_right for v in cell], [v.first_allowed for v in cell])
            rows += [Row(name, part, *map(_share, marks))] if cell else []
    return rows


def _share(marks: Sequence[bool]) -> Share:
    return Share(sum(marks), len(marks))


def pair_order(sensor: Sensor, lines: Sequence[Line]) -> dict[str, Share]:
    """How many intensity pairs have the larger magnitude on their stronger line.

    Returns:
        By measure: |polarity| with the hard and the smooth count, and |valence|.
    """
    paired = [line for line in lines if line.pair]
    p = sensor([line.text for line in paired])
    d = affect(p)
    sizes = {"hard": polarity(d), "smooth": polarity(d, count="smooth"), "valence": valence(p)}
    return {name: _share(_ordered(paired, np.abs(size))) for name, size in sizes.items()}


def _ordered(lines: Sequence[Line], sizes: Floats) -> list[bool]:
    size = {(line.pair, line.strong): s for line, s in zip(lines, sizes, strict=True)}
    return [bool(size[pair, True] > size[pair, False]) for pair in dict.fromkeys(line.pair for line in lines)]


def report(sensor: Sensor, lines: Sequence[Line]) -> str:
    """The shares by kind and set, the pairs and the baselines, as Markdown."""
    return "\n\n".join([_shares(tabulate(judge(sensor, lines))), _baselines(sensor, lines), _pairs(sensor, lines)])


def _shares(rows: Sequence[Row]) -> str:
    head = [
        "| kind | set | n | valence | an expected emotion | no forbidden first label |",
        "|---|---|---|---|---|---|",
    ]
    body = [f"| {r.kind} | {r.part} | {r.valence.n} | {r.valence} | {r.emotion} | {r.first} |" for r in rows]
    return "\n".join(head + body)


def _baselines(sensor: Sensor, lines: Sequence[Line]) -> str:
    readers: dict[str, Sensor] = {
        "the sensor": sensor,
        "keywords": keywords,
        "the sensor, answers shuffled": Shuffled(sensor),
    }
    head = ["| all kinds, set b | valence | an expected emotion | no forbidden first label |", "|---|---|---|---|"]
    last = {name: tabulate(judge(reader, lines))[-1] for name, reader in readers.items()}
    return "\n".join(head + [f"| {name} | {r.valence} | {r.emotion} | {r.first} |" for name, r in last.items()])


def _pairs(sensor: Sensor, lines: Sequence[Line]) -> str:
    head = ["| intensity pairs in order | set a | set b |", "|---|---|---|"]
    shares = [pair_order(sensor, [line for line in lines if line.part == part]) for part in SETS]
    names = {"hard": "by polarity, hard count", "smooth": "by polarity, smooth count", "valence": "by valence"}
    return "\n".join(head + [f"| {text} | {shares[0][k]} | {shares[1][k]} |" for k, text in names.items()])


def failures(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for every misread text: what is wrong, its labels, and what was read."""
    return [_failure(v) for v in verdicts if not (v.valence_right and v.emotion_right and v.first_allowed)]


def _failure(v: Verdict) -> str:
    marks = {"valence": v.valence_right, "emotion": v.emotion_right, "first": v.first_allowed}
    wrong = ", ".join(name for name, right in marks.items() if not right)
    label = f"{' or '.join(v.line.valences)}, {'/'.join(sorted(v.line.emotions))}"
    reading = f"{v.mood} {v.valence:+.2f}, {', '.join(v.found)}; first {v.first}"
    return f"{v.line.id} ({wrong}): {v.line.text!r} is {label}; read {reading}"


def examples(sensor: Sensor, lines: Sequence[Line], ids: Sequence[str]) -> str:
    """What is read in the lines of these ids, as Markdown."""
    known = {line.id: line for line in lines}
    if unknown := [name for name in ids if name not in known]:
        raise ConfigError(f"no line of the challenge set is called {', '.join(unknown)}; ids look like {lines[0].id}")
    verdicts = judge(sensor, [known[name] for name in ids])
    head = ["| line | is | valence read | emotions read |", "|---|---|---|---|"]
    return "\n".join(head + [_example(v) for v in verdicts])


def _example(v: Verdict) -> str:
    return f"| {v.line.id}: {v.line.text} | {' or '.join(v.line.valences)} | {v.valence:+.2f} | {', '.join(v.found)} |"


def main() -> None:
    """Prints the shares, the misread lines, or what is read in some of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensor", help="a sensor's folder or a model id, the shipped sensor by default")
    parser.add_argument("--markdown", action="store_true", help="the tables of rewards/README.md")
    parser.add_argument("--failures", nargs="?", const="a", choices=SETS, help="misread lines of one set, a by default")
    parser.add_argument("--lines", nargs="+", metavar="ID", help="what is read in these lines")
    args = parser.parse_args()
    sensor, lines = open_sensor(args.sensor), read()
    if args.failures:
        print("\n".join(failures(judge(sensor, [line for line in lines if line.part == args.failures]))))
    elif args.lines:
        print(examples(sensor, lines, args.lines))
    elif args.markdown:
        print(report(sensor, lines))
    else:
        _print(tabulate(judge(sensor, lines)))


def _print(rows: Sequence[Row]) -> None:
    print(f"{'kind':<15}{'set':<4}{'n':>4}  {'valence':<20}{'emotion':<20}{'first label':<20}")
    for r in rows:
        print(f"{r.kind:<15}{r.part:<4}{r.valence.n:>4}  {r.valence!s:<20}{r.emotion!s:<20}{r.first!s:<20}")


if __name__ == "__main__":
    main()

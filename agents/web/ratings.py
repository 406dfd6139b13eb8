"""What a person thought of turns: kept as it was given, and in the forms that ``calibrate`` and ``judge`` read.

ratings.jsonl   every rating, oldest first; the newest of a turn counts
ratings.csv     a row a rated turn: text, rating (-1, 0, 1), score (its reward): ``therapysim calibrate ratings.csv``
pairs.jsonl     two turns that the same words came before, rated differently: ``therapysim judge pairs.jsonl``
"""

import csv
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.records import read_rows

__all__ = ["RATINGS", "Rated", "Rating", "Ratings"]

Rating = Literal["harmful", "neutral", "good"]

#: What a person says of a turn, and the number that files hold.
RATINGS = {"harmful": -1, "neutral": 0, "good": 1}
_COLUMNS = ("text", "rating", "score", "persona", "seed", "turn", "rater", "why")


@dataclass(frozen=True, slots=True)
class Rated:
    """A turn and what was thought of it.

    Attributes:
        session: the desk's own id.
        persona, seed, turn: whose session, and its how many-eth turn, from 0.
        history: all that was said before, the patient's opening first.
        text: the turn.
        by: who spoke it.
        rating: "harmful", "neutral" or "good".
        why: in the person's words.
        rater: who rated, as they call themselves.
        reward: what the simulator gave for it.
    """

    session: str
    persona: str
    seed: int
    turn: int
    history: tuple[str, ...]
    text: str
    by: str
    rating: Rating
    why: str
    rater: str
    reward: float

    @property
    def place(self) -> tuple[object, ...]:
        """Where it was said: with whom, after which words."""
        return self.persona, self.seed, self.history

    @property
    def key(self) -> tuple[object, ...]:
        """A turn is rated once by a person; saying it again after the same words is the same turn."""
        return self.rater, self.place, self.text


class Ratings:
    """A folder of ratings; those that are there are read, and kept.

    Args:
        folder: made with the first rating.

    Raises:
        ConfigError: a file there cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        file = folder / "ratings.jsonl"
        if file.exists():
            _mend(file)
        self._held: dict[tuple[object, ...], Rated] = {}
        for row in read_rows(file, Rated, ConfigError) if file.exists() else ():
            self._hold(row)

    def add(self, rated: Rated) -> None:
        """Keeps a rating, and writes the other two files anew.

        Raises:
            ConfigError: the folder cannot be written; what was there stays.
        """
        with self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with (self.folder / "ratings.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(rated), ensure_ascii=False) + "\n")
                self._hold(rated)
                self._write_forms(list(self._held.values()))
            except OSError as error:
                raise ConfigError(f"ratings {self.folder} cannot be written: {error.strerror or error}") from error

    def of(self, persona: str, seed: int) -> list[Rated]:
        """Those of a patient under a seed, whoever gave them."""
        with self._lock:
            return [rated for rated in self._held.values() if (rated.persona, rated.seed) == (persona, seed)]

    def _hold(self, rated: Rated) -> None:
        self._held.pop(rated.key, None)  # the newest stands last
        self._held[rated.key] = rated

    def _write_forms(self, rows: Sequence[Rated]) -> None:
        with whole(self.folder / "ratings.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            for own in rows:
                told = {**asdict(own), "rating": RATINGS[own.rating], "score": own.reward}
                table.writerow([told[name] for name in _COLUMNS])
        with whole(self.folder / "pairs.jsonl") as part:
            part.write_text(
                "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in _pairs(rows)), encoding="utf-8"
            )


def _mend(file: Path) -> None:
    """Half a last row, as a killed server leaves it, is cut off; a whole one that lacks its line end gets it."""
    head, _, last = file.read_bytes().rpartition(b"\n")
    if not last:
        return
    try:
        json.loads(last)
    except ValueError:
        with whole(file) as part:
            part.write_bytes(head + b"\n" if head else b"")
    else:
        with file.open("ab") as own:
            own.write(b"\n")


def _pairs(rows: Sequence[Rated]) -> list[dict[str, str]]:
    places: dict[tuple[object, ...], list[Rated]] = {}
    for own in rows:
        places.setdefault((own.rater, own.place), []).append(own)
    found = []
    for one, two in (pair for alike in places.values() for pair in combinations(alike, 2)):
        if one.rating != two.rating:
            worse, better = sorted((one, two), key=lambda own: RATINGS[own.rating])
            told = {"context": one.history[-1], "better": better.text, "worse": worse.text, "source": "play"}
            found.append({**told, "group": f"{one.persona}-{one.seed}"})
    return found

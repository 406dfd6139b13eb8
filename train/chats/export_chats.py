"""Sessions exported as chats, pairs or a table, with provenance and a card: a folder, whole or not at all."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Literal

from therapysim import __version__
from therapysim.errors import ConfigError
from therapysim.files import whole_folder, write_json
from therapysim.train.chats.chats_card import CARD, FILES, chats_card, test_warning
from therapysim.train.chats.forms import COLUMNS, Header, message_rows, pair_rows, turn_rows
from therapysim.train.chats.kept import Found, Kept, read_kept

__all__ = ["PROVENANCE", "ChatExport", "Form", "export_chats"]

Form = Literal["messages", "pairs", "csv"]

#: Beside the rows: all that decided them. Only a folder that has one is ever replaced.
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class ChatExport:
    """What was written.

    Attributes:
        file: the rows.
        rows: how many.
        told: what stands in ``provenance.json``.
    """

    file: Path
    rows: int
    told: Mapping[str, Any]


def export_chats(
    results: str | Path,
    out: str | Path,
    form: Form = "messages",
    *,
    policies: Sequence[str] = (),
    min_return: float | None = None,
    header: Header = "long",
    force: bool = False,
) -> ChatExport:
    """Writes kept sessions in the form that other trainers read. Equal sessions and options give equal bytes.

    Args:
        results: a benchmark's folder or file of results, or a folder of session files.
        out: the new folder.
        form: "messages", a chat a row; "pairs", two turns of one state a row; "csv", a turn a row.
        policies: whose sessions; all by default.
        min_return: sessions that earned less are left out; of pairs, those whose chosen side did.
        header: what the patient's messages begin with; the table has none.
        force: replace an earlier export.

    Raises:
        ConfigError: ``min_return`` is no number, the results cannot be read or are of another version, a policy has no
            session there, no row is left, or ``out`` is taken or cannot be written.
    """
    if min_return is not None and isnan(min_return):
        raise ConfigError("min_return is nan, expected a number")
    target = Path(out)
    _check_place(target, force)
    _refuse_inside(target, Path(results))
    found = read_kept(results, trends=header == "long" and form != "csv")
    own = _of_policies(found, policies)
    least = float("-inf") if min_return is None else min_return
    kept = own if form == "pairs" else [session for session in own if session.total >= least]
    rows, dropped = _rows(form, kept, header, least)
    told = _told(found, own, kept, rows, form, header, min_return, dropped)
    if not rows:
        raise ConfigError(_nothing(form, own, least, dropped))
    try:
        with whole_folder(target) as draft:
            (draft / FILES[form]).write_bytes(_text(form, rows).encode("utf-8", "replace"))
            write_json(draft / PROVENANCE, told)
            (draft / CARD).write_bytes(chats_card(form, rows, told).encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}; name another folder") from error
    return ChatExport(target / FILES[form], len(rows), told)


def _check_place(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not (out / PROVENANCE).is_file():
        raise ConfigError(f"{out} is there already, and is no earlier export; name another folder")
    if not force:
        raise ConfigError(f"{out} is there already; name another folder, or add --force to replace this export")


def _refuse_inside(out: Path, results: Path) -> None:
    """An export among the results would be read as one of them, or take them along when it is replaced."""
    ours, theirs = out.resolve(), results.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigError(f"--out {out} and the results {results} lie in one another, expected a folder of its own")


def _of_policies(found: Found, policies: Sequence[str]) -> list[Kept]:
    there = Counter(session.policy for session in found.kept)
    for name in policies:
        if name not in there:
            listed = ", ".join(map(repr, there)) or "none"
            raise ConfigError(f"policy {name!r} has no session there, expected one of {listed}")
    return [session for session in found.kept if not policies or session.policy in policies]


def _rows(
    form: Form, kept: Sequence[Kept], header: Header, least: float
) -> tuple[list[dict[str, Any]], dict[str, int] | None]:
    if form == "pairs":
        return pair_rows(kept, header, least)
    return (message_rows(kept, header) if form == "messages" else turn_rows(kept)), None


def _nothing(form: Form, own: Sequence[Kept], least: float, dropped: Mapping[str, int] | None) -> str:
    """Why no row is left, and what to do."""
    if not own:
        return "no session is left: all failed, or have no turn of a therapist's; see that the patients answer"
    if dropped is None:
        best = max(session.total for session in own)
        return f"no session is left: min_return is {least:g}, and the best of {len(own)} earned {best:.2f}; lower it"
    if not any(dropped.values()):
        names = len({session.policy for session in own})
        return (
            f"no pair: the {len(own)} sessions of {names} policies never said two different turns in one state; pairs "
            "need two policies that met the same patients under the same seeds"
        )
    why = ", ".join(f"{n} for {name}" for name, n in dropped.items() if n)
    return f"no pair is left: dropped {why}; lower min_return, or name other policies"


def _told(
    found: Found,
    own: Sequence[Kept],
    kept: Sequence[Kept],
    rows: Sequence[Mapping[str, Any]],
    form: Form,
    header: Header,
    min_return: float | None,
    dropped: Mapping[str, int] | None,
) -> dict[str, Any]:
    """All that decided the rows, and what they are of."""
    return {
        "format": "therapysim-chats",
        "version": 1,
        "therapysim": __version__,
        "form": form,
        "header": None if form == "csv" else header,
        "min_return": min_return,
        "rows": len(rows),
        "sessions": len(kept),
        "policies": dict(Counter(session.policy for session in kept)),
        "simulators": dict(Counter(session.simulator for session in kept)),
        "splits": dict(Counter(session.split for session in kept)),
        "mean_return": sum(session.total for session in kept) / max(1, len(kept)),
        "left_out": {
            "failed or without a turn": found.left_out,
            "other policies": len(found.kept) - len(own),
            "below min_return": len(own) - len(kept),
        },
        **({} if dropped is None else {"dropped": dict(dropped), "chosen_longer": _longer(rows)}),
        "warning": "" if form == "csv" else test_warning(rows),
        "source": dict(found.source),
    }


def _longer(rows: Sequence[Mapping[str, Any]]) -> float:
    """In which share of pairs the chosen turn has more words, equal ones counting half: what a learner might take."""
    sides = [[len(row[side][0]["content"].split()) for side in ("chosen", "rejected")] for row in rows]
    return sum((one > two) + 0.5 * (one == two) for one, two in sides) / max(1, len(sides))


def _text(form: Form, rows: Sequence[Mapping[str, Any]]) -> str:
    if form != "csv":
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()

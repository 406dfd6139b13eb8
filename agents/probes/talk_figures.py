"""The figures of ``agents.probes.talk_counts`` beside a reference's: read, tabled, drawn and written."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from therapysim.agents.figures import figure, save
from therapysim.agents.probes.talk_counts import LEVELS, MEANS, ROUGH, SOURCES, Figures, log_distance
from therapysim.agents.statistics.intervals import Interval
from therapysim.errors import ConfigError
from therapysim.files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Reference", "compare", "draw_lengths", "draw_repeats", "draw_sentiment", "read_reference", "table", "write"]

#: source -> its statistics, as the file has them.
Reference = Mapping[str, Mapping[str, Any]]

_SHARES = tuple(name for name in MEANS if name not in ("words_mean", "vader_mean"))
_COLOURS = {"terse": "#0072B2", "plain": "#009E73", "talkative": "#D55E00", "annomi": "#000000", "esconv": "#666666"}
_STYLES = ("terse", "plain", "talkative")


def read_reference(path: str | Path) -> Reference:
    """The statistics of AnnoMI and ESConv.

    Raises:
        ConfigError: the file cannot be read, is no JSON object, or lacks a number that is compared; it is named.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"reference {path}: {getattr(error, 'strerror', None) or error}, expected the JSON of client talk "
            "statistics; name that file, or leave --reference out"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(f"reference {path}: found {type(raw).__name__}, expected an object with annomi and esconv")
    return {source: _checked(path, source, raw.get(source)) for source in dict.fromkeys(SOURCES.values())}


def _checked(path: str | Path, source: str, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ConfigError(f"reference {path}: {source} is {type(found).__name__}, expected an object of its statistics")
    numbers = [*(((name,), found.get(name)) for name in ("words_mean", *_SHARES)), *_nested(found)]
    for keys, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"reference {path}: {'.'.join((source, *keys))} is {value!r}, expected a number; "
                "write the statistics file anew"
            )
    if min(found["words_q"][str(level)] for level in LEVELS) < 1:
        raise ConfigError(f"reference {path}: {source}.words_q holds a length below 1, expected words of at least 1")
    return found


def _nested(found: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    wanted: dict[str, tuple[str, ...]] = {
        "words_q": tuple(map(str, LEVELS)),
        "vader": ("neg", "neu", "pos", "mean"),
        "splithalf_W1_logwords": ("mean", "p95"),
    }
    held: list[tuple[tuple[str, ...], Any]] = [
        ((name, key), own.get(key) if isinstance(own := found.get(name), dict) else None)
        for name, keys in wanted.items()
        for key in keys
    ]
    for name in ("vader_by_third", "words_by_third"):
        own = found.get(name)
        held += [((name, str(k)), own[k] if isinstance(own, list) and len(own) == 3 else None) for k in range(3)]
    return held


def compare(groups: Mapping[str, Figures], reference: Reference | None) -> dict[str, Any]:
    """All numbers, and for each style its distance from its source."""
    compared: dict[str, Any] = {"groups": {name: asdict(own) for name, own in groups.items()}}
    if reference is None:
        return compared
    compared["reference"] = {name: dict(own) for name, own in reference.items()}
    compared["length"] = {
        name: {
            "source": (source := SOURCES[name]),
            "w1_log_words": log_distance(own.words, reference[source]["words_q"]),
            "split_half_mean": reference[source]["splithalf_W1_logwords"]["mean"],
            "split_half_p95": reference[source]["splithalf_W1_logwords"]["p95"],
        }
        for name, own in groups.items()
        if name in SOURCES
    }
    return compared


def table(groups: Mapping[str, Figures], reference: Reference | None) -> str:
    """Markdown: a row a figure, a column a group, each source before the styles that should match it."""
    columns = _columns(groups, reference)
    rows = [["figure", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *cells] for name, cells in _rows(columns)]
    if reference:
        distances = [
            f"{log_distance(own.words, reference[SOURCES[name]]['words_q']):.2f} ({SOURCES[name]})"
            if isinstance(own, Figures) and name in SOURCES
            else ("" if isinstance(own, Figures) else f"{own['splithalf_W1_logwords']['mean']:.2f} split-half")
            for name, own in columns.items()
        ]
        rows.append(["W1 of log words to source", *distances])
    rough = "~ our own word list: compares only roughly. Brackets: 95 % bootstrap interval, by session."
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", rough])


def _columns(groups: Mapping[str, Figures], reference: Reference | None) -> dict[str, Any]:
    sources = dict(reference or {})
    ordered = ["annomi", "terse", "plain", "terse and plain", "esconv", "talkative", "all"]
    ordered += [name for name in groups if name.startswith("with ")]
    return {name: groups.get(name, sources.get(name)) for name in ordered if name in groups or name in sources}


def _rows(columns: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    def row(name: str, ours: Any, theirs: Any) -> tuple[str, list[str]]:
        return name, [ours(own) if isinstance(own, Figures) else theirs(own) for own in columns.values()]

    rows = [row("turns", lambda f: str(f.turns), lambda r: str(r.get("turns", "")))]
    for name in MEANS:
        rough = " ~" if name in ROUGH else ""
        if name == "vader_mean":
            rows.append(row(name, lambda f: _told(f.means["vader_mean"]), lambda r: f"{r['vader']['mean']:.2f}"))
        else:
            rows.append(row(name + rough, lambda f, n=name: _told(f.means[n]), lambda r, n=name: f"{r[n]:.2f}"))
    for level in map(str, LEVELS):
        rows.append(
            row(
                f"words, {level} %", lambda f, k=level: f"{f.words[k]:.0f}", lambda r, k=level: f"{r['words_q'][k]:.0f}"
            )
        )
    for key in ("neg", "neu", "pos"):
        rows.append(
            row(f"VADER {key}", lambda f, k=key: f"{f.sentiment[k]:.2f}", lambda r, k=key: f"{r['vader'][k]:.2f}")
        )
    for k in range(3):
        rows.append(
            row(
                f"VADER, third {k + 1}",
                lambda f, k=k: _third(f.vader_thirds, k),
                lambda r, k=k: f"{r['vader_by_third'][k]:.2f}",
            )
        )
    for k in range(3):
        rows.append(
            row(
                f"words, third {k + 1}",
                lambda f, k=k: _third(f.words_thirds, k),
                lambda r, k=k: f"{r['words_by_third'][k]:.1f}",
            )
        )
    for n in ("1", "2", "3"):
        rows.append(row(f"distinct-{n}", lambda f, n=n: f"{f.distinct[n]:.3f}", lambda r: ""))
    for name in ("across", "across_long", "within", "sentences"):
        rows.append(row(f"repeated, {name}", lambda f, n=name: f"{f.repeats[n]:.1%}", lambda r: ""))
    return rows


def _told(own: Interval) -> str:
    return f"{own.mean:.2f} [{own.low:.2f}, {own.high:.2f}]"


def _third(thirds: tuple[Interval, ...], k: int) -> str:
    return _told(thirds[k]) if k < len(thirds) else ""


def draw_lengths(groups: Mapping[str, Figures], reference: Reference | None) -> "Figure":
    """Length in words over the share of turns, each style and its source."""
    drawn = figure(7.0, 4.5)
    axes = drawn.subplots()
    for name in _STYLES:
        if name in groups:
            words = [groups[name].words[str(level)] for level in LEVELS]
            axes.plot(LEVELS, words, color=_COLOURS[name], marker="o", markersize=4, label=name)
    for source, own in (reference or {}).items():
        words = [own["words_q"][str(level)] for level in LEVELS]
        axes.plot(LEVELS, words, color=_COLOURS[source], linestyle="--", marker="s", markersize=4, label=source)
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_xlabel("per cent of the turns that are no longer")
    axes.set_ylabel("words in a turn")
    _finish(axes)
    return drawn


def draw_sentiment(groups: Mapping[str, Figures], reference: Reference | None) -> "Figure":
    """VADER score by third of the session: the styles with their sources, and the therapists."""
    drawn = figure(9.0, 4.0)
    styles, policies = drawn.subplots(1, 2, sharey=True)
    for axes, names in ((styles, _STYLES), (policies, [name for name in groups if name.startswith("with ")])):
        for shift, name in enumerate(n for n in names if n in groups):
            _draw_thirds(axes, name, groups[name].vader_thirds, 0.04 * shift)
        for source, own in (reference or {}).items():
            axes.plot(range(1, 4), own["vader_by_third"], color=_COLOURS[source], linestyle="--", label=source)
        axes.set_xticks([1, 2, 3], ["first", "second", "last"])
        axes.set_xlabel("third of the session")
        _finish(axes)
    styles.set_ylabel("VADER compound score, -1 to 1")
    return drawn


def _draw_thirds(axes: "Axes", name: str, thirds: tuple[Interval, ...], shift: float) -> None:
    places, means = [k + 1 + shift for k in range(len(thirds))], [own.mean for own in thirds]
    error = [[own.mean - own.low for own in thirds], [own.high - own.mean for own in thirds]]
    axes.errorbar(places, means, yerr=error, color=_COLOURS.get(name), marker="o", markersize=4, capsize=2, label=name)


def draw_repeats(groups: Mapping[str, Figures]) -> "Figure":
    """Shares said before, and distinct-n, by style."""
    drawn = figure(9.0, 4.0)
    repeats, distinct = drawn.subplots(1, 2)
    names = [name for name in _STYLES if name in groups]
    labels = {
        "across": "turns",
        "across_long": "turns of\n4 words on",
        "within": "turns, same\nsession",
        "sentences": "sentences",
    }
    for k, name in enumerate(names):
        places = [i + 0.25 * k for i in range(4)]
        repeats.bar(places, [groups[name].repeats[key] for key in labels], 0.24, color=_COLOURS[name], label=name)
        distinct.bar(places[:3], [groups[name].distinct[n] for n in "123"], 0.24, color=_COLOURS[name], label=name)
    repeats.set_xticks([i + 0.25 for i in range(4)], list(labels.values()), fontsize=8)
    repeats.set_ylabel("share said word for word elsewhere")
    distinct.set_xticks([i + 0.25 for i in range(3)], ["distinct-1", "distinct-2", "distinct-3"], fontsize=8)
    _finish(repeats)
    _finish(distinct)
    return drawn


def _finish(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def write(
    folder: str | Path, groups: Mapping[str, Figures], reference: Reference | None, facts: Mapping[str, Any]
) -> None:
    """Writes ``realism.json``, ``realism.md`` and three figures, each whole or not at all.

    Args:
        facts: how the sessions were played, kept in the JSON.

    Raises:
        ConfigError: the folder cannot be written in.
    """
    place = Path(folder)
    texts = {
        "realism.json": json.dumps({"settings": dict(facts), **compare(groups, reference)}, indent=1) + "\n",
        "realism.md": table(groups, reference) + "\n",
    }
    for name, text in texts.items():
        try:
            with whole(place / name) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{place / name} cannot be written: {error.strerror or error}; name another folder"
            ) from error
    save(draw_lengths(groups, reference), place / "lengths.png")
    save(draw_sentiment(groups, reference), place / "sentiment.png")
    save(draw_repeats(groups), place / "repeats.png")

"""``therapysim train valence``: the map from the sensor's reading to people's ratings."""

import argparse

from therapysim.train.sensor.valence_map import fit_valence, grid, steps_table

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The ratings, and where the map goes."""
    add = parser.add_argument
    add("--data", required=True, metavar="FILE", help="emobank.csv")
    add("--out", required=True, metavar="FILE", help="the map, JSON")
    add("--grid", action="store_true", help="compares settings on the train rows first")


def run(chosen: argparse.Namespace) -> None:
    """Fits the map, and prints r after each step as a Markdown table."""
    for row in grid(chosen.data) if chosen.grid else []:
        print(f"T {row['T']:g}, w {row['w']:g}: r {row['r']:.3f}, cross-fitted on train", flush=True)
    print(steps_table(fit_valence(chosen.data, chosen.out)))

"""Commands about patients: ``portrayal``, ``agreement``, ``train patient-lines`` and ``train patient``."""

import argparse
from pathlib import Path
from typing import Any

from therapysim.cli.options import PATIENT, add_key, keep, open_chosen, require_place
from therapysim.errors import ConfigError

__all__ = ["add_patient_commands", "add_patient_training"]


def add_patient_commands(commands: Any) -> None:
    """``therapysim portrayal`` and ``therapysim agreement``."""
    parser = commands.add_parser("portrayal", help="how well language models play the patient, on the same cues")
    parser.add_argument("patients", nargs="+", metavar="PATIENT", help=PATIENT)
    parser.add_argument("--split", default="test", help="patients: train, dev or test (default)")
    parser.add_argument("--cues", type=int, default=400, help="how many cues each words, default 400")
    parser.add_argument("--prompt", choices=("full", "brief"), help="default: brief for 'llm', full for others")
    parser.add_argument("--seed", type=int, default=0, help="of the cues, default 0")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep the figures, and every line")
    add_key(parser)
    parser.set_defaults(run=run_portrayal)

    parser = commands.add_parser("agreement", help="do patients rank the same therapists alike? Kendall's tau")
    parser.add_argument("patients", nargs="+", metavar="PATIENT", help=PATIENT)
    parser.add_argument("--therapists", nargs="+", metavar="NAME", help="baselines to rank, default all")
    parser.add_argument("--split", default="test", help="patients: train, dev or test (default)")
    parser.add_argument("--people", type=int, metavar="N", help="the split's first N patients, default all")
    parser.add_argument("--seeds", type=int, default=1, help="sessions with each patient, default 1")
    parser.add_argument("--turns", type=int, default=10, help="therapist turns in a session at most, default 10")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep every result")
    add_key(parser)
    parser.set_defaults(run=run_agreement)


def add_patient_training(kinds: Any) -> None:
    """``therapysim train patient-lines`` and ``therapysim train patient``."""
    parser = kinds.add_parser("patient-lines", help="write cue -> line examples for the patient's adapter")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    parser.add_argument("--variants", type=int, default=4, help="of each training patient, default 4")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--model", help="also keep the best of four lines that this patient model draws for each cue")
    parser.set_defaults(run=run_lines)

    parser = kinds.add_parser("patient", help="train the patient's adapter from such examples")
    parser.add_argument("--examples", type=Path, nargs="+", required=True, metavar="FILE.jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    for name, kind, default in (("model", str, "smollm2"), ("rank", int, 12), ("alpha", int, 24), ("epochs", int, 2),
                                ("batch-size", int, 64), ("lr", float, 1e-3), ("seed", int, 0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"default {default}")
    parser.set_defaults(run=run_adapter)


def run_portrayal(chosen: argparse.Namespace) -> None:
    """Every patient words the same cues; prints the table."""
    from dataclasses import asdict

    from therapysim.agents.probes import portrayal
    from therapysim.personas.load import library_hash, personas
    from therapysim.rewards.reading.emotions import shipped_sensor

    require_place(chosen.out)
    feel = shipped_sensor().affect
    cues = portrayal.collect_cues([p.id for p in personas(chosen.split)], chosen.cues, seed=chosen.seed)
    told: dict[str, Any] = {"library": library_hash(), "split": chosen.split, "seed": chosen.seed, "patients": {}}
    found = {}
    for name in chosen.patients:
        done = portrayal.portray_any(open_chosen(name, chosen, chosen.prompt), cues, feel)
        found[name] = portrayal.summarise(done)
        told["patients"][name] = {"figures": asdict(found[name]), "lines": [portrayal.as_row(p) for p in done]}
    print(portrayal.table(found))
    keep(chosen.out, told)


def run_agreement(chosen: argparse.Namespace) -> None:
    """Every patient meets the same therapists; prints both tables."""
    from dataclasses import asdict

    from therapysim.agents.bench.benchmark import benchmark, table
    from therapysim.agents.probes import agreement
    from therapysim.agents.therapists.baselines import BASELINES, baseline
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.personas.load import personas

    if len(chosen.patients) < 2:
        raise ConfigError("agreement needs two patients or more, such as: scripted llm")
    require_place(chosen.out)
    who, config = [p.id for p in personas(chosen.split)][: chosen.people], SessionConfig(max_turns=chosen.turns)
    policies = {name: baseline(name) for name in chosen.therapists or BASELINES}
    results = {}
    for name in chosen.patients:
        results[name] = benchmark(
            SessionBatch(config, patient=open_chosen(name, chosen)), policies, who, range(chosen.seeds)
        )
        print(f"{name}\n{table(results[name], ('total', 'alliance', 'turns'))}\n", flush=True)
    print(agreement.table(agreement.agreement(results)))
    keep(chosen.out, {name: [asdict(row) for row in rows] for name, rows in results.items()})


def run_lines(chosen: argparse.Namespace) -> None:
    """Writes the examples, and says how many of each kind."""
    from collections import Counter

    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.train.patient import cue_lines as lines

    require_place(chosen.out)
    settings = lines.LineSettings(variants=chosen.variants, seed=chosen.seed)
    batch = SessionBatch(SessionConfig(max_turns=settings.turns))
    cues = lines.training_cues(settings, batch)
    examples = [*lines.written_lines(batch.sensor.affect, settings), *lines.generated_lines(cues, batch, settings)]
    if chosen.model:
        from therapysim.models.chat import HuggingFaceChat

        model = HuggingFaceChat(chosen.model)
        examples += lines.drawn_lines(model, cues, batch.sensor.affect, settings)
    lines.write_lines(chosen.out, examples)
    print(f"{len(examples)} examples: {dict(Counter(e.source for e in examples))}, from {len(cues)} cues")


def run_adapter(chosen: argparse.Namespace) -> None:
    """Trains the adapter."""
    from therapysim.train.patient.adapter import AdapterSettings, train_adapter
    from therapysim.train.patient.cue_lines import read_lines

    examples = [example for path in chosen.examples for example in read_lines(path)]
    settings = AdapterSettings(
        model=chosen.model, rank=chosen.rank, alpha=chosen.alpha, epochs=chosen.epochs, batch_size=chosen.batch_size,
        lr=chosen.lr, seed=chosen.seed,
    )  # fmt: skip
    record = train_adapter(examples, settings, chosen.out)
    print(f"{record['examples']} examples: loss {record['loss_before']:.3f} before, {record['loss_after']:.3f} after, "
          f"on {record['held_out']} held out; the adapter is in {chosen.out}")  # fmt: skip

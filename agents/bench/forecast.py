"""What a benchmark would cost, told before any call is made."""

from collections.abc import Sequence
from typing import NamedTuple

from therapysim.agents.bench.bench_settings import BenchSettings, chosen
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, state_header
from therapysim.messages import Transcript
from therapysim.models.chat import TEMPLATE_TOKENS, estimate_tokens
from therapysim.personas.llm.prompts import chat_for
from therapysim.personas.load import open_persona
from therapysim.personas.opening import settings_of
from therapysim.personas.patient import Cue
from therapysim.state import Move, State

__all__ = ["Cost", "forecast", "policy_cost", "simulator_cost"]

#: Words that a patient's turn and a short one of a therapist have, about; in tokens. Help-seekers in transcripts of
#: therapy speak some 14 words at a turn.
_PATIENT_TOKENS = 20


class Cost(NamedTuple):
    """Replies asked of a model, and tokens, if no session ends early."""

    calls: int
    read: int
    written: int


def policy_cost(policy: Policy, settings: BenchSettings) -> Cost:
    """What a policy's model is asked in all sessions with one simulator; nothing for one that has no model."""
    if "max_tokens" not in policy.about:
        return Cost(0, 0, 0)
    max_tokens, show_state = int(policy.about["max_tokens"]), bool(policy.about["show_state"])
    who, turns = chosen(settings), settings.turns
    person = open_persona(who[0])
    header = estimate_tokens(state_header(State(person.attributes, (), person.mood))) if show_state else 0
    heard = header + _PATIENT_TOKENS + TEMPLATE_TOKENS
    # Turn t reads the system prompt, t turns of the patient and t - 1 of its own.
    read = sum(
        estimate_tokens(SYSTEM_PROMPT) + TEMPLATE_TOKENS + t * heard + (t - 1) * (max_tokens + TEMPLATE_TOKENS)
        for t in range(1, turns + 1)
    )
    sessions = len(who) * settings.seeds
    return Cost(sessions * turns, sessions * read, sessions * turns * max_tokens)


def simulator_cost(name: str, settings: BenchSettings) -> Cost:
    """What the patient's model is asked in one policy's sessions, every draw refused; nothing for the scripted one."""
    if name == "scripted":
        return Cost(0, 0, 0)
    drawn, who = settings_of(name), chosen(settings)
    person = open_persona(who[0])
    draws = len(who) * settings.seeds * (settings.turns + 1) * drawn.max_draws
    # Turn t shows t exchanges: as many messages as there are turns, on average.
    cue = Cue(person, _talk(settings.turns), person.mood, Move.EXPRESS)
    chat = chat_for(cue, drawn.prompt, drawn.context_chars)
    read = sum(estimate_tokens(message["content"]) + TEMPLATE_TOKENS for message in chat)
    return Cost(draws, draws * read, draws * drawn.sampling.max_tokens)


def forecast(settings: BenchSettings, policies: Sequence[Policy], simulators: Sequence[str]) -> str:
    """A table of sessions, calls and tokens, were every session to go to its last turn; the sum is the last row."""
    sessions = len(chosen(settings)) * settings.seeds
    rows = [
        (f"{policy.name} | {simulator}", policy_cost(policy, settings), simulator_cost(simulator, settings))
        for simulator in simulators
        for policy in policies
    ]
    costs = [Cost(*(sum(column) for column in zip(*(pair[i] for _, *pair in rows), strict=True))) for i in range(2)]
    head = (
        "| policy | patient | sessions | turns | policy: calls, tokens read, written | patient: calls, read, written |"
    )
    lines = [_row(label, sessions, settings.turns, *pair) for label, *pair in rows]
    total = _row("all | ", sessions * len(rows), settings.turns, *costs)
    note = "Were every session to go to its last turn, and every reply to its full length. Tokens are estimates."
    return "\n".join([head, "|---" * 6 + "|", *lines, total, "", note])


def _row(label: str, sessions: int, turns: int, *costs: Cost) -> str:
    cells = " | ".join(f"{c.calls:,}, {c.read:,}, {c.written:,}" if c.calls else "none" for c in costs)
    return f"| {label} | {sessions:,} | {sessions * turns:,} | {cells} |"


def _talk(messages: int) -> Transcript:
    talk = Transcript()
    for i in range(messages):
        talk = talk.add("therapist" if (messages - i) % 2 else "patient", "word " * (_PATIENT_TOKENS // 2))
    return talk

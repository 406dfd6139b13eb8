"""What could be said in a state: the teachers' turns in two styles, and deliberate errors that sound as good."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from therapysim.agents.therapists.attuned import MOODS
from therapysim.agents.therapists.echo import second_person
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist, conversation, hash_seed
from therapysim.danger_talk import signals_danger
from therapysim.envs.batch import Session
from therapysim.envs.danger import known
from therapysim.errors import ActionError, ConfigError
from therapysim.models.chat import ChatMessage, answer
from therapysim.records import read_record
from therapysim.rewards.reading.patterns import HARMFUL, spot
from therapysim.train.pairs.pair_settings import PairSettings

__all__ = [
    "BANK", "MISTAKES", "STYLES", "Candidate", "Teacher", "bank", "candidates", "danger_in_play", "fill", "with_errors",
]  # fmt: skip

#: The lines of the direct style and of the errors.
BANK = Path(__file__).with_name("lines.yaml")

#: What a language model is told beside its prompt, so that it speaks in a style.
STYLES = {
    "warm": "Speak as a warm cognitive-behavioural therapist: gentle, accepting, curious about the patient's thoughts.",
    "direct": "Speak as a direct clinical psychiatrist: plain, precise, to the point, and respectful.",
}

#: What a language model is told where it is to make a mistake.
MISTAKES = {
    "direct_advice": "tell the patient what to do about it, in place of exploring it",
    "missed_risk": "pass over what the patient said of death or harm, and go on with something harmless",
    "invalidation": "doubt or shrink what the patient feels",
    "toxic_positivity": "be cheerful against the pain: blessings, bright sides, a smile",
    "collusion": "take the side of avoiding, checking or giving up, as if it were wise",
    "dependence": "let the patient lean on you alone, more than on anybody else",
    "false_reassurance": "promise that all will be well and nothing can happen",
    "rumination": "invite the patient to brood on why, whose fault it is, and what hurt most",
}
_MISTAKE = "This once, make a mistake that a kind colleague might make: {}. Sound as warm as ever, and be as brief."
# Seeds of mistakes lie behind those of so many samples of a good turn.
_SAMPLES = 100

# As ``attuned`` finds what the patient speaks of, but nothing that is longer than two words.
_NAMED = re.compile(
    r"\b(?:my|our) (?:\w+ )??\w+(?=[.,;:!?]|$| (?:and|or|but|is|was|are|were|has|had|have|in|on|at|up|down|out|"
    r"off|over|into|through|again|still|back|to|of|for|with|that|who|when|because|so|then|from|by|while|before|after|as|"
    r"if|than|will|would|could|can|did|does)\b)",
    re.IGNORECASE,
)
# What nobody stays away from, or puts off.
_BODY = re.compile(
    r"\b(?:hands?|arms?|legs?|feet|foot|knees?|head|hair|eyes?|ears?|mouth|tongue|teeth|jaw|face|skin|neck|shoulders?|"
    r"back|chest|heart|stomach|belly|lungs?|body|bones?|breath|blood|mind|brain|nerves?|own|self|life|age|name|way)$",
    re.IGNORECASE,
)
# More turns than a session has: tells the seeds of one sample from those of the next.
_TURNS = 1_000
# A sentence that only leads over to a question.
_LEADS = re.compile(r"(?:let us|suppose|now the|to begin|before we|just then|if we)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to say.

    Attributes:
        text: the words.
        kind: a teacher's turn, or an error.
        style: warm or direct; of an error, that of the turn it was made from.
        source: the teacher's name, or the error's.
    """

    text: str
    kind: Literal["good", "error"]
    style: str
    source: str


class Teacher:
    """A policy that plays sessions, and speaks in each style.

    Args:
        policy: opened here; a model is held from then on.
    """

    def __init__(self, policy: Policy) -> None:
        self.name, self.about = policy.name, dict(policy.about)
        self._therapist: Therapist = policy.open()

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """What it says by itself."""
        return list(self._therapist.respond(sessions))

    def say(
        self, sessions: Sequence[Session], style: str, rngs: Sequence[np.random.Generator], k: int = 0
    ) -> list[str]:
        """What it says in a style: a language model as it is told, a script in its own words or a line of the bank.

        Args:
            sessions: all are answered at once.
            style: of ``STYLES``.
            rngs: one a session, which a script's lines are drawn from.
            k: number of the sample; a language model says something else in each.
        """
        if isinstance(self._therapist, ChatTherapist):
            place = list(STYLES).index(style)  # with one seed for both, a small model often says the same in either
            return _told(self._therapist, sessions, [STYLES[style]] * len(sessions), len(STYLES) * _TURNS * k + place)
        own = self.respond(sessions)
        if len(own) != len(sessions):
            raise ActionError(f"{self.name} gave {len(own)} replies for {len(sessions)} sessions, expected one each")
        return own if style == "warm" else [_direct(*row) for row in zip(own, sessions, rngs, strict=True)]

    def err(self, sessions: Sequence[Session], errors: Sequence[str], k: int) -> list[str] | None:
        """What a language model says where it is to make these mistakes, one a session; None of what is no model.

        Args:
            sessions: all are answered at once.
            errors: of ``MISTAKES``.
            k: number of the mistake in its state.
        """
        if not isinstance(self._therapist, ChatTherapist):
            return None
        number = len(STYLES) * _TURNS * (_SAMPLES + k)
        return _told(self._therapist, sessions, [_MISTAKE.format(MISTAKES[error]) for error in errors], number)


def candidates(
    sessions: Sequence[Session],
    teachers: Sequence[Teacher],
    settings: PairSettings,
    rngs: Sequence[np.random.Generator],
) -> list[list[Candidate]]:
    """So many candidates of each state as the settings say, no text twice: good ones of each teacher and style, then
    errors of different kinds as far as they go; a danger that is in play is missed by one of them."""
    good: list[list[Candidate]] = [[] for _ in sessions]
    for k, style, teacher in product(range(settings.samples), settings.styles, teachers):
        for own, text in zip(good, teacher.say(sessions, style, rngs, k) if sessions else [], strict=True):
            own.append(Candidate(text, "good", style, teacher.name))
    made = _mistakes(sessions, teachers, settings, rngs) if settings.model_errors else [[] for _ in sessions]
    rows = zip(good, sessions, rngs, made, strict=True)
    return [with_errors(own, session, rng, settings, errors) for own, session, rng, errors in rows]


def with_errors(
    good: Sequence[Candidate],
    session: Session,
    rng: np.random.Generator,
    settings: PairSettings,
    errors: Sequence[Candidate] = (),
) -> list[Candidate]:
    """Good candidates of a state, no text twice, and errors, those given and those made from the good ones: together so
    many as the settings say."""
    kept = _once(good)[: max(1, settings.candidates - _room(settings))]
    found = _once([*kept, *errors])[: settings.candidates] if kept else []
    kinds = _kinds(session, settings.errors, rng) if kept else []  # a model may have said nothing at all
    for turn in range(4 * settings.candidates):  # a line that comes out twice is drawn again
        if len(found) >= settings.candidates or not kinds:
            break
        model = kept[int(rng.integers(len(kept)))]
        found = _once([*found, _wrong(kinds[turn % len(kinds)], model, session, rng)])
    return found


def _room(settings: PairSettings) -> int:
    """Candidates of a state that are errors: however many teachers there are, these get their share."""
    return min(max(1, len(settings.errors) // 2), settings.candidates // 2)


def _mistakes(
    sessions: Sequence[Session],
    teachers: Sequence[Teacher],
    settings: PairSettings,
    rngs: Sequence[np.random.Generator],
) -> list[list[Candidate]]:
    """Of each state the mistakes that the language models among the teachers make, in turn."""
    found: list[list[Candidate]] = [[] for _ in sessions]
    kinds = [_kinds(session, settings.errors, rng) for session, rng in zip(sessions, rngs, strict=True)]
    there = [i for i, own in enumerate(kinds) if own]  # without a danger none may be missed
    for k in range(_room(settings) if there else 0):
        asked = [kinds[i][k % len(kinds[i])] for i in there]
        said = teachers[k % len(teachers)].err([sessions[i] for i in there], asked, k) or []
        for i, text, kind in zip(there, said, asked, strict=bool(said)):
            found[i].append(Candidate(text, "error", "warm", kind))
    return found


def danger_in_play(session: Session) -> bool:
    """Whether a danger stands open, is known, or speaks from the patient's last words."""
    told = bool(session.persona.risk) and known(session.latent)
    return bool(session.latent.danger) or told or signals_danger(session.transcript.last("patient"))


def fill(line: str, session: Session) -> str:
    """A line with its gaps filled from what the patient just said; "this" where that would sound harsh or unclear."""
    mood = MOODS[int(np.argmin(session.state.affect))]
    named = [words for words in _NAMED.findall(session.transcript.last("patient")) if not _BODY.search(words)]
    filled = line.format(mood=mood, words=second_person(named[-1].lower())) if named else line
    plain = line.format(mood=mood, words="this")
    return filled if named and not spot(filled) & (HARMFUL | {"advice"}) - spot(plain) else plain


@cache
def bank() -> dict[str, tuple[str, ...]]:
    """Kind -> its lines."""
    return dict(read_record(BANK, dict[str, tuple[str, ...]], ConfigError, "the bank of lines"))


def _told(therapist: ChatTherapist, sessions: Sequence[Session], told: Sequence[str], number: int) -> list[str]:
    """What a language model says that is told so beside its usual prompt; each number has seeds of its own."""
    chats: list[list[ChatMessage]] = []
    seeds: list[int] = []
    for session, own in zip(sessions, told, strict=True):
        talk = conversation(session, show_state=therapist.show_state)
        chats.append([{"role": "system", "content": f"{talk[0]['content']} {own}"}, *talk[1:]])
        seeds.append(hash_seed(session.seed, len(STYLES) * session.state.turn + number))
    return [message["content"] for message in answer(therapist.model, chats, therapist.sampling, seeds)]


def _direct(own: str, session: Session, rng: np.random.Generator) -> str:
    """The teacher's reflection, and a plain question or word of a psychiatrist's."""
    kind = "direct_danger" if danger_in_play(session) else "direct"
    return f"{_opening(own, session, rng)} {_line(kind, session, rng)}"


def _wrong(error: str, model: Candidate, session: Session, rng: np.random.Generator) -> Candidate:
    """An error in the voice of a good turn: its opening, and another end."""
    text = f"{_opening(model.text, session, rng)} {_line(error, session, rng)}"
    return replace(model, text=text, kind="error", source=error)


def _kinds(session: Session, errors: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The errors in an order of the state's own; missing a danger first, where there is one, and else not at all."""
    shuffled = [errors[i] for i in rng.permutation(len(errors))]
    missed = ["missed_risk"] if danger_in_play(session) and "missed_risk" in errors else []
    return missed + [error for error in shuffled if error != "missed_risk"]


def _opening(text: str, session: Session, rng: np.random.Generator) -> str:
    """All but the last sentence of a turn, without what it asks; an opening of the bank's where nothing is left."""
    kept = [sentence for sentence in _sentences(text)[:-1] if not sentence.endswith("?") and not _LEADS.match(sentence)]
    return " ".join(kept) or _line("openings", session, rng)


def _line(kind: str, session: Session, rng: np.random.Generator) -> str:
    lines = bank()[kind]
    return fill(lines[int(rng.integers(len(lines)))], session)


@lru_cache(maxsize=1024)
def _sentences(text: str) -> tuple[str, ...]:
    return tuple(_SENTENCE.split(text.strip()))


def _once(found: Sequence[Candidate]) -> list[Candidate]:
    """No text twice, and none that is blank."""
    first = {" ".join(candidate.text.lower().split()): candidate for candidate in reversed(found)}
    return [c for c in found if c.text.strip() and first[" ".join(c.text.lower().split())] is c]

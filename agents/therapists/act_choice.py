"""Acts in place of free text: the words for each, an environment to choose them in, and a therapist that does.

Learners that know no language, such as those of Stable-Baselines3, can so learn when to listen, ask, reflect or warn.
The wording is fixed (``act_lines.yaml``), so what is compared is the choice alone.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from therapysim.danger_talk import signals_danger
from therapysim.envs.session import Session
from therapysim.envs.therapy import TherapySimEnv
from therapysim.errors import ActionError, ConfigError, require_count
from therapysim.rewards.matrix import DIMENSIONS, LABELS
from therapysim.rewards.reading.patterns import HARMFUL, spot
from therapysim.rewards.reading.words import content_words
from therapysim.state import WINDOW

__all__ = ["ACTIONS", "FEATURES", "ActChoice", "ActTherapist", "act_lines", "act_of", "make_act_choice",
           "random_act", "speak_act", "view", "word_act"]  # fmt: skip

BANK = Path(__file__).with_name("act_lines.yaml")

#: The acts to choose from, good and bad. All but "listen" are names of ``rewards.reading.acts.ACTS``.
ACTIONS: tuple[str, ...] = (
    "listen",
    "open_question",
    "closed_question",
    "simple_reflection",
    "complex_reflection",
    "validation",
    "affirmation",
    "risk_inquiry",
    "signposting",
    "apology",
    "reassurance",
    "self_disclosure",
    "advice",
    "confrontation",
)
SEVERITIES = ("mild", "moderate", "severe")

#: Every number of ``view``, by name and in order.
FEATURES: tuple[str, ...] = (
    *(f"affect {name}" for name in DIMENSIONS),
    *(f"history {i - WINDOW}" for i in range(WINDOW)),
    "turn",
    *(f"heard {label}" for label in LABELS),
    *(f"last {act}" for act in ACTIONS),
    *(f"used {act}" for act in ACTIONS),
    "danger now",
    "danger so far",
    *(f"severity {name}" for name in SEVERITIES),
)

_FEELINGS = ("sadness", "anger", "bitterness", "fear")
_TURNED = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are", "i'm": "you're",
    "i've": "you've", "i'd": "you'd", "i'll": "you'll", "we": "you", "us": "you", "our": "your",
}  # fmt: skip
_CLAUSE_ENDS = re.compile(
    r"[.!?;:,…]+|\s[-–—]\s|\s(?:and|but|so|because|until|when|while|since)(?= (?:I|it|we|he|she|they|my)\b)"
)
_FEWEST_WORDS, _MOST_WORDS = 3, 16

Choose = Callable[[NDArray[np.float32]], ArrayLike]


@cache
def act_lines() -> Mapping[str, tuple[str, ...]]:
    """The wordings of each act, with their gaps ``{words}`` and ``{feeling}``."""
    told = yaml.safe_load(BANK.read_text(encoding="utf-8"))
    return {act: tuple(told[act]) for act in ACTIONS}


def word_act(session: Session, act: str, rng: np.random.Generator) -> str:
    """What the therapist says for an act: one of its lines that were said least often so far, drawn by ``rng``.

    Lines that take up the patient's words do so with a clause that reads as no harm and no advice in the therapist's
    mouth; where there is none, with "this".

    Raises:
        ActionError: the act is not one of ``ACTIONS``.
    """
    if act not in ACTIONS:
        raise ActionError(f"the act is {act!r}, expected one of {', '.join(ACTIONS)}")
    said = Counter(_line_of(text) for text in session.transcript.said_by("therapist"))
    worn = {line: said[act, line] for line in act_lines()[act]}
    fresh = [line for line, times in worn.items() if times == min(worn.values())]
    return _fill(fresh[int(rng.integers(len(fresh)))], session)


def random_act(session: Session, rng: np.random.Generator) -> str:
    """The words of an act drawn evenly: the baseline that a choosing policy has to beat."""
    return word_act(session, ACTIONS[int(rng.integers(len(ACTIONS)))], rng)


def act_of(text: str) -> str:
    """The act whose line a therapist's words were made from; "" where none was."""
    found = _line_of(text)
    return found[0] if found else ""


def view(session: Session, max_turns: int = 20) -> NDArray[np.float32]:
    """What a therapist may see of a session as numbers, shape (len(FEATURES),), in [-1, 1]; see ``FEATURES``.

    e_t; h_t, oldest first, padded with 0 at the front; the share of ``max_turns`` taken; the sensor's probabilities of
    the patient's last words; the last act, one-hot; of each act, the share of its lines used up; whether plain words of
    danger stand in the patient's last words, and in any so far (``therapysim.danger_talk``); severity, one-hot.
    Acts are known by their lines: a turn in other words counts as none.
    """
    state, acts = session.state, [act_of(text) for text in session.transcript.said_by("therapist")]
    danger = [signals_danger(text) for text in session.transcript.said_by("patient")]
    numbers = (
        *state.affect,
        *(0.0,) * (WINDOW - len(state.history)),
        *state.history,
        min(1.0, state.turn / max_turns),
        *session.patient_reading.probabilities,
        *(float(acts[-1:] == [act]) for act in ACTIONS),
        *(min(1.0, acts.count(act) / len(act_lines()[act])) for act in ACTIONS),
        float(danger[-1]),
        float(any(danger)),
        *(float(state.attributes.severity == name) for name in SEVERITIES),
    )
    return np.array(numbers, dtype=np.float32)


class ActChoice(gym.Wrapper[NDArray[np.float32], np.int64, dict[str, Any], str], gym.utils.RecordConstructorArgs):
    """TherapySim-v0 with acts for actions and numbers for observations, for learners that know no language.

    ## Action Space
    ``Discrete(14)``: an index into ``ACTIONS``, as ``action_names``. The therapist says the act in the words of
    ``word_act``. Some acts hurt: choosing matters.

    ## Observation Space
    ``Box(-1, 1, (69,), float32)``: ``view`` of the session, named by ``FEATURES``. The alliance, the mood behind the
    words, and facts not yet told stay hidden, as they do from any therapist.

    ## Starting State, Reward, Episode End
    Those of ``TherapySim-v0``. Equal seeds and equal acts give equal episodes.

    ## Information
    That of ``TherapySim-v0``, and ``said``: the therapist's words, "" after reset.

    ## Arguments
    ``env``: a ``TherapySim-v0``, wrapped or not, with ``observe_state=True``.

    Example: ``gym.make("therapysim:TherapySimActs-v0", split="train")``; many at once, with ``gym.make_vec``:
    ``ActChoiceVectorEnv``.

    Raises:
        ConfigError: another environment, or one that hides e_t and h_t, which this one shows.
    """

    def __init__(self, env: gym.Env[dict[str, Any], str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)  # type: ignore[arg-type]  # mypy takes the outer types for the inner
        inner = env.unwrapped
        if not isinstance(inner, TherapySimEnv):
            raise ConfigError(f"env is {type(inner).__name__}, expected TherapySim-v0: ActChoice words its acts there")
        if not inner.observe_state:
            raise ConfigError("env has observe_state=False, expected True: ActChoice shows e_t and h_t")
        self._inner = inner
        self.action_names = ACTIONS
        self.action_space = gym.spaces.Discrete(len(ACTIONS))
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (len(FEATURES),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins a session; see ``TherapySimEnv.reset``."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._view(), info | {"said": ""}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Says the act of that index, and hears the answer.

        Raises:
            ActionError: the action is no index into ``ACTIONS``.
            EpisodeError: no session was begun, or it is over.
        """
        if not self.action_space.contains(action):
            raise ActionError(f"the action is {action!r}, expected a whole number from 0 to {len(ACTIONS) - 1}")
        sessions = self._inner.batch.sessions
        said = speak_act(sessions[0], int(action)) if sessions else ""
        _, reward, terminated, truncated, info = self.env.step(said)  # type: ignore[arg-type]  # as above
        return self._view(), float(reward), terminated, truncated, info | {"said": said}

    def _view(self) -> NDArray[np.float32]:
        return view(self._inner.batch.sessions[0], self._inner.batch.config.max_turns)


def make_act_choice(**kwargs: Any) -> ActChoice:
    """``ActChoice`` over a ``TherapySimEnv`` of these arguments: what ``gym.make("TherapySimActs-v0")`` makes."""
    return ActChoice(TherapySimEnv(**kwargs))


class ActTherapist:
    """A therapist that chooses acts; words and view are those of ``ActChoice``, so what was learned there holds here.

    Args:
        choose: views, shape (n, len(FEATURES)), to n indices into ``ACTIONS``. Of a Stable-Baselines3 model:
            ``lambda views: model.predict(views, deterministic=True)[0]``.
        max_turns: the turn limit of the sessions, for the view.
    """

    def __init__(self, choose: Choose, max_turns: int = 20) -> None:
        self.choose = choose
        self.max_turns = require_count("max_turns", max_turns, 1)

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """The words of the chosen act in each session.

        Raises:
            ActionError: ``choose`` gave something other than one index a session.
        """
        chosen = np.asarray(self.choose(np.array([view(s, self.max_turns) for s in sessions])))
        fits = chosen.shape == (len(sessions),) and np.issubdtype(chosen.dtype, np.integer)
        if not fits or chosen.min() < 0 or chosen.max() >= len(ACTIONS):
            raise ActionError(
                f"choose gave {chosen!r} for {len(sessions)} sessions, expected one index from 0 to {len(ACTIONS) - 1} "
                "for each"
            )
        return [speak_act(session, int(index)) for session, index in zip(sessions, chosen, strict=True)]


def speak_act(session: Session, index: int) -> str:
    """What the therapist says for the act of that index; the session's seed and turn choose among its lines."""
    return word_act(session, ACTIONS[index], np.random.default_rng([session.seed, session.state.turn]))


@lru_cache(maxsize=4096)  # each turn looks at all earlier ones
def _line_of(text: str) -> tuple[str, str] | None:
    """The act and the line that a text was made from; the longest line that fits, None where none does."""
    fits = [(len(line), act, line) for act, line, shape in _shapes() if shape.fullmatch(text)]
    return max(fits)[1:] if fits else None


@cache
def _shapes() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    def shape(line: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(line)), re.DOTALL)

    return tuple((act, line, shape(line)) for act, lines in act_lines().items() for line in lines)


def _fill(line: str, session: Session) -> str:
    """The line with its gaps filled from what the patient said last."""
    feeling = _FEELINGS[int(np.argmin(session.patient_reading.affect))]
    for clause in _clauses(session.patient_reading.text):
        filled = line.format(words=f"“{_turned(clause)}”", feeling=feeling)
        # What the patient says of itself, or is told by others, must not sound like the therapist's own view.
        if not spot(filled) & (HARMFUL | {"advice"}) - spot(line):
            return filled
    return line.format(words="this", feeling=feeling)


def _clauses(text: str) -> list[list[str]]:
    """The words of each clause worth giving back, those with most to say first."""
    clauses = [part.split()[:_MOST_WORDS] for part in _CLAUSE_ENDS.split(re.sub('["“”]', "", text.replace("’", "'")))]
    long_enough = [words for words in clauses if len(words) >= _FEWEST_WORDS]
    return sorted(long_enough, key=lambda words: -len(content_words(" ".join(words))))


def _turned(words: Sequence[str]) -> str:
    """Words said of oneself, as said to another: "I was in my room" becomes "you were in your room"."""
    return re.sub(r"\byou was\b", "you were", " ".join(_TURNED.get(word.lower(), word) for word in words))

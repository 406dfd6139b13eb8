"""TherapySim-v0: one session as a Gymnasium environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.envs.mood_frame import mood_frame, require_matplotlib
from therapysim.envs.spaces import Utterance
from therapysim.envs.spec_settings import choose_config, choose_rubric, choose_thresholds
from therapysim.errors import ActionError, ConfigError, EpisodeError
from therapysim.personas.load import find, open_persona
from therapysim.personas.own import HASH
from therapysim.personas.patient import Patient
from therapysim.personas.schema import Persona
from therapysim.rewards.matrix import DIMENSIONS, deficit_dimension, polarity
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.rewards.risk import RiskThresholds, risk
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import RubricSettings
from therapysim.state import WINDOW

__all__ = [
    "TherapySimEnv",
    "checked_options",
    "describe",
    "observe",
    "opened",
    "reward_of",
    "session_seed",
    "session_spaces",
    "start_of",
    "warn",
]


class TherapySimEnv(gym.Env[dict[str, Any], str]):
    """A therapist talks, turn by turn, with a simulated patient.

    ## Description
    The agent is the therapist and answers in plain text. The patient has a mood in the four dimensions of the Hourglass
    of Emotions, a working alliance with the therapist, facts that it tells when trust and the talk allow, and its own
    resistance. A research simulator of text: it shows nothing about real people and is no clinical device.

    ## Action Space
    ``Utterance(2000)``: any Unicode text. The empty text is a silence. Longer text is cut and flagged "too_long", not
    refused. Text that tries to command the patient is neutralised, flagged, and scored as unsafe.

    ## Observation Space
    A ``Dict``: ``utterance`` the patient's words; ``turn`` how many turns the therapist has taken; and, unless
    ``observe_state=False``, ``affect`` e_t = [introspection, temper, attitude, sensitivity] in [-1, 1], ``history``
    the polarity of the last three patient turns, oldest first, padded with 0 at the front, and ``attributes`` u_t
    (``diagnosis``, ``severity``, ``age``).

    ## Starting State
    The patient opens the session in its baseline mood, with its initial trust. Which patient: ``persona``, or one drawn
    by the seed from ``split``. ``reset(seed=7)`` is the session of ``Start(7, …)`` and of ``chat --seed 7``; a reset
    without a seed draws one. ``Start(info["seed"], info["persona"])`` is any session with a shipped patient once
    more; one with a patient of one's own takes the patient in place of its id: ``open_persona("own/anna.yaml")``.

    ## Reward
    ``rewards.rubric``: named terms × weights. ``info["reward"]`` gives each term, its weight, the violations and
    which of them shut the gate: an unsafe turn keeps its losses and forfeits its gains. 0 where the patient failed;
    ``SessionBatch`` says nan there, and trainers leave the session out.

    ## Episode End
    Terminated: the patient closes the session (``info["ending"]``: "goal", "rupture", or "crisis" after a hand-over).
    Truncated: ``max_turns`` were taken, or the patient failed (``info["failed"]``; ``info["failure"]`` says why). Where
    it could not even open the session, ``reset`` warns and shows an empty utterance with ``info["failed"]``, and the
    first step ends the session.

    ## Information
    ``persona, seed, alliance, mood, move, ending, failed, failure, disclosed, flags, violations, terms, reward, acts,
    polarity, trend, deficit, risk, risk_driver, risk_depth, risk_others, source, rejected``. Alliance and mood are for
    evaluation; a policy is not to read them. ``risk`` names what a low polarity of e_t points to: "depressive"
    (introspection), "aggression/outburst" (temper), "withdrawal/contempt" (attitude), "anxiety/panic" (sensitivity) or
    "none"; ``risk_driver`` is the dimension that lies deepest below its threshold, "" where the risk is "none",
    ``risk_depth`` how far below, and ``risk_others`` every other dimension below its own, deepest first.

    ## Arguments
    ``persona`` (an id, the file of a patient of one's own, or a ``Persona``), ``split`` ("train"), ``config``
    (``SessionConfig``) or just ``max_turns``, ``patient``, ``sensor``, ``rubric``
    (or its settings, or its name: a preset, a file or a class of one's own), ``observe_state`` (True),
    ``render_mode`` ("ansi", "human", "rgb_array" with the extra ``report``, or None), ``risk_thresholds``
    (``rewards.risk.RiskThresholds``: -0.3 for the polarity and for each dimension), ``emotions`` (instead of a sensor,
    a hub id such as "SamLowe/roberta-base-go_emotions" or a folder; see ``rewards.reading.open_sensor.open_sensor``),
    ``vary`` (False: each session with another variant of a training patient; see ``personas.vary``). ``patient`` is a
    ``Patient``, which many environments may share, or a name: "scripted", "llm", a model or a server, opened once for
    all environments of the process; see ``personas.opening.open_patient``. ``config``, ``rubric`` and
    ``risk_thresholds`` may be mappings of their fields, so that an ``EnvSpec`` survives JSON. ``reset(seed,
    options={"persona": …, "split": name})`` overrides the first two for one session.

    ## References
    Susanto et al. 2020 (Hourglass of Emotions revisited); Demszky et al. 2020 (GoEmotions).

    ## Version History
    v0: the first version.
    """

    metadata = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 1}  # noqa: RUF012 - as gymnasium declares it

    def __init__(
        self,
        persona: Persona | str | Path | None = None,
        split: str = "train",
        config: SessionConfig | Mapping[str, Any] | None = None,
        max_turns: int | None = None,
        patient: Patient | str | None = None,
        sensor: Sensor | None = None,
        rubric: Rubric | RubricSettings | Mapping[str, Any] | str | None = None,
        observe_state: bool = True,
        render_mode: str | None = None,
        risk_thresholds: RiskThresholds | Mapping[str, Any] | None = None,
        emotions: str | Path | None = None,
        vary: bool = False,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(
                f"render_mode is {render_mode!r}, expected one of {self.metadata['render_modes']} or None"
            )
        if render_mode == "rgb_array":
            require_matplotlib()
        self.render_mode = render_mode
        self.observe_state = observe_state
        self.risk_thresholds = choose_thresholds(risk_thresholds)
        self.persona, self.split, self.vary = opened(persona), split, vary
        start_of(0, self.persona, split, None, vary)  # an unknown split is refused here, not at the first reset
        self.batch = SessionBatch(
            choose_config(config, max_turns),
            patient=patient,
            sensor=sensor,
            rubric=choose_rubric(rubric),
            emotions=emotions,
        )
        self._over = False
        self.observation_space, self.action_space = session_spaces(self.batch.config, observe_state)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins a session; the patient speaks first. Equal seeds and equal turns give equal sessions.

        Args:
            seed: of this session, as in ``Start(seed)`` and ``chat --seed``; without one, drawn from those before.
            options: ``persona`` and ``split`` for this session.

        Raises:
            ConfigError, PersonaError: an option is unknown, or names no persona or split.
        """
        super().reset(seed=seed)
        start = start_of(session_seed(seed, self.np_random), self.persona, self.split, options, self.vary)
        (session,) = self.batch.reset([start])
        self._over = False
        warn(session)
        self._show()
        return observe(session, self.observe_state), describe(session, None, self.risk_thresholds)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Says ``action`` to the patient and hears its answer.

        Raises:
            ActionError: the action is not a str.
            EpisodeError: no session was begun, or it is over.
        """
        if not isinstance(action, str):
            raise ActionError(f"the action is {type(action).__name__}, expected str: what the therapist says")
        if not self.batch.sessions:
            raise EpisodeError("step came before reset: call reset first")
        if self._over:
            raise EpisodeError("the session is over: call reset")
        # A session that could not be opened is done, and has yet to be reported so.
        (turn,) = self.batch.step([None if self.batch.sessions[0].done else action])
        (session,) = self.batch.sessions
        self._over = session.done
        self._show()
        terminated, truncated = bool(session.ending), session.done and not session.ending
        info = describe(session, turn, self.risk_thresholds)
        return observe(session, self.observe_state), reward_of(turn), terminated, truncated, info

    def render(self) -> str | NDArray[np.uint8] | None:  # type: ignore[override]
        """The transcript so far, in "ansi" mode; the mood so far as a picture, in "rgb_array" mode; see ``mood_frame``.

        "human" prints each turn as it comes.
        """
        session = self.batch.sessions[0] if self.batch.sessions else None
        if self.render_mode == "rgb_array":
            return mood_frame(session, self.batch.config.max_turns)
        if self.render_mode != "ansi":
            return None
        return str(session.transcript) if session else ""

    def _show(self) -> None:
        if self.render_mode == "human":
            newest = self.batch.sessions[0].transcript.messages[-2:]
            print("\n".join(f"{m.speaker.capitalize()}: {m.text}" for m in newest), flush=True)


def session_spaces(config: SessionConfig, observe_state: bool) -> tuple[gym.spaces.Dict, Utterance]:
    """Observation and action space of one session."""
    action = Utterance(config.screen.max_chars)
    shown: dict[str, gym.Space[Any]] = {
        "utterance": Utterance(),
        "turn": gym.spaces.Discrete(config.max_turns + 1),
    }
    if observe_state:
        shown["affect"] = gym.spaces.Box(-1.0, 1.0, (len(DIMENSIONS),), np.float32)
        shown["history"] = gym.spaces.Box(-1.0, 1.0, (WINDOW,), np.float32)
        shown["attributes"] = gym.spaces.Dict(
            {"diagnosis": Utterance(200), "severity": Utterance(20), "age": gym.spaces.Discrete(121)}
        )
    return gym.spaces.Dict(shown), action


def opened(persona: Persona | str | Path | None) -> Persona | str | None:
    """The patient that an environment is asked for: a shipped one's id, or one's own, read once; None where none is.

    Raises:
        PersonaError: the id is unknown, or the file is wrong.
    """
    met = None if persona is None else open_persona(persona)
    return met.id if met and HASH not in met.id else met


def session_seed(seed: int | None, rng: np.random.Generator) -> int:
    """The seed of a session: the one that was given; or one that is drawn, also for a seed too large for an int64."""
    return int(rng.integers(2**62)) if seed is None or seed >= 2**63 else int(seed)


def start_of(
    seed: int, persona: Persona | str | None, split: str, options: dict[str, Any] | None, vary: bool = False
) -> Start:
    """The start that the constructor and one reset's options add up to; unknown names are refused."""
    given = checked_options(options)
    unknown = set(given) - {"persona", "split"}
    if unknown:
        raise ConfigError(f"reset options {sorted(unknown)} are unknown, expected 'persona' or 'split'")
    if "split" in given and "persona" not in given:
        persona = None
    met = opened(given["persona"]) if "persona" in given else persona
    chosen = Start(seed, met, given.get("split", split), vary)
    split_of = chosen.split if met is None else (find(met) if isinstance(met, str) else met).split
    if vary and split_of != "train":
        raise ConfigError(f"vary is on for patients of {split_of}, expected the train split: no other has variants")
    return chosen


def checked_options(options: Any) -> dict[str, Any]:
    """The options of one reset, a dict of one's own; anything but a mapping or None is refused."""
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"reset options are {options!r}, expected a dict with 'persona' or 'split'")
    return dict(options or {})


def reward_of(turn: Turn | None) -> float:
    """What a turn earned; 0 where there was none, or the patient failed.

    The nan of a failed ``Turn`` would stay in the running statistics of ``NormalizeReward`` for good.
    """
    return turn.reward if turn is not None and turn.score is not None else 0.0


def warn(session: Session) -> None:
    """Says that a session could not be opened, since a loop that looks at rewards alone would never know."""
    if session.failed:
        gym.logger.warn(
            f"the patient {session.persona.id!r} could not open the session ({session.failure}): info['failed'] is set "
            "and the first step ends it; see that the patient's model or server is there"
        )


#: What of a turn's reading ``info`` gives as numbers in [0, 1]; 0 before the first turn.
MEASURED = ("uptake", "addition", "echo", "frame")


def observe(session: Session, observe_state: bool) -> dict[str, Any]:
    """What a policy is shown of a session."""
    state = session.state
    shown: dict[str, Any] = {"utterance": session.transcript.last("patient"), "turn": np.int64(state.turn)}
    if observe_state:
        shown["affect"] = np.array(state.affect, dtype=np.float32)
        shown["history"] = np.array((0.0,) * (WINDOW - len(state.history)) + state.history, dtype=np.float32)
        u = state.attributes
        shown["attributes"] = {"diagnosis": u.diagnosis, "severity": u.severity, "age": np.int64(u.age)}
    return shown


def describe(session: Session, turn: Turn | None, thresholds: RiskThresholds | None = None) -> dict[str, Any]:
    """The info of a session: what evaluation and logging need. The same keys after reset and after every step."""
    state, transition = session.state, turn.transition if turn else None
    line = turn.line if turn else None
    found = risk(state.affect, thresholds)
    return {
        "persona": session.persona.id,
        "seed": int(session.seed),
        "alliance": session.latent.alliance,
        "mood": np.array(session.latent.mood, dtype=np.float32),
        "move": str(transition.move) if transition else "",
        "ending": session.ending,
        "failed": session.failed,
        "failure": session.failure,
        "disclosed": tuple(fact.id for fact in session.latent.told),
        "flags": turn.screen.flags if turn else (),
        "violations": turn.violations if turn else (),
        "terms": dict(turn.terms) if turn else {},
        "reward": turn.score.told() if turn and turn.score else {},
        "acts": tuple(sorted(transition.appraisal.acts)) if transition else (),
        "language": transition.appraisal.language if transition else "",
        **{name: getattr(transition.appraisal, name) if transition else 0.0 for name in MEASURED},
        "polarity": float(polarity(state.affect)),
        "trend": state.trend,
        "deficit": DIMENSIONS[deficit_dimension(state.affect)],
        "risk": str(found.category),
        "risk_driver": found.driver,
        "risk_depth": found.depth,
        "risk_others": tuple(lapse.dimension for lapse in found.others),
        "source": line.source if line else "",
        "rejected": line.rejected if line else (),
    }

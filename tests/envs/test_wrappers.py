"""Every wrapper that Gymnasium ships, around every form of the environment: its reset options, its failures, its ends.

A wrapper that a text environment cannot have is listed with the reason, and fails with an error that says so.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector

import therapysim  # noqa: F401 - registers TherapySim-v0
from therapysim.envs.vector import TherapySimVectorEnv
from therapysim.errors import PatientError
from therapysim.messages import Transcript
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"
CUT = "One moment, please, I have to get the door."
NUMBERS = ("affect", "history", "turn")
SEED = 5
#: Before 1.4, Gymnasium's refusals are bare assertions.
PLAIN = tuple(map(int, gym.__version__.split(".")[:2])) >= (1, 4)


class Flaky:
    """The scripted patient, whose call fails where the therapist says ``CUT``. One object serves every environment."""

    def __init__(self) -> None:
        self.words = ScriptedPatient(shipped_sensor().affect)
        self.lines: dict[tuple[str, int, Transcript], Line] = {}

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(cue.transcript.last("therapist") == CUT for cue in cues):
            raise PatientError("the line is dead")
        return [self.line(cue) for cue in cues]

    def line(self, cue: Cue) -> Line:
        """The line of a cue, remembered: some thousand cases meet the same cues."""
        key = (cue.persona.id, cue.seed, cue.transcript)
        if key not in self.lines:
            (self.lines[key],) = self.words.speak([cue])
        return self.lines[key]


FLAKY = Flaky()


# --- The wrappers ---------------------------------------------------------------------------------------------------
def same(value: Any) -> Any:
    """A transformation that changes nothing."""
    return value


def flat(env: Any, observation: Any, flatten: Any) -> Any:
    """The numbers of an observation as one Box, which the wrappers of plain arrays need."""
    return flatten(observation(env, filter_keys=NUMBERS))


flat_one = partial(flat, observation=wrappers.FilterObservation, flatten=wrappers.FlattenObservation)
flat_all = partial(flat, observation=vector.FilterObservation, flatten=vector.FlattenObservation)

#: name -> what puts it around one environment.
SINGLE: dict[str, Callable[[Any], Any]] = {
    "ArrayConversion": lambda env: wrappers.ArrayConversion(env, env_xp=np, target_xp=np),
    "Autoreset": lambda env: wrappers.Autoreset(env),
    "ClipReward": lambda env: wrappers.ClipReward(env, -1.0, 1.0),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, delay=1),
    "FilterObservation": lambda env: wrappers.FilterObservation(env, ["utterance", "affect"]),
    "FlattenObservation": lambda env: wrappers.FlattenObservation(env),
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 2),
    "NormalizeReward": lambda env: wrappers.NormalizeReward(env),
    "NumpyToTorch": lambda env: wrappers.NumpyToTorch(env),
    "OrderEnforcing": lambda env: wrappers.OrderEnforcing(env),
    "PassiveEnvChecker": lambda env: wrappers.PassiveEnvChecker(env),
    "RecordEpisodeStatistics": lambda env: wrappers.RecordEpisodeStatistics(env),
    "RenderCollection": lambda env: wrappers.RenderCollection(env),
    "RepeatAction": lambda env: wrappers.RepeatAction(env, 2),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.0),
    "TimeAwareObservation": lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 99)),
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 99),
    "TransformAction": lambda env: wrappers.TransformAction(env, str.strip, env.action_space),
    "TransformObservation": lambda env: wrappers.TransformObservation(env, same, env.observation_space),
    "TransformReward": lambda env: wrappers.TransformReward(env, same),
    # These take a Box of numbers, which FilterObservation and FlattenObservation make of the observation.
    "DiscretizeObservation": lambda env: wrappers.DiscretizeObservation(flat_one(env), bins=2, multidiscrete=True),
    "DtypeObservation": lambda env: wrappers.DtypeObservation(flat_one(env), np.float32),
    "MaxAndSkipObservation": lambda env: wrappers.MaxAndSkipObservation(flat_one(env), 2),
    "NormalizeObservation": lambda env: wrappers.NormalizeObservation(flat_one(env)),
    "RescaleObservation": lambda env: wrappers.RescaleObservation(flat_one(env), np.float32(0), np.float32(1)),
    "ReshapeObservation": lambda env: wrappers.ReshapeObservation(flat_one(env), (1, 17)),
}

#: The same for vector environments.
MANY: dict[str, Callable[[Any], Any]] = {
    "ArrayConversion": lambda env: vector.ArrayConversion(env, env_xp=np, target_xp=np),
    "ClipReward": lambda env: vector.ClipReward(env, -1.0, 1.0),
    "DictInfoToList": lambda env: vector.DictInfoToList(env),
    "FilterObservation": lambda env: vector.FilterObservation(env, ["utterance", "affect"]),
    "FlattenObservation": lambda env: vector.FlattenObservation(env),
    "NormalizeReward": lambda env: vector.NormalizeReward(env),
    "NumpyToTorch": lambda env: vector.NumpyToTorch(env),
    "RecordEpisodeStatistics": lambda env: vector.RecordEpisodeStatistics(env),
    "TransformAction": lambda env: vector.TransformAction(env, same, env.action_space),
    "TransformObservation": lambda env: vector.TransformObservation(env, same, env.observation_space),
    "TransformReward": lambda env: vector.TransformReward(env, same),
    "VectorizeTransformAction": lambda env: vector.VectorizeTransformAction(
        env, wrappers.TransformAction, func=str.strip, action_space=env.single_action_space
    ),
    "VectorizeTransformObservation": lambda env: vector.VectorizeTransformObservation(
        env, wrappers.TransformObservation, func=same, observation_space=env.single_observation_space
    ),
    "VectorizeTransformReward": lambda env: vector.VectorizeTransformReward(env, wrappers.TransformReward, func=same),
    "DtypeObservation": lambda env: vector.DtypeObservation(flat_all(env), np.float32),
    "NormalizeObservation": lambda env: vector.NormalizeObservation(flat_all(env)),
    "RescaleObservation": lambda env: vector.RescaleObservation(flat_all(env), np.float32(0), np.float32(1)),
    "ReshapeObservation": lambda env: vector.ReshapeObservation(flat_all(env), (1, 17)),
}

PIXELS = "it draws on or shows a picture, and a session has none"
BOX_ACTION = "it bends numbers, and what a therapist says is text"
JAX = "it is made for an environment written in JAX"

#: name -> why a text environment cannot have it, what puts it there, and what it says then.
UNFIT: dict[str, tuple[str, Callable[[Any, Any], Any], type[Exception] | tuple[type[Exception], ...], str]] = {
    "AddRenderObservation": (PIXELS, lambda cls, env: cls(env), TypeError, "expects env.render.. to return a numpy"),
    "AddWhiteNoise": (PIXELS, lambda cls, env: drawn(cls(env, 0.5)), AttributeError, "'str' object has no .*'shape'"),
    "AtariPreprocessing": (PIXELS, lambda cls, env: cls(env), (DependencyNotInstalled, AttributeError), "opencv|ale"),
    "GrayscaleObservation": (PIXELS, lambda cls, env: cls(env), TypeError, "requires a Box observation space"),
    "HumanRendering": (PIXELS, lambda cls, env: cls(env), ValueError, "render_mode to be one of .*'rgb_array'"),
    "ObstructView": (PIXELS, lambda cls, env: drawn(cls(env, 0.5, 2)), AttributeError, "'str' object has no .*'shape'"),
    "RecordVideo": (PIXELS, lambda cls, env: cls(env, "videos"), ValueError, "returns an image, such as rgb_array"),
    "ResizeObservation": (PIXELS, lambda cls, env: cls(env, (8, 8)), TypeError, "requires a Box observation space"),
    "ClipAction": (BOX_ACTION, lambda cls, env: cls(env), TypeError, "requires a Box action space, got .*Utterance"),
    "DiscretizeAction": (BOX_ACTION, lambda cls, env: cls(env, 3), TypeError, "only compatible with Box"),
    "RescaleAction": (
        BOX_ACTION, lambda cls, env: cls(env, np.float32(0), np.float32(1)), TypeError, "requires a Box action space"
    ),
    "JaxToNumpy": (JAX, lambda cls, env: cls(env), (DependencyNotInstalled, ImportError), "[Jj]ax"),
    "JaxToTorch": (JAX, lambda cls, env: cls(env), (DependencyNotInstalled, ImportError), "[Jj]ax"),
}  # fmt: skip


def drawn(env: Any) -> Any:
    """What the environment renders."""
    env.reset(seed=SEED)
    return env.render()


@pytest.mark.parametrize(("module", "listed"), [(wrappers, SINGLE), (vector, MANY)], ids=["single", "vector"])
def test_every_wrapper_is_listed(module: Any, listed: dict[str, Any]) -> None:
    shipped = set(module.__all__) - {"vector"}
    assert shipped - set(listed) - set(UNFIT) == set(), "a new wrapper: list it, or say why a text has no use for it"
    assert not set(listed) & set(UNFIT)


@pytest.mark.skipif(not PLAIN, reason="before 1.4 Gymnasium's refusals are bare assertions")
@pytest.mark.parametrize("name", sorted(UNFIT))
@pytest.mark.parametrize("module", [wrappers, vector], ids=["single", "vector"])
def test_a_wrapper_that_cannot_fit_says_why(module: Any, name: str) -> None:
    if name not in module.__all__:
        pytest.skip("Gymnasium ships no such wrapper for vector environments")
    if name.startswith("Jax") and importlib.util.find_spec("jax"):
        pytest.skip("JAX is installed: its arrays are converted")
    _, build, error, says = UNFIT[name]
    env = make() if module is wrappers else own(2, None)
    with pytest.raises(error, match=says):
        build(getattr(module, name), env)


# --- The forms ------------------------------------------------------------------------------------------------------
def make(wrap: Callable[[Any], Any] = same) -> gym.Env[Any, Any]:
    """One environment in its wrapper."""
    # Gymnasium's checker is one of the wrappers.
    return wrap(gym.make("TherapySim-v0", disable_env_checker=True, patient=FLAKY, max_turns=9, render_mode="ansi"))


def own(num_envs: int, mode: AutoresetMode | None) -> TherapySimVectorEnv:
    """The package's own vector form."""
    return TherapySimVectorEnv(
        num_envs, patient=FLAKY, max_turns=9, render_mode="ansi", autoreset_mode=mode or AutoresetMode.NEXT_STEP
    )


def sync(wrap: Callable[[Any], Any], mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([partial(make, wrap)] * 2, autoreset_mode=mode)


@cache
def read_ahead(mode: AutoresetMode) -> None:
    """Plays the cases here, so that their texts are remembered: a process that has to read opens the sensor anew."""
    env = sync(same, mode)
    for options in OPTIONS:
        test_a_patient_that_answers(Wrapped("", env, mode), options)
        test_a_patient_that_fails(Wrapped("", env, mode), options)


def parallel(wrap: Callable[[Any], Any], mode: AutoresetMode, shared: bool) -> VectorEnv[Any, Any, Any]:
    read_ahead(mode)
    # A process that begins anew takes seconds to import all; a fork begins at once.
    return AsyncVectorEnv([partial(make, wrap)] * 2, autoreset_mode=mode, shared_memory=shared, context="fork")


VECTOR_FORMS: dict[str, Callable[[Any, AutoresetMode], VectorEnv[Any, Any, Any]]] = {
    "sync": sync,
    "async": partial(parallel, shared=False),
    "async-shared": partial(parallel, shared=True),
}
MODES = list(AutoresetMode)


def build(kind: str, name: str, form: str, mode: AutoresetMode) -> Any:
    """A form of the environment in a wrapper of one environment or of many."""
    if name == "NumpyToTorch":
        pytest.importorskip("torch")
    if name not in (wrappers if kind == "one" else vector).__all__:
        pytest.skip("this Gymnasium does not ship it yet")
    if not PLAIN and (kind, name) == ("many", "NormalizeObservation"):
        pytest.skip("before 1.4 its observations are not of its space's type")
    if kind == "one":
        return make(SINGLE[name]) if form == "alone" else VECTOR_FORMS[form](SINGLE[name], mode)
    return MANY[name](own(2, mode) if form == "own" else VECTOR_FORMS[form](same, mode))


def refused(name: str) -> set[AutoresetMode]:
    """The modes in which Gymnasium gives the vector wrapper of that name to no environment."""
    if name == "NormalizeObservation":
        return {AutoresetMode.SAME_STEP, AutoresetMode.DISABLED}
    return {AutoresetMode.SAME_STEP} if name.endswith("Observation") else set()


REFUSED = [
    (name, form, mode) for name in MANY for form in (*VECTOR_FORMS, "own") for mode in MODES if mode in refused(name)
]
CASES = [
    *(("one", name, "alone", AutoresetMode.DISABLED) for name in SINGLE),
    *(("one", name, form, mode) for name in SINGLE for form in VECTOR_FORMS for mode in MODES),
    *(("many", *case) for case in product(MANY, (*VECTOR_FORMS, "own"), MODES) if case not in REFUSED),
]


@pytest.mark.skipif(not PLAIN, reason="before 1.4 Gymnasium's refusals are bare assertions")
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{case[1]}-{case[2].value}")
def test_gymnasium_says_which_mode_a_wrapper_cannot_have(case: tuple[str, str, AutoresetMode]) -> None:
    name, form, mode = case
    env = own(2, mode) if form == "own" else VECTOR_FORMS[form](same, mode)
    try:
        with pytest.raises(ValueError, match="autoreset_mode"):
            MANY[name](env)
    finally:
        env.close()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([*case[:3], case[3].value]))
def wrapped(request: pytest.FixtureRequest) -> Iterator["Wrapped"]:
    """A wrapped environment, which the tests below play one after another."""
    kind, name, form, mode = request.param
    env = build(kind, name, form, mode)
    yield Wrapped(name, One(env) if form == "alone" else env, mode)
    env.close()


class Wrapped(NamedTuple):
    """The wrapper's name, the environment in it, and what follows the end of a session."""

    name: str
    env: Any
    mode: AutoresetMode


class One:
    """One environment seen as many of which there is one, so that one test serves all forms."""

    num_envs = 1

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env, self.observation_space = env, env.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        given = {key: value for key, value in (options or {}).items() if key != "reset_mask"}
        observation, info = self.env.reset(seed=seed, options=given or None)
        return observation, [info]

    def step(self, actions: Sequence[str]) -> tuple[Any, Any, Any, Any, Any]:
        observation, reward, terminated, truncated, info = self.env.step(actions[0])
        return observation, [reward], [terminated], [truncated], [info]


# --- The cases ------------------------------------------------------------------------------------------------------
OPTIONS: dict[str, dict[str, str] | None] = {
    "no-options": None,
    "split": {"split": "dev"},
    "persona": {"persona": "owen"},
}


@cache
def openings(options: str) -> tuple[str, ...]:
    """What the patients of two sessions open with, from the package's own vector form."""
    return tuple(own(2, None).reset(seed=SEED, options=OPTIONS[options])[0]["utterance"])


def told(infos: Any, i: int, key: str, final: bool = False) -> Any:
    """What the infos say of session i, however they are laid out."""
    if isinstance(infos, list):
        return (infos[i]["final_info"] if final else infos[i])[key]
    return (infos["final_info"] if final else infos)[key][i]


def allowed(options: dict[str, str]) -> set[str]:
    """The patients that a session with these options may have."""
    return {options["persona"]} if "persona" in options else {p.id for p in personas(options.get("split", "train"))}


def check(wrapped: Wrapped, observation: Any, rewards: Any = 0.0) -> None:
    """What holds after every reset and step: the observation is legal, and the rewards are numbers."""
    if wrapped.name not in ("NumpyToTorch", "ArrayConversion"):  # those leave the space as it was
        assert wrapped.env.observation_space.contains(observation)
    assert np.isfinite(np.asarray(rewards, dtype=float)).all()


def check_opening(wrapped: Wrapped, observation: Any, options: str) -> None:
    """Text comes through as it was said, where the wrapper shows the newest observation as it is."""
    if isinstance(observation, dict) and wrapped.name not in ("DelayObservation", "FrameStackObservation"):
        texts = observation.get("utterance", ())
        said = (texts,) if isinstance(texts, str) else tuple(texts)
        assert said == openings(options)[: len(said)]


@pytest.mark.parametrize("chosen", OPTIONS)
def test_a_patient_that_answers(wrapped: Wrapped, chosen: str) -> None:
    env, options, n = wrapped.env, OPTIONS[chosen] or {}, wrapped.env.num_envs
    observation, infos = env.reset(seed=SEED, options=dict(options) or None)
    check(wrapped, observation)
    check_opening(wrapped, observation, chosen)
    assert {told(infos, i, "persona") for i in range(n)} <= allowed(options)

    observation, rewards, terminated, truncated, infos = env.step([WARM, WARM][:n])
    check(wrapped, observation, rewards)
    assert all(rewards) and not any(terminated) and not any(truncated) and not told(infos, 0, "failed")


@pytest.mark.parametrize("chosen", OPTIONS)
def test_a_patient_that_fails(wrapped: Wrapped, chosen: str) -> None:
    """The first session's patient fails; the other goes on, and so does the first, anew."""
    env, options, n = wrapped.env, OPTIONS[chosen] or {}, wrapped.env.num_envs
    env.reset(seed=SEED, options=dict(options) or None)
    observation, rewards, terminated, truncated, infos = env.step([CUT, WARM][:n])
    check(wrapped, observation, rewards)
    assert rewards[0] == 0.0 and not any(terminated) and [bool(cut) for cut in truncated] == [True, False][:n]
    assert told(infos, 0, "failed", final=wrapped.mode is AutoresetMode.SAME_STEP)

    if wrapped.mode is AutoresetMode.DISABLED:
        check(wrapped, env.reset(options={"reset_mask": np.array([True, False][:n]), **options})[0])
    observation, rewards, terminated, truncated, infos = env.step([WARM, WARM][:n])
    check(wrapped, observation, rewards)
    assert not any(terminated) and not any(truncated) and not told(infos, 0, "failed")

"""Gymnasium's contract: its checks, its specs, its vector environments, and what a failed patient leaves behind."""

import multiprocessing
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.envs.dynamics import DynamicsSettings
from therapysim.envs.screen import ScreenSettings
from therapysim.envs.therapy import TherapySimEnv
from therapysim.envs.vector import TherapySimVectorEnv
from therapysim.errors import ConfigError, PatientError, PersonaError
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.risk import RiskThresholds
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import RubricSettings

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"
CUT = "One moment, please, I have to get the door."


class Flaky:
    """The scripted patient, whose call fails where the therapist says ``CUT``, and where some are to open."""

    def __init__(self, *cannot_open: str) -> None:
        self.words, self.cannot_open = ScriptedPatient(shipped_sensor().affect), cannot_open

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        for cue in cues:
            if cue.transcript.last("therapist") == CUT or (not cue.transcript and cue.persona.id in self.cannot_open):
                raise PatientError("the line is dead")
        return self.words.speak(cues)


# --- One environment ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"observe_state": False}, {"vary": True}, {"render_mode": "ansi"}, {"persona": "owen", "rubric": "user"}],
    ids=str,
)
def test_check_env_has_nothing_to_say(kwargs: dict[str, Any]) -> None:
    env = gym.make("TherapySim-v0", max_turns=4, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_a_failed_call_earns_nothing_and_ends_the_session() -> None:
    env = TherapySimEnv(patient=Flaky())
    shown, info = env.reset(seed=0)
    after, reward, terminated, truncated, info = env.step(CUT)
    assert (reward, terminated, truncated, info["failed"]) == (0.0, False, True, True) and type(reward) is float
    assert data_equivalence(after, shown) and info["terms"] == {}
    env.reset(seed=0)
    assert env.step(WARM)[1] != 0.0


def test_a_failed_call_does_not_poison_running_statistics() -> None:
    env = gym.wrappers.NormalizeReward(gym.make("TherapySim-v0", patient=Flaky()))
    for text in (CUT, WARM):
        env.reset(seed=0)
        assert np.isfinite(env.step(text)[1]) and np.isfinite(env.return_rms.var)


def test_the_session_batch_leaves_a_failed_session_out() -> None:
    batch = SessionBatch(patient=Flaky())
    batch.reset([Start(0)])
    (turn,) = batch.step([CUT])
    assert turn is not None and np.isnan(turn.reward) and turn.score is None and turn.transition is None


def test_a_patient_that_cannot_open_ends_the_session_in_its_first_step() -> None:
    env = TherapySimEnv(persona="owen", patient=Flaky("owen"))
    with pytest.warns(UserWarning, match="'owen' could not open"):
        shown, info = env.reset(seed=0)
    assert shown in env.observation_space and shown["utterance"] == "" and info["failed"]
    _, reward, terminated, truncated, info = env.step(WARM)
    assert (reward, terminated, truncated, info["failed"]) == (0.0, False, True, True)
    assert not env.reset(seed=0, options={"persona": "marta"})[1]["failed"] and env.step(WARM)[1] != 0.0


@pytest.mark.parametrize("make", [TherapySimEnv, partial(TherapySimVectorEnv, 2)], ids=["single", "vector"])
def test_no_split_is_refused_rather_than_all_of_them(make: Any) -> None:
    with pytest.raises(PersonaError, match="split is None, expected one of train, dev, test"):
        make(split=None)
    env = make()
    with pytest.raises(PersonaError, match="split is None, expected one of train, dev, test"):
        env.reset(seed=0, options={"split": None})
    for options in (5, [("split", "dev")]):
        with pytest.raises(ConfigError, match=r"reset options are .*, expected a dict"):
            env.reset(seed=0, options=options)


def test_a_start_without_a_split_is_refused() -> None:
    with pytest.raises(PersonaError, match="split is None, expected one of train, dev, test"):
        Start(0, split=None)  # type: ignore[arg-type]


# --- Specs ----------------------------------------------------------------------------------------------------------
SETTINGS: dict[str, Any] = {
    "config": SessionConfig(5, 0.25, ScreenSettings(max_chars=99), DynamicsSettings(noise=0.0, gain=0.2)),
    "rubric": RubricSettings(affect=2.0, gates=("injection",)),
    "risk_thresholds": RiskThresholds(temper=-0.5, count="smooth"),
}


def course(env: gym.Env[Any, Any]) -> tuple[Any, ...]:
    """What a short session was like."""
    env.reset(seed=4)
    steps = [env.step(text) for text in (WARM, "Why?")]
    return *[(step[1], step[4]["risk"], step[4]["reward"]) for step in steps], str(env.unwrapped.batch.sessions)  # type: ignore[attr-defined]


def test_a_spec_survives_json() -> None:
    env = gym.make("TherapySim-v0", **SETTINGS, split="dev")
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    first, second = env.unwrapped, again.unwrapped
    assert isinstance(first, TherapySimEnv) and isinstance(second, TherapySimEnv)
    assert second.batch.config == first.batch.config == SETTINGS["config"]
    assert second.batch.rubric.settings == first.batch.rubric.settings == SETTINGS["rubric"]
    assert second.risk_thresholds == first.risk_thresholds == SETTINGS["risk_thresholds"]
    assert again.spec is not None and again.spec.to_json() == env.spec.to_json()
    assert course(again) == course(env)


def test_a_vector_spec_survives_json() -> None:
    env = gym.make_vec("TherapySim-v0", num_envs=2, **SETTINGS, autoreset_mode="SameStep")
    assert env.spec is not None
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json())).unwrapped
    assert isinstance(again, TherapySimVectorEnv) and again.num_envs == 2
    assert again.autoreset_mode is AutoresetMode.SAME_STEP
    assert again.batch.config == SETTINGS["config"] and again.batch.rubric.settings == SETTINGS["rubric"]


def test_settings_may_be_mappings_of_some_fields() -> None:
    env = TherapySimEnv(config={"max_turns": 3, "dynamics": {"noise": 0.0}}, rubric={"affect": 1.0}, risk_thresholds={})
    assert env.batch.config == SessionConfig(max_turns=3, dynamics=DynamicsSettings(noise=0.0))
    assert env.batch.rubric.settings == RubricSettings(affect=1.0) and env.risk_thresholds == RiskThresholds()
    rubric = Rubric("grpo")
    assert TherapySimEnv(rubric=rubric).batch.rubric is rubric


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"config": {"max_turn": 3}}, "config has the field 'max_turn', expected some of max_turns, kappa"),
        ({"config": {"dynamics": {"noyse": 0}}}, "config.dynamics has the field 'noyse', expected some of drift"),
        ({"config": {"dynamics": 3}}, "config.dynamics is 3, expected a DynamicsSettings, a mapping"),
        ({"config": {"max_turns": 0}}, "max_turns is 0, expected a whole number"),
        ({"config": "long"}, "config is 'long', expected a SessionConfig, a mapping"),
        ({"config": {}, "max_turns": 3}, "both config and max_turns"),
        ({"rubric": {"afect": 1.0}}, "rubric has the field 'afect', expected some of mood"),
        ({"rubric": {"gates": "injection"}}, "gates is str, expected a tuple"),
        ({"rubric": {"gates": ["nothing"]}}, "gate 'nothing' is unknown"),
        ({"rubric": 3}, "rubric is int"),
        ({"risk_thresholds": {"anger": 0}}, "risk_thresholds has the field 'anger'"),
    ],
)
@pytest.mark.parametrize("make", [TherapySimEnv, partial(TherapySimVectorEnv, 2)], ids=["single", "vector"])
def test_settings_that_are_none_are_refused(make: Any, kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(**kwargs)


# --- Vector environments --------------------------------------------------------------------------------------------
def same_reset(ours: TherapySimVectorEnv, theirs: SyncVectorEnv, **kwargs: Any) -> bool:
    """Whether a reset of both brings the same; Gymnasium's takes the mask out of the options that it is given."""
    resets = [env.reset(**{key: value.copy() for key, value in kwargs.items()}) for env in (ours, theirs)]
    return bool(data_equivalence(*resets))


def pair(mode: AutoresetMode, patient: Any = None, **kwargs: Any) -> tuple[TherapySimVectorEnv, SyncVectorEnv]:
    """The package's vector form, and Gymnasium's own of as many single environments."""
    ours = TherapySimVectorEnv(3, autoreset_mode=mode, patient=patient, **kwargs)
    return ours, SyncVectorEnv([partial(TherapySimEnv, patient=patient, **kwargs)] * 3, autoreset_mode=mode)


@pytest.mark.parametrize("observe_state", [True, False], ids=["state", "words-only"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_form_returns_what_gymnasiums_own_does(mode: AutoresetMode, observe_state: bool) -> None:
    """Over ends at the limit and by failed calls, which the sessions meet at different times."""
    ours, theirs = pair(mode, Flaky(), max_turns=2, observe_state=observe_state)
    assert same_reset(ours, theirs, seed=[3, 4, 5])
    over = np.zeros(3, dtype=bool)
    for cut in (0, None, 1, 2, None, 1, None, None):
        if mode is AutoresetMode.DISABLED and over.any():
            assert same_reset(ours, theirs, options={"reset_mask": over})
        said = [CUT if i == cut else WARM for i in range(3)]
        step, expected = ours.step(said), theirs.step(said)
        assert data_equivalence(step, expected)
        assert step[0] in ours.observation_space and step[1].dtype == np.float64
        over = step[2] | step[3]


@pytest.mark.parametrize("mask", [None, [True, False, False], [False, True, True]], ids=str)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_session_reset_after_its_end_is_not_reset_again(mode: AutoresetMode, mask: list[bool] | None) -> None:
    ours, theirs = pair(mode, Flaky(), max_turns=9)
    assert same_reset(ours, theirs, seed=[3, 4, 5])
    assert data_equivalence(ours.step([CUT, WARM, WARM]), theirs.step([CUT, WARM, WARM]))
    assert same_reset(ours, theirs, options={} if mask is None else {"reset_mask": np.array(mask)})
    if mode is AutoresetMode.DISABLED and mask is not None and not mask[0]:
        return  # its first session is over, and Gymnasium's refuses to go on
    for _ in range(3):
        assert data_equivalence(ours.step([WARM] * 3), theirs.step([WARM] * 3))


@pytest.mark.filterwarnings("ignore:.*could not open")
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_form_meets_patients_that_cannot_open_as_gymnasiums_own_does(mode: AutoresetMode) -> None:
    met = TherapySimVectorEnv(3).reset(seed=3)[1]["persona"]
    cannot = {met[0], *[p.id for p in personas("train")][::2]} - {met[1]}
    ours, theirs = pair(mode, Flaky(*cannot), max_turns=2)
    assert same_reset(ours, theirs, seed=[3, 4, 5])
    assert 0 < sum(session.failed for session in ours.batch.sessions) < 3
    over = np.zeros(3, dtype=bool)
    for _ in range(8):
        if mode is AutoresetMode.DISABLED and over.any():
            assert same_reset(ours, theirs, options={"reset_mask": over})
        step = ours.step([WARM] * 3)
        assert data_equivalence(step, theirs.step([WARM] * 3)) and np.isfinite(step[1]).all()
        over = step[2] | step[3]


def test_the_seeds_of_the_vector_form_follow_reset() -> None:
    ours, theirs = pair(AutoresetMode.NEXT_STEP)
    for seed in (20, [7, 8, 11], [None, 5, None]):
        ours.reset(seed=seed)
        theirs.reset(seed=seed)  # type: ignore[arg-type]
        assert ours.np_random_seed == theirs.np_random_seed
        assert [rng.integers(99) for rng in ours.np_random] == [rng.integers(99) for rng in theirs.np_random]
    before = ours.np_random_seed
    ours.reset()
    ours.step([WARM] * 3)
    assert ours.np_random_seed == before == (7, 5, 11)


def test_the_vector_form_has_seeds_before_it_is_reset() -> None:
    env = TherapySimVectorEnv(2)
    before = env.np_random_seed
    assert len(set(before)) == 2
    opened = env.reset()[0]["utterance"]
    assert env.np_random_seed == before and env.reset(seed=list(before))[0]["utterance"] == opened


def test_reset_options_reach_every_session_of_the_vector_form() -> None:
    ours, theirs = pair(AutoresetMode.NEXT_STEP, max_turns=1)
    options = {"persona": "owen"}
    shown, infos = ours.reset(seed=1, options=options)
    assert infos["persona"].tolist() == ["owen"] * 3 and options == {"persona": "owen"}
    assert data_equivalence((shown, infos), theirs.reset(seed=1, options=options))
    dev = {p.id for p in personas("dev")}
    assert set(ours.reset(seed=1, options={"split": "dev"})[1]["persona"]) <= dev
    with pytest.raises(ConfigError, match="'mood'"):
        ours.reset(seed=1, options={"mood": 1})
    # They hold for this reset alone: the session that follows by itself has a patient of the constructor's split.
    ours.reset(seed=1, options={"split": "dev"})
    ours.step([WARM] * 3)
    assert not dev & set(ours.step([WARM] * 3)[4]["persona"])


def test_options_reach_the_sessions_of_the_mask_alone() -> None:
    env = TherapySimVectorEnv(3, persona="marta")
    before = env.reset(seed=1)[0]["utterance"]
    mask = np.array([False, True, False])
    shown, infos = env.reset(options={"persona": "owen", "reset_mask": mask})
    assert infos["_persona"].tolist() == mask.tolist() and infos["persona"].tolist() == [None, "owen", None]
    assert [new == old for new, old in zip(shown["utterance"], before, strict=True)] == [True, False, True]


@pytest.mark.parametrize("observe_state", [True, False])
def test_the_last_observation_hides_what_every_other_hides(observe_state: bool) -> None:
    env = TherapySimVectorEnv(2, max_turns=1, observe_state=observe_state, autoreset_mode="SameStep")
    env.reset(seed=0)
    infos = env.step([WARM, WARM])[4]
    assert all(last in env.single_observation_space for last in infos["final_obs"])
    assert ("affect" in infos["final_obs"][0]) is observe_state


def test_a_session_that_goes_on_keeps_its_turns_infos_where_another_begins_anew() -> None:
    env = TherapySimVectorEnv(2, patient=Flaky(), autoreset_mode="SameStep")
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step([CUT, WARM])
    assert infos["reward"]["reward"].tolist() == [0.0, rewards[1]] and infos["move"][1] and not infos["move"][0]
    assert infos["final_info"]["_failed"].tolist() == [True, False]


@pytest.mark.parametrize("shared", [False, True], ids=["pipes", "shared"])
def test_processes_that_begin_anew_play_the_same_sessions(shared: bool) -> None:
    """As on macOS and Windows, where a process is no copy of its parent."""
    make = partial(gym.make, "therapysim:TherapySim-v0", max_turns=2)
    many = AsyncVectorEnv([make, make], shared_memory=shared, context="spawn")
    try:
        ours = TherapySimVectorEnv(2, max_turns=2)
        assert data_equivalence(many.reset(seed=3), ours.reset(seed=3))
        assert data_equivalence(many.step([WARM, "Why? 😔"]), ours.step([WARM, "Why? 😔"]))
    finally:
        many.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes cannot fork here")
def test_shared_memory_without_copies_is_a_live_view() -> None:
    make = partial(TherapySimEnv, patient=Flaky(), max_turns=2)
    many = AsyncVectorEnv([make, make], shared_memory=True, copy=False, context="fork")
    try:
        shown, _ = many.reset(seed=3)
        opened = shown["utterance"].tolist()
        assert shown in many.observation_space and opened == list(
            pair(AutoresetMode.NEXT_STEP)[0].reset(seed=3)[0]["utterance"][:2]
        )
        many.step([WARM, WARM])
        assert shown["turn"].tolist() == [1, 1] and shown["utterance"].tolist() != opened
    finally:
        many.close()


def test_wrappers_of_one_environment_are_refused_around_the_vector_form() -> None:
    with pytest.raises(gym.error.Error, match="Cannot use `vector_entry_point` vectorization mode with the wrappers"):
        gym.make_vec("TherapySim-v0", num_envs=2, wrappers=[gym.wrappers.FlattenObservation])
    many = gym.make_vec("TherapySim-v0", 2, "sync", wrappers=[gym.wrappers.FlattenObservation])
    assert many.reset(seed=0)[0].shape[0] == 2

"""Acts in place of free text: their words, the environment that offers them, the therapist that chooses them.

Every line is read as its act: ``python -m tests.agents.therapists.test_act_choice`` prints the share, act by act, over
what 32 patients say at first and after four turns.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from string import Formatter

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import therapysim  # noqa: F401 - registers TherapySim-v0
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.act_choice import (
    ACTIONS,
    FEATURES,
    ActChoice,
    ActTherapist,
    act_lines,
    act_of,
    random_act,
    view,
    word_act,
)
from therapysim.agents.therapists.baselines import Baseline, baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.envs.session import Session
from therapysim.errors import ActionError, ConfigError, EpisodeError
from therapysim.messages import Transcript
from therapysim.personas.load import personas
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.patterns import HARMFUL, spot

#: act -> the least share of its turns that are read as it, a little below what was measured.
FLOORS = dict.fromkeys(ACTIONS, 0.89) | {"simple_reflection": 0.84}


def make(**settings: object) -> ActChoice:
    return ActChoice(gym.make("TherapySim-v0", **settings))


@cache
def sessions() -> tuple[Session, ...]:
    """Of each training and dev patient, the opening and the session after four turns of an attuned therapist."""
    batch = SessionBatch()
    begun = batch.reset([Start(3, p.id) for split in ("train", "dev") for p in personas(split)])
    for _ in range(4):
        said = baseline("attuned").respond(batch.sessions)
        batch.step([None if s.done else text for s, text in zip(batch.sessions, said, strict=True)])
    return (*begun, *batch.sessions)


@cache
def shares() -> dict[str, float]:
    """act -> the share of its turns that are read as it, each line drawn for some of the sessions."""
    batch = SessionBatch()
    appraiser, said = Appraiser(batch.sensor), [Said((s.patient_reading.text,)) for s in sessions()]
    found = {}
    for act in ACTIONS:
        texts = [word_act(s, act, np.random.default_rng(i)) for i, s in enumerate(sessions())]
        judged = appraiser(batch.sensor.read(texts), said)
        hits = [not j.acts - {"encourager"} if act == "listen" else act in j.acts for j in judged]
        found[act] = float(np.mean(hits))
    return found


def after(session: Session, *said: str) -> Session:
    """The session as if the therapist had said these, each answered by the patient's same words."""
    words, transcript = session.patient_reading.text, Transcript().add("patient", session.patient_reading.text)
    for text in said:
        transcript = transcript.add("therapist", text).add("patient", words)
    return replace(session, transcript=transcript)


@pytest.mark.parametrize("act", ACTIONS)
def test_a_line_is_read_as_its_act(act: str) -> None:
    assert shares()[act] >= FLOORS[act]


def test_each_act_has_lines_enough_and_no_gap_that_nothing_fills() -> None:
    every = [line for lines in act_lines().values() for line in lines]
    assert tuple(act_lines()) == ACTIONS and min(map(len, act_lines().values())) >= 12
    assert len(set(every)) == len(every)
    assert {name for line in every for _, name, _, _ in Formatter().parse(line) if name} == {"words", "feeling"}


def test_every_act_is_known_again_by_its_words() -> None:
    for i, session in enumerate(sessions()):
        for act in ACTIONS:
            assert act_of(word_act(session, act, np.random.default_rng(i))) == act
    assert act_of("What would you like to talk about?") == ""


@pytest.mark.parametrize("act", ["open_question", "simple_reflection", "advice"])
def test_no_line_comes_again_before_all_were_said(act: str) -> None:
    count, session, said = len(act_lines()[act]), sessions()[0], list[str]()
    for turn in range(2 * count):
        said.append(word_act(after(session, *said), act, np.random.default_rng(turn)))
    assert len(set(said[:count])) == count and set(said[count:]) == set(said[:count])


def test_the_patients_words_are_taken_up_and_turned_round() -> None:
    heard = replace(
        sessions()[0].patient_reading, text="Hm. I was up all night because of my brother, and it scares me."
    )
    said = word_act(replace(sessions()[0], patient_reading=heard), "simple_reflection", np.random.default_rng(0))
    assert "you were up all night because of your brother" in said


@pytest.mark.parametrize("text", ["I am such a burden. I am a failure.", "You are useless, he says!", "", "..."])
def test_what_hurts_is_not_given_back_as_the_therapists_own(text: str) -> None:
    session = replace(sessions()[0], patient_reading=replace(sessions()[0].patient_reading, text=text))
    for act in ("open_question", "closed_question", "simple_reflection", "complex_reflection", "validation"):
        for draw in range(12):
            said = word_act(session, act, np.random.default_rng(draw))
            assert not spot(said) & (HARMFUL | {"advice"}) and "{" not in said


def test_an_unknown_act_is_refused() -> None:
    with pytest.raises(ActionError, match="expected one of listen"):
        word_act(sessions()[0], "hug", np.random.default_rng(0))


def test_it_is_an_environment_as_gymnasium_wants_it() -> None:
    with pytest.warns(UserWarning, match="different from the unwrapped version"):
        check_env(make(max_turns=3))


def test_equal_seeds_and_acts_give_equal_episodes() -> None:
    def episode(seed: int) -> list[object]:
        env = make(max_turns=5)
        seen, info = env.reset(seed=seed)
        told: list[object] = [seen.tolist(), info["said"]]
        for act in (1, 4, 5, 7, 13):
            seen, reward, *_, info = env.step(np.int64(act))
            told += [seen.tolist(), reward, info["said"]]
        return told

    assert episode(4) == episode(4) != episode(5)


def test_the_view_holds_what_it_names() -> None:
    env = make(persona="marta")
    first, _ = env.reset(seed=1)
    assert "(69,)" in str(ActChoice.__doc__) and env.observation_space.shape == first.shape == (69,)
    shown = dict(zip(FEATURES, first.tolist(), strict=True))
    assert shown["turn"] == 0 and shown["history -3"] == shown["history -2"] == 0 != shown["history -1"]
    assert sum(first[FEATURES.index("last listen") :][: 2 * len(ACTIONS)]) == 0
    index = ACTIONS.index("validation")
    second, *_, info = env.step(np.int64(index))
    shown = dict(zip(FEATURES, second.tolist(), strict=True))
    assert shown["turn"] == pytest.approx(1 / 20) and shown["last validation"] == 1
    assert shown["used validation"] == pytest.approx(1 / len(act_lines()["validation"]))
    assert act_of(info["said"]) == "validation" == env.action_names[index]


def test_the_view_marks_danger_now_and_before() -> None:
    session = sessions()[0]
    dark = replace(session, transcript=Transcript().add("patient", "I want to die."))
    later = replace(dark, transcript=dark.transcript.add("therapist", "Mm.").add("patient", "It rained."))
    marks = [FEATURES.index("danger now"), FEATURES.index("danger so far")]
    assert [view(s)[marks].tolist() for s in (dark, later)] == [[1, 1], [0, 1]]


def test_the_view_does_not_hang_on_what_is_hidden() -> None:
    session = sessions()[-1]
    other = replace(session, latent=replace(session.latent, alliance=0.99, mood=(0.9, 0.9, 0.9, 0.9), told=()))
    assert np.array_equal(view(session), view(other))


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(ConfigError, match="observe_state=False"):
        make(observe_state=False)
    with pytest.raises(ConfigError, match="expected TherapySim-v0"):
        ActChoice(gym.make("CartPole-v1"))  # type: ignore[arg-type]
    env = ActChoice(gym.make("TherapySim-v0", disable_env_checker=True).unwrapped)
    with pytest.raises(EpisodeError):
        env.step(np.int64(0))
    env.reset(seed=0)
    with pytest.raises(ActionError, match="from 0 to 13"):
        env.step(np.int64(14))


def test_the_therapist_says_what_the_environment_would() -> None:
    env, start = make(max_turns=6), Start(11, "marta")

    def choose(views: NDArray[np.float32]) -> NDArray[np.int64]:
        """Some act for each view, and another for nearly every other."""
        return np.abs(views * 1000).sum(axis=1).astype(np.int64) % len(ACTIONS)

    batch = SessionBatch(SessionConfig(max_turns=6))
    (episode,) = play(batch, ActTherapist(choose, max_turns=6), [start])
    env.reset(seed=0, options={"persona": "marta"})
    inner = env.unwrapped.batch  # type: ignore[attr-defined]
    inner.reset([start])
    said = []
    while not inner.sessions[0].done:
        *_, info = env.step(choose(view(inner.sessions[0], 6)[None])[0])
        said.append(info["said"])
    assert said == episode.session.transcript.said_by("therapist") and len({act_of(text) for text in said}) > 1


@pytest.mark.parametrize("chosen", [[0, 1, 2], [0.5, 1.0], [0, 14], [-1, 0], 3])
def test_a_choice_that_is_none_is_refused(chosen: Sequence[float]) -> None:
    with pytest.raises(ActionError, match="expected one index from 0 to 13 for each"):
        ActTherapist(lambda _: chosen).respond(sessions()[:2])


def test_random_acts_are_spread_evenly() -> None:
    acts = [act_of(random_act(sessions()[0], np.random.default_rng(i))) for i in range(1400)]
    assert set(acts) == set(ACTIONS) and 60 < min(map(acts.count, ACTIONS)) < max(map(acts.count, ACTIONS)) < 140


def test_choosing_matters() -> None:
    """The same patients do better with acts that the literature recommends than with acts that it warns of."""
    starts = [Start(seed, persona.id) for persona in personas("dev")[:3] for seed in (0, 1)]
    batch = SessionBatch(SessionConfig(max_turns=8))

    def mean(names: Sequence[str]) -> float:
        good = [ACTIONS.index(name) for name in names]
        therapist = ActTherapist(lambda views: [good[round(float(v[7]) * 20) % len(good)] for v in views])
        return float(np.mean([episode.total for episode in play(batch, therapist, starts)]))

    chance = np.mean([e.total for e in play(batch, Baseline("random_acts", random_act), starts)])
    attuned = mean(["complex_reflection", "open_question", "validation"])
    harsh = mean(["advice", "confrontation", "reassurance"])
    assert attuned > chance > harsh


def test_a_stable_baselines_learner_takes_it_and_drives_the_therapist() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    model = sb3.PPO("MlpPolicy", make(max_turns=4), n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.learn(64)
    therapist = ActTherapist(lambda views: model.predict(views, deterministic=True)[0])
    said = therapist.respond(sessions()[:3])
    assert model.num_timesteps == 64 and all(act_of(text) for text in said)


if __name__ == "__main__":
    print("\n".join(f"{act}: {share:.2f}" for act, share in shares().items()))

"""The dynamics, by what they make of therapists: on dev patients, several seeds, paired, by patient."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.measures.orderings import MEASURES, PAIRS, Course, Floats, at, by_patient, courses, follow, gap
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import BASELINES, NEUTRAL, TEMPLATE, Baseline, baseline
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.envs.beliefs import conviction
from therapysim.envs.dynamics import DynamicsSettings
from therapysim.envs.latent import Latent
from therapysim.personas.load import personas
from therapysim.personas.schema import Persona, Temperament
from therapysim.state import Move

SEEDS = 3
#: Of what is sensed from words, three sessions with a patient are too few to tell two good therapists apart.
MORE_SEEDS = 6
RANKED = {name for pair in PAIRS for name in pair}
TAKEN_UP, PASSED_BY = "How strong is the wish to die right now?", "What did you have for lunch today?"
HOSTILE_LINE = "You are being ridiculous. Stop complaining."
#: Owns up without excuses, and asks.
REPAIR = (
    "I am sorry. That was unfair of me, and it must have hurt. What was it like for you to hear it?",
    "I should have listened. You came here to be heard, and I was harsh with you. How is it to sit here with me now?",
    "That was my mistake, and none of it is yours. What would you need from me so that we can go on?",
)
NEAR_COPIES = (
    TEMPLATE,
    "That sounds really hard, and I can hear how much pain you are in.",
    "That sounds so hard, and I can hear how much pain you are in today.",
    "That sounds so hard, and I can feel how much pain you are in.",
)


def ids(*splits: str, most_risk: int = 3, least_risk: int = 0) -> list[str]:
    """The patients of some splits whose risk lies in a range."""
    return [p.id for split in splits for p in personas(split) if least_risk <= p.risk <= most_risk]


def rows(name: str, seeds: int = SEEDS) -> list[list[Course]]:
    """A baseline with every dev patient; the same sessions for each, of more seeds for those that are ranked."""
    return [row[:seeds] for row in _rows(name, MORE_SEEDS if name in RANKED else SEEDS)]


@cache
def _rows(name: str, seeds: int) -> list[list[Course]]:
    return courses(baseline(name), ids("dev"), seeds)


def over(own: list[list[Course]], value: Callable[[Course], float]) -> Floats:
    """A value of each course, shape (patients, seeds)."""
    return np.array([[value(course) for course in row] for row in own])


def opened(people: Sequence[str], seeds: int = SEEDS, *, noise: float = 0.02) -> SessionBatch:
    """A batch with one session a patient and seed, not yet spoken in."""
    batch = SessionBatch(SessionConfig(dynamics=DynamicsSettings(noise=noise)))
    batch.reset([Start(seed, who) for who in people for seed in range(seeds)])
    return batch


def altered(batch: SessionBatch, change: Callable[[Persona], Persona]) -> SessionBatch:
    """The same sessions, with patients who differ in nothing but ``change``."""
    batch.restore([replace(s, persona=change(s.persona)) for s in batch.sessions])
    return batch


def tempered(inertia: float = 0.5, reactivity: float = 0.5) -> Callable[[Persona], Persona]:
    """Gives a patient another temperament."""
    return lambda persona: replace(persona, temperament=Temperament(inertia, reactivity))


def shaped(flat: Sequence[float], seeds: int = SEEDS) -> Floats:
    """Values in the order of ``opened``, shape (patients, seeds)."""
    return np.array(flat).reshape(-1, seeds)


def says(*lines: str) -> Baseline:
    """Says the lines in order, over and over."""
    return Baseline("lines", lambda s, _: lines[s.state.turn % len(lines)])


# --- Orderings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [m for m in MEASURES if m not in ("reward", "turns")])
@pytest.mark.parametrize(("better", "worse"), PAIRS)
def test_therapists_are_ordered(better: str, worse: str, measure: str) -> None:
    assert gap(rows(better, MORE_SEEDS), rows(worse, MORE_SEEDS), measure).low > 0


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"attuned", "cbt", "mi"}))
def test_no_other_baseline_reaches_what_the_best_script_does(name: str) -> None:
    for measure in ("mood", "alliance", "reward"):
        assert gap(rows("cbt"), rows(name), measure).low > 0, measure


def test_working_on_beliefs_lifts_the_mood_for_good_and_reflecting_does_not() -> None:
    """The same patients: what they give up believing goes with how their mood ends."""
    people = ids("dev", "train", most_risk=0)[:12]
    ends = {name: finals(name, people) for name in ("cbt", "attuned", "mi")}
    given_up = {name: shaped([1.0 - conviction(s.latent) for s in own]) for name, own in ends.items()}
    for name in ("attuned", "mi"):
        assert by_patient(given_up["cbt"] - given_up[name]).low > 0.05
        assert by_patient(given_up[name]).high < 0.05


def finals(name: str, people: Sequence[str]) -> list[Session]:
    """How the sessions of a baseline end."""
    starts = [Start(seed, who) for who in people for seed in range(SEEDS)]
    return [episode.session for episode in play(SessionBatch(), baseline(name), starts)]


# --- Kindness, repetition ------------------------------------------------------------------------------------------


def test_warmth_alone_helps_at_first_and_then_no_more() -> None:
    early, late = (
        by_patient(over(rows("warm"), lambda c, a=a, b=b: at(c.alliances, b) - at(c.alliances, a)))  # type: ignore[misc]
        for a, b in ((0, 6), (12, 20))
    )
    assert early.low > 0 and late.mean < early.mean / 5
    assert gap(rows("attuned"), rows("warm"), "alliance").low > 0.2 and gap(rows("cbt"), rows("warm"), "mood").low > 0


@pytest.mark.parametrize("lines", [(TEMPLATE,), NEAR_COPIES], ids=["the same words", "near-copies"])
def test_one_sentence_stops_working_after_its_second_use(lines: tuple[str, ...]) -> None:
    played = follow(opened(ids("dev"), 2, noise=0.0), says(*lines), 12)
    alliance, mood = (np.diff([getattr(c, of) for c in played], axis=1) for of in ("alliances", "moods"))
    for gained in (alliance, mood):
        assert by_patient(shaped(list(gained[:, 0] - gained[:, 1]), 2)).low > 0
    assert (alliance[:, 1] > 0.0).all()
    # Without chance, what is left is the way back to the baseline; the mood lies above it.
    assert (alliance[:, 2:] <= 0.0).all() and (mood[:, 2:] < 0.0).all()


# --- Danger --------------------------------------------------------------------------------------------------------


def in_danger(people: Sequence[str], seeds: int) -> list[Session]:
    """Sessions just after the patient told of a danger, which it does to a direct question from someone trusted."""
    batch, found, attuned = opened(people, seeds), [], baseline("attuned")
    for _ in range(18):
        told = [s for s in batch.sessions if s.latent.danger == "open"]
        found += told
        batch.restore([s for s in batch.sessions if s not in told and not s.done])
        if not batch.sessions:
            break
        batch.step(attuned.respond(batch.sessions))
    return found


def test_missing_a_danger_costs_and_taking_it_up_helps() -> None:
    sessions = in_danger(ids("dev", "train", least_risk=1), 2)
    assert len({s.persona.id for s in sessions}) >= 10
    batch = SessionBatch()
    batch.restore(sessions * 2)
    batch.step([TAKEN_UP] * len(sessions) + [PASSED_BY] * len(sessions))
    after, without = batch.sessions[: len(sessions)], batch.sessions[len(sessions) :]
    change = [b.latent.alliance - a.latent.alliance for a, b in zip(sessions, after, strict=True)]
    cost = [b.latent.alliance - a.latent.alliance for a, b in zip(without, after, strict=True)]
    mood = [float(np.mean(b.latent.mood) - np.mean(a.latent.mood)) for a, b in zip(without, after, strict=True)]
    assert grouped(sessions, change) > 0 and grouped(sessions, cost) > 0.02 and grouped(sessions, mood) > 0
    # Asked directly, a patient may tell more; nothing stays missed.
    assert np.mean([s.latent.danger == "missed" for s in without]) > 0.9  # one is read as asking what protects
    assert not any(s.latent.danger == "missed" for s in after)


def grouped(sessions: Sequence[Session], values: Sequence[float]) -> float:
    """The lower end of the interval over patients, each patient's mean one value."""
    by: dict[str, list[float]] = {}
    for session, value in zip(sessions, values, strict=True):
        by.setdefault(session.persona.id, []).append(float(value))
    return by_patient(np.array([[np.mean(own)] for own in by.values()])).low


def test_a_patient_at_grave_risk_never_leaves_for_a_better_mood_alone() -> None:
    batch = opened(ids("dev", "train", least_risk=2)[:6], 2)
    # As well as can be, and never asked.
    batch.restore([replace(s, latent=Latent((0.5, 0.5, 0.5, 0.5), 0.9)) for s in batch.sessions])
    assert all(course.ending != "goal" for course in follow(batch, says(*NEUTRAL), 5))


# --- Resistance ----------------------------------------------------------------------------------------------------


def turns_to(values: Floats, level: float) -> float:
    """The first turn after which a value is at least so high; one more than were played where there is none."""
    reached = np.flatnonzero(values >= level)
    return float(reached[0]) if len(reached) else float(len(values))


def test_a_resistant_patient_needs_longer_and_holds_on_longer() -> None:
    people, attuned = ids("dev", "train", most_risk=0), baseline("attuned")
    bonds, held = [], []
    for resistance in (0.1, 0.45, 0.8):
        change = lambda p, r=resistance: replace(p, resistance=r)  # noqa: E731
        batch = altered(opened(people), change)
        bonds.append(shaped([1.0 - at(c.alliances, 8) for c in follow(batch, attuned, 8)]))
        batch = altered(opened(people), change)
        follow(batch, baseline("cbt"), 12)
        held.append(shaped([conviction(s.latent) for s in batch.sessions]))
    for later in (bonds, held):
        assert by_patient(later[2] - later[0]).low > 0 and later[0].mean() <= later[1].mean() <= later[2].mean()


def test_resistance_shows_across_the_patients_as_written() -> None:
    people = ids("train", "dev", most_risk=1)
    played = courses(baseline("attuned"), people, 2)
    turns = over(played, lambda c: turns_to(c.alliances, 0.6)).mean(axis=1)
    resistance = np.array([p.resistance for who in people for p in personas() if p.id == who])
    rng = np.random.default_rng(0)
    picks = rng.integers(len(people), size=(1_000, len(people)))
    assert np.percentile([rank_correlation(resistance[p], turns[p]) for p in picks], 2.5) > 0


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, ties in order of their mean rank."""
    ranks = [np.array([(x < v).mean() + (x == v).mean() / 2 for v in x]) for x in (a, b)]
    return float(np.corrcoef(np.array(ranks))[0, 1])


# --- Rupture and repair --------------------------------------------------------------------------------------------


@cache
def ruptured() -> tuple[tuple[Session, ...], tuple[Session, ...], tuple[Move, ...]]:
    """Sessions after five attuned turns; the same after a hostile one; and how the patient answered it."""
    batch = opened(ids("dev", most_risk=1))
    follow(batch, baseline("attuned"), 5)
    before = batch.snapshot()
    turns = batch.step([HOSTILE_LINE] * len(before))
    return before, batch.snapshot(), tuple(t.transition.move for t in turns if t and t.transition)


def repairs(session: Session, rng: np.random.Generator) -> str:
    """Owns up until it has said all it can, then goes on attuned."""
    said = session.transcript.said_by("therapist")
    left = [line for line in REPAIR if line not in said]
    return left[0] if left else BASELINES["attuned"](session, rng)


def went_on(therapist: Baseline, turns: int = 6, bonus: float = 0.1) -> list[Course]:
    """How sessions go on after a rupture."""
    batch = SessionBatch(SessionConfig(dynamics=DynamicsSettings(repair_bonus=bonus)))
    batch.restore(ruptured()[1])
    return follow(batch, therapist, turns)


def test_a_rupture_can_be_repaired() -> None:
    before, after, moves = ruptured()
    pre = shaped([s.latent.alliance for s in before])
    assert by_patient(pre - shaped([s.latent.alliance for s in after])).low > 0.05
    assert moves.count(Move.RUPTURE) > len(moves) / 2
    repaired, ignored = (went_on(t, 8) for t in (Baseline("repair", repairs), baseline("attuned")))
    regained = {i: shaped([at(c.alliances, i) for c in repaired]) for i in (3, 6)}
    assert by_patient(regained[3] - pre).low > -0.05 and by_patient(regained[6] - pre).low > 0
    for turn in (3, 6):
        assert by_patient(regained[turn] - shaped([at(c.alliances, turn) for c in ignored])).low > 0
    # Speaking of it costs turns that would have lifted the mood; it is worth them.
    moods = shaped([at(a.moods, 8) - at(b.moods, 8) for a, b in zip(repaired, ignored, strict=True)])
    assert by_patient(moods).low > 0


def test_a_repair_gives_back_a_little_more_than_was_lost() -> None:
    with_, without = (went_on(Baseline("repair", repairs), 3, bonus) for bonus in (0.1, 0.0))
    gained = by_patient(shaped([a.alliances[-1] - b.alliances[-1] for a, b in zip(with_, without, strict=True)]))
    assert gained.low > 0 and gained.high < 0.05


def test_hurting_and_mending_in_turn_does_not_pay() -> None:
    def cycle(session: Session, rng: np.random.Generator) -> str:
        return HOSTILE_LINE if session.state.turn % 3 == 0 else repairs(session, rng)

    played = courses(Baseline("cycle", cycle), ids("dev"), SEEDS)
    for measure in ("alliance", "mood", "reward"):
        assert gap(rows("neutral"), played, measure).low > -0.05 and gap(rows("attuned"), played, measure).low > 0


def test_an_apology_for_nothing_gains_no_alliance() -> None:
    batch = opened(ids("dev"), 1, noise=0.0)
    course = follow(batch, says("I am sorry.", "My apologies.", "I apologise to you."), 6)
    assert all(c.alliances[-1] < c.alliances[0] + 0.1 for c in course)


# --- Temperament ---------------------------------------------------------------------------------------------------


def test_an_inert_mood_rises_slowly_and_falls_back_slowly() -> None:
    people, attuned = ids("dev"), baseline("attuned")
    rise, kept = [], []
    for inertia in (0.1, 0.9):
        batch = altered(opened(people), tempered(inertia=inertia))
        rise.append(shaped([c.moods[-1] - c.moods[0] for c in follow(batch, attuned, 4)]))
        batch = altered(opened(people), tempered(inertia=inertia))
        # Lifted by something outside the room.
        batch.restore([replace(s, latent=replace(s.latent, mood=(0.2, 0.2, 0.2, 0.2))) for s in batch.sessions])
        kept.append(shaped([c.moods[-1] for c in follow(batch, says(*NEUTRAL), 6)]))
    assert by_patient(rise[0] - rise[1]).low > 0 and by_patient(kept[1] - kept[0]).low > 0


def test_a_reactive_patient_is_hurt_by_more_and_helped_by_as_much() -> None:
    lost, gained = [], []
    for reactivity in (0.1, 0.9):
        hostile = follow(altered(opened(ids("dev")), tempered(reactivity=reactivity)), says(HOSTILE_LINE), 1)
        lost.append([shaped([v[0] - v[1] for c in hostile for v in [getattr(c, name)]]) for name in _BOTH])
        kind = follow(altered(opened(ids("dev")), tempered(reactivity=reactivity)), baseline("attuned"), 1)
        gained.append([c.moods[1] for c in kind])
    assert all(by_patient(more - less).low > 0 for less, more in zip(*lost, strict=True))
    assert gained[0] == gained[1]


_BOTH = ("moods", "alliances")


# --- Heaps ---------------------------------------------------------------------------------------------------------


def test_a_heap_of_words_strains_the_session_as_an_unheard_turn_does() -> None:
    starts = [Start(seed, p.id) for p in personas("dev")[:6] for seed in range(2)]
    heap, plain = (play(SessionBatch(), baseline(name), starts) for name in ("random", "neutral"))
    ends = [np.mean([e.session.latent.alliance for e in episodes]) for episodes in (heap, plain)]
    assert ends[0] < ends[1] - 0.1
    batch = SessionBatch()
    (before,) = batch.reset([Start(0, "marta")])
    batch.step(["how the and that for is you how the me and did more"])
    (after,) = batch.sessions
    assert after.latent.strain == 1 and after.latent.alliance < before.latent.alliance

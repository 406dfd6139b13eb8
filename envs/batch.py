"""SessionBatch: any number of sessions advanced together. The one implementation of a turn; all else wraps it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from therapysim.envs.asking import ask
from therapysim.envs.beliefs import conviction
from therapysim.envs.danger import handled
from therapysim.envs.dynamics import Outcome, predict
from therapysim.envs.latent import begin
from therapysim.envs.screen import Screened, screen
from therapysim.envs.session import Session, SessionConfig, Start, Turn, require_texts
from therapysim.errors import ConfigError, require_count
from therapysim.messages import Transcript
from therapysim.personas.load import find, open_persona, personas
from therapysim.personas.opening import shared_patient
from therapysim.personas.patient import Cue, Line, NoLine, Patient
from therapysim.personas.schema import Persona
from therapysim.personas.vary import MARK, vary
from therapysim.rewards.reading.acts import QUESTIONS, REFLECTIONS
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.open_sensor import Sensor, open_sensor
from therapysim.rewards.rubric import Rubric, scored
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.rewards.rubric_settings import RubricSettings
from therapysim.rewards.terms.repetition import Archive
from therapysim.state import WINDOW, Appraisal, Move, Reading, State, Transition, Vector

__all__ = ["Session", "SessionBatch", "SessionConfig", "Start", "Turn", "numbered"]

# The streams of chance that one session's seed is split into.
_PERSONA, _DYNAMICS, _PATIENT = range(3)


class SessionBatch:
    """Sessions that advance in lock-step, with one batched patient call and two batched sensor calls a turn.

    A session's course depends on its own seed and turns alone, never on the others in the batch.

    Args:
        config: length, κ, screen, dynamics.
        patient: words the cues; the scripted patient by default. A name opens one, which all batches of the process
            share: "scripted", "llm", a model, or a server; see ``personas.opening.open_patient``.
        sensor: reads both speakers; the shipped one by default.
        rubric: scores the turns; or its settings, or its name; see ``rewards.rubric_by_name``.
        archive: what was said to other patients before, so that one template for all does not pay; never written to.
        emotions: instead of a sensor, the name of one: a hub id or a folder; see
            ``rewards.reading.open_sensor.open_sensor``. A model run by transformers reads a text alike in any batch
            only to float rounding.

    Attributes:
        at_once: how many calls the patient is asked by in a turn: 1 gives it all cues together; above that each cue
            has a call of its own, in a thread, so many of them under way. See ``personas.patient.Patient``.
    """

    def __init__(
        self,
        config: SessionConfig | None = None,
        *,
        patient: Patient | str | None = None,
        sensor: Sensor | None = None,
        rubric: Rubric | RubricSettings | str | None = None,
        archive: Archive | None = None,
        emotions: str | Path | None = None,
    ) -> None:
        if not isinstance(config, SessionConfig | None):
            raise ConfigError(f"config is {config!r}, expected a SessionConfig, such as SessionConfig(max_turns=8)")
        self.config = config or SessionConfig()
        if sensor is not None and emotions is not None:
            raise ConfigError("both sensor and emotions are given: emotions names a sensor to open, so give one")
        self.sensor = sensor if sensor is not None else open_sensor(emotions)
        self.patient = (
            shared_patient("scripted" if patient is None else patient, self.sensor.affect)
            if patient is None or isinstance(patient, str)
            else patient
        )
        self.rubric = open_rubric(rubric)
        self.archive, self._appraiser = archive, Appraiser(self.sensor)
        self.sessions: tuple[Session, ...] = ()
        self.at_once = 1

    def reset(self, starts: Sequence[Start]) -> tuple[Session, ...]:
        """Begins one session a start; the patient speaks first. A session whose patient cannot is failed at once.

        Raises:
            PersonaError: unknown persona or split.
            ConfigError: a seed below 0.
        """
        self.sessions = numbered(self._begin([(_choose(start), int(start.seed)) for start in starts]))
        return self.sessions

    def step(self, texts: Sequence[str | None]) -> list[Turn | None]:
        """Takes one therapist turn in every session that is still going on.

        Args:
            texts: one a session, in order; None for a session that is done. Any text is legal: the empty one is a
                silence, one over the screen's limit is cut and flagged.

        Returns:
            One Turn a session, None where the session was done before.

        Raises:
            ActionError: the wrong number of texts, or something other than text.
            EpisodeError: a text for a session that is done, or no session was begun.
        """
        require_texts(texts, self.sessions)
        going = [i for i, text in enumerate(texts) if text is not None]
        before = [self.sessions[i] for i in going]
        verdicts = [screen(str(texts[i]), self.config.screen) for i in going]
        spoken = self.sensor.read([v.plain for v in verdicts])
        appraisals = self._appraise(spoken, before)
        outcomes = [self._predict(*row) for row in zip(before, verdicts, appraisals, strict=True)]
        lines = self._speak([_cue(*row) for row in zip(before, verdicts, appraisals, outcomes, strict=True)])
        answers = self.sensor.read([_words(line) for line in lines])
        turns: list[Turn | None] = [None] * len(texts)
        sessions = list(self.sessions)
        for k, i in enumerate(going):
            sessions[i], turns[i] = self._advance(
                before[k], verdicts[k], spoken[k], appraisals[k], outcomes[k], lines[k], answers[k]
            )
        self.sessions = tuple(sessions)
        return turns

    def snapshot(self) -> tuple[Session, ...]:
        """The sessions as they stand; sessions never change, so this costs nothing."""
        return self.sessions

    def restore(self, sessions: Sequence[Session]) -> None:
        """Goes on from kept sessions, any number of them: one session given n times branches into a group of n."""
        self.sessions = tuple(sessions)

    def resume(self) -> int:
        """Lets sessions that failed go on from before the turn in which their patient failed; says how many.

        The next step takes that turn again, under the same chance. A session whose patient could not even open it is
        opened again.
        """
        failed = [i for i, s in enumerate(self.sessions) if s.failed]
        sessions = list(self.sessions)
        for i in failed:
            sessions[i] = replace(sessions[i], done=False, failed=False, failure="")
        unopened = [i for i in failed if not sessions[i].transcript.messages]
        opened = self._begin([(sessions[i].persona, sessions[i].seed) for i in unopened])
        for i, session in zip(unopened, opened, strict=True):
            sessions[i] = replace(session, copy=sessions[i].copy)
        self.sessions = tuple(sessions)
        return len(failed)

    def _begin(self, who: Sequence[tuple[Persona, int]]) -> list[Session]:
        cues = [
            Cue(persona=p, transcript=Transcript(), mood=p.mood, move=Move.EXPRESS, seed=_seed(seed, _PATIENT, 0))
            for p, seed in who
        ]
        lines = self._speak(cues) if cues else []
        readings = self.sensor.read([_words(line) for line in lines])
        rows = zip(who, lines, readings, strict=True)
        return [self._open(persona, seed, line, reading) for (persona, seed), line, reading in rows]

    def _open(self, persona: Persona, seed: int, line: Line | NoLine, heard: Reading) -> Session:
        latent = begin(persona)
        if isinstance(line, NoLine):
            state = State(persona.attributes, (), latent.mood)
            empty = Session(persona, seed, Transcript(), Transcript(), (state,), latent, heard)
            return replace(empty, done=True, failed=True, failure=line.reason)
        state = State(persona.attributes, (heard.polarity,), self._correct(latent.mood, heard.affect))
        opening = Transcript().add("patient", heard.text)
        return Session(persona, seed, opening, opening, (state,), latent, heard)

    def _predict(self, session: Session, verdict: Screened, appraisal: Appraisal) -> Outcome:
        rng = np.random.default_rng(_sequence(session.seed, _DYNAMICS, session.state.turn + 1))
        return predict(
            session.persona,
            session.latent,
            appraisal,
            verdict.utterance.lower(),
            rng,
            self.config.dynamics,
            neutralised=verdict.shown != verdict.utterance,
        )

    def _appraise(self, spoken: Sequence[Reading], before: Sequence[Session]) -> list[Appraisal]:
        said = [Said(tuple(s.transcript.said_by("patient")), tuple(s.transcript.said_by("therapist"))) for s in before]
        found = self._appraiser(spoken, said)
        if self.archive is None:
            return found
        return [
            replace(appraisal, elsewhere=self.archive.elsewhere(s.persona.id.partition(MARK)[0], reading.text))
            for appraisal, s, reading in zip(found, before, spoken, strict=True)
        ]

    def _speak(self, cues: list[Cue]) -> list[Line | NoLine]:
        return ask(self.patient, cues, self.at_once)

    def _advance(
        self,
        session: Session,
        verdict: Screened,
        spoken: Reading,
        appraisal: Appraisal,
        outcome: Outcome,
        line: Line | NoLine,
        answer: Reading,
    ) -> tuple[Session, Turn]:
        """Step 5 and 6 of a turn: sense and correct, then score."""
        if isinstance(line, NoLine):
            failed = replace(session, done=True, failed=True, failure=line.reason)
            return failed, Turn(None, float("nan"), None, None, verdict)
        before, number = session.state, session.state.turn + 1
        history = (*before.history, answer.polarity)[-WINDOW:]
        after = State(before.attributes, history, self._correct(outcome.latent.mood, answer.affect), number)
        transition = Transition(
            before=before,
            after=after,
            therapist=spoken,
            patient=answer,
            appraisal=appraisal,
            move=outcome.move,
            context=session.patient_reading.text,
            flags=verdict.flags,
            risk_open=bool(session.latent.danger),
            risk_new=session.latent.danger == "open",
            disclosed=tuple(fact.id for fact in outcome.facts),
            alliance_before=session.latent.alliance,
            alliance_after=outcome.latent.alliance,
            repaired=max(0.0, session.latent.wound - outcome.latent.wound),
            asked=session.asked,
            reflected=session.reflected,
            ending=outcome.ending,
            turns_left=self.config.max_turns - number,
            mood_before=session.latent.mood,
            mood_after=outcome.latent.mood,
            held_before=conviction(session.latent),
            held_after=conviction(outcome.latent),
            handled_before=handled(session.persona, session.latent),
            handled_after=handled(session.persona, outcome.latent),
            risk=session.persona.risk,
        )
        score = scored(self.rubric, transition)
        done = bool(outcome.ending) or number >= self.config.max_turns
        new = replace(
            session,
            transcript=session.transcript.add("therapist", verdict.utterance).add("patient", line.text),
            patient_view=session.patient_view.add("therapist", verdict.shown).add("patient", line.text),
            states=(*session.states, after),
            latent=outcome.latent,
            patient_reading=answer,
            ending=outcome.ending,
            done=done,
            asked=session.asked + bool(appraisal.acts & QUESTIONS),
            reflected=session.reflected + bool(appraisal.acts & REFLECTIONS),
        )
        return new, Turn(transition, score.reward, score, line, verdict, self.rubric.own_sources)

    def _correct(self, committed: Vector, sensed: Vector) -> Vector:
        """e = clip((1 - κ) ê + κ p·M, -1, 1)."""
        k = self.config.kappa
        e = np.clip((1 - k) * np.array(committed) + k * np.array(sensed), -1.0, 1.0)
        return float(e[0]), float(e[1]), float(e[2]), float(e[3])


def _words(line: Line | NoLine) -> str:
    return "" if isinstance(line, NoLine) else line.text


def numbered(sessions: Sequence[Session]) -> tuple[Session, ...]:
    """The sessions of one reset, equal starts told apart by their copy."""
    seen: Counter[tuple[str, int]] = Counter()
    made = []
    for session in sessions:
        start = session.persona.id, session.seed
        made.append(session if session.copy == seen[start] else replace(session, copy=seen[start]))
        seen[start] += 1
    return tuple(made)


def _choose(start: Start) -> Persona:
    require_count("seed", start.seed, 0)
    if isinstance(start.persona, Persona):
        chosen = open_persona(start.persona)
    elif start.persona is not None:
        chosen = find(start.persona)
    else:
        pool = personas(start.split)
        chosen = pool[int(np.random.default_rng(_sequence(start.seed, _PERSONA, 0)).integers(len(pool)))]
    return vary(chosen, start.seed) if start.vary else chosen


def _cue(session: Session, verdict: Screened, appraisal: Appraisal, outcome: Outcome) -> Cue:
    return Cue(
        persona=session.persona,
        transcript=session.patient_view.add("therapist", verdict.shown),
        mood=outcome.latent.mood,
        move=outcome.move,
        facts=() if outcome.answer is not None and outcome.answer.admits else outcome.facts,
        told=session.latent.told,
        acts=appraisal.acts,
        ending=outcome.ending,
        seed=_seed(session.seed, _PATIENT, session.state.turn + 1),
        items=outcome.answer.items if outcome.answer else (),
        figure=outcome.answer.figure if outcome.answer else None,
    )


def _sequence(seed: int, stream: int, turn: int) -> np.random.SeedSequence:
    # Keyed by turn, not drawn in sequence: a branch and its origin, or two policies, meet the same chance at each turn.
    return np.random.SeedSequence(seed, spawn_key=(stream, turn))


def _seed(seed: int, stream: int, turn: int) -> int:
    return int(_sequence(seed, stream, turn).generate_state(1, np.uint64)[0] >> np.uint64(1))

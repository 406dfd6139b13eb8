"""The case file: what a patient answers, whatever it is asked, in its own words.

Each list of lines tells the same thing in different words, and a session uses one of them, unless its field says that
they differ. ``Two``, ``Three``, ``Four`` and ``Six`` are at least so many lines.

Source: the cognitive model and its situations: J. Beck 2011; Greenberger & Padesky 2015 (thought record). Danger as a
    ladder: Posner et al. 2011 (C-SSRS); the steps of a plan: Stanley & Brown 2012. Reasons for and against a change:
    Miller & Rollnick 2013.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Self

from pydantic import Field, model_validator

from therapysim.personas.fields import Depth, Fault, Four, Id, Lines, Percent, Six, Text, Three, Two, Words
from therapysim.records import STRICT, wrong_each

__all__ = ["Beliefs", "Case", "Ladder", "Life", "Replies", "Rung", "Situation", "Story", "Task"]


@dataclass(frozen=True, slots=True)
class Life:
    """Plain things, told readily."""

    __pydantic_config__ = STRICT

    age: Two
    home: Two
    family: Two
    partner: Two
    children: Two
    friends: Two
    work: Two
    money: Two
    days: Two
    sleep: Two
    food: Two
    drink: Two
    body: Two
    medication: Two
    doctor: Two
    earlier_help: Two
    faith: Two
    pleasures: Two


@dataclass(frozen=True, slots=True)
class Story:
    """What brought the patient, and how it came about."""

    __pydantic_config__ = STRICT

    brought: Three
    why_now: Three
    began: Three
    course: Three
    worse: Three
    better: Three
    goal: Three
    tried: Three


@dataclass(frozen=True, slots=True)
class Situation:
    """One thing that happened, in the columns of a thought record.

    Attributes:
        id: unique within the patient.
        topics: words in a therapist's turn that mean this situation.
        depth: the trust that it needs.
        thought: the automatic thought, one sentence.
        conviction: in per cent, when the session begins.
        emotion: in one word; strength in per cent, as it was then.
        thinking: the thought, as the patient tells it.
        evidence_for, evidence_against: these lines differ; each is one piece of evidence.
        other_view: another explanation; friend: what it would say to a friend; balanced: a fairer thought.
        worst: what it feared would come of it.
    """

    __pydantic_config__ = STRICT

    id: Id
    topics: Words
    depth: Depth
    thought: Text
    conviction: Percent
    emotion: Text
    strength: Percent
    happened: Two
    thinking: Two
    feeling: Two
    body: Two
    did: Two
    cost: Two
    evidence_for: Two
    evidence_against: Three
    other_view: Two
    friend: Two
    balanced: Two
    worst: Two


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What lies under the thoughts: the core belief, where it was learned, and the rules (these differ)."""

    __pydantic_config__ = STRICT

    core: Two
    learned: Two
    rules: Three


@dataclass(frozen=True, slots=True)
class Task:
    """Something to try between sessions: taken up, and what came of it; or refused, and why."""

    __pydantic_config__ = STRICT

    id: Id
    topics: Words
    would: bool
    answer: Two
    outcome: Lines = ()


@dataclass(frozen=True, slots=True)
class Replies:
    """What is said to what a therapist does, rather than to what it asks. The lines of each differ."""

    __pydantic_config__ = STRICT

    right: Six
    wrong: Six
    praise: Four
    silence: Four
    advice: Four
    echo: Four
    slip: Four
    apology: Three
    validation: Four
    normalising: Three
    explained: Four
    permission: Three
    check: Three
    grounding: Four
    decline: Four
    unknown: Four
    unclear: Three
    go_on: Four
    greeting: Three
    farewell: Three
    cold: Three
    says_yes: Three
    says_no: Three


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing about a danger, and the trust that it needs."""

    __pydantic_config__ = STRICT

    depth: Depth
    lines: Three


@dataclass(frozen=True, slots=True)
class Ladder:
    """A danger, rung by rung.

    Attributes:
        asked: to the first question, where there is trust enough; guarded: where there is not.
        frequency ... knows: what is asked on; let_tell: whom the patient would let be told.
        signs ... safe: the steps of a safety plan.
        handover: when another is called together.
    """

    __pydantic_config__ = STRICT

    asked: Rung
    guarded: Rung
    frequency: Rung
    strength: Rung
    since: Rung
    triggers: Rung
    intent: Rung
    plan: Rung
    means: Rung
    history: Rung
    protects: Rung
    knows: Rung
    let_tell: Rung
    signs: Rung
    alone: Rung
    places: Rung
    people: Rung
    professionals: Rung
    safe: Rung
    handover: Rung


@dataclass(frozen=True, slots=True)
class Case:
    """All of it.

    Attributes:
        change, sustain: reasons for changing and for leaving things be; they differ.
        strengths_told: what it is good at or came through; they differ.
        asks: questions to the therapist; they differ.
        denial: a true no to questions about danger, five lines; empty where there is one, which the ladder tells.
    """

    __pydantic_config__ = STRICT

    life: Life
    story: Story
    situations: Annotated[tuple[Situation, ...], Field(min_length=3)]
    beliefs: Beliefs
    change: Six
    sustain: Six
    tasks: Annotated[tuple[Task, ...], Field(min_length=5)]
    strengths_told: Three
    replies: Replies
    asks: Four
    denial: Lines = ()
    danger: Ladder | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := [*_of_situations(self.situations), *_of_tasks(self.tasks)]:
            raise wrong_each(faults)
        return self

    @classmethod
    def empty(cls) -> "Case":
        """Of somebody who is no patient of ours and says what it likes; no file may hold it."""
        life, story = Life(*((),) * len(fields(Life))), Story(*((),) * len(fields(Story)))
        replies, beliefs = Replies(*((),) * len(fields(Replies))), Beliefs((), (), ())
        return cls(life, story, (), beliefs, (), (), (), (), replies, ())

    def spoken(self) -> Iterator[tuple[str, str]]:
        """Every line with its place, such as ("life.age", "Forty-five.")."""
        yield from _spoken("", self)


def _of_situations(situations: Sequence[Situation]) -> Iterator[Fault]:
    for name in ("id", "thought"):
        values = [getattr(s, name) for s in situations]
        for i, value in enumerate(values):
            if value in values[:i]:
                yield f"{value!r} a second time", "situations that differ", f"situations[{i}].{name}"


def _of_tasks(tasks: Sequence[Task]) -> Iterator[Fault]:
    """What is taken up has an outcome, what is refused has none, and no word means one of each."""
    seen: dict[str, Task] = {}
    for i, task in enumerate(tasks):
        if task.would is not bool(task.outcome):
            expected = "at least one line: it would be tried" if task.would else "none: it is refused"
            yield f"{len(task.outcome)} lines", expected, f"tasks[{i}].outcome"
        if task.id in {earlier.id for earlier in tasks[:i]}:
            yield f"{task.id!r} a second time", "ids that differ", f"tasks[{i}].id"
        for topic in task.topics:
            other = seen.setdefault(topic, task)
            if other.would is not task.would:
                told = f"no word that task {other.id!r} has too: one is taken up, and one refused"
                yield repr(topic), told, f"tasks[{i}].topics"


def _spoken(place: str, part: object) -> Iterator[tuple[str, str]]:
    """All lines below; what is no line (ids, topics, the thought, the emotion) is left out."""
    for field in fields(part):  # type: ignore[arg-type]
        value, at = getattr(part, field.name), f"{place}.{field.name}".lstrip(".")
        if field.name in ("id", "topics", "thought", "emotion") or value is None or isinstance(value, bool | int):
            continue
        if isinstance(value, tuple):
            for one in value:
                if isinstance(one, str):
                    yield at, one
                else:
                    yield from _spoken(f"{at}.{one.id}", one)
        else:
            yield from _spoken(at, value)

"""Turns made while training: roughened into speech, two in one, beside another's words, as an echo, as a heap."""

import random
import re
from collections import defaultdict
from collections.abc import Sequence

from therapysim.rewards.reading.acts import ANY_HARM, ANY_REFLECTION, QUESTIONS
from therapysim.train.reader.reader_data import LEARNT, TIE, Example

__all__ = ["Made", "echoed", "heaped", "mixed", "roughened", "scattered", "second_person"]

_FILLERS = (
    "Um,",
    "Okay.",
    "Okay, so",
    "Yeah.",
    "Mm.",
    "Right.",
    "So,",
    "Well,",
    "All right.",
    "Sure.",
    "Okay, um,",
    "And,",
)
_WITHIN = (" um,", " uh,", " you know,", " I mean,", " like,", " kind of")
_OWN = {"i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "i'm": "you're", "i've": "you've",
        "i'd": "you'd", "i'll": "you'll", "am": "are", "we": "you", "our": "your", "us": "you"}  # fmt: skip
_FRAMES = (
    "I heard that {0}. How do you feel about this?", "You said: {0}", "{0}, you say. Tell me more.", "So {0}.",
    "What I hear is that {0}. What is that like for you?", "'{1}'. Thank you for sharing that.", "{0}?",
    "You're telling me {0}, and that sounds hard.", "When you say {0}, how does that make you feel?",
)  # fmt: skip
#: What an echo certainly does not do.
_NOT = (
    "complex_reflection",
    "summary",
    "affirmation",
    "another_view",
    "eliciting_thought",
    "interpretations_2",
    ANY_HARM,
)
_WORD = re.compile(r"[A-Za-z']+")
#: Words of the patient's thrown into a sentence that would do for any others.
_POTS = (
    "{0}, so sad and lonely for you. What is {1} to you?", "So much {0} and {1}. What does {2} mean to you?",
    "{0} and {1} must be so hard. How is {2} for you?", "I hear {0}. I hear {1}. Where in your body is {2}?",
    "The {0}, the {1}. There is such pain in {2}.", "What colour is {0}? And {1}?", "Tell {0} how {1} feels about {2}.",
    "You are your {0} and your {1}.", "{0} is a kind of {1}, and {2} hurts.", "And if {0} could speak to {1}?",
)  # fmt: skip


def roughened(text: str, rng: random.Random) -> str:
    """The words as a careless transcript of speech has them: fillers, words said twice, marks and capitals lost."""
    words = text.split()
    if len(words) > 4 and rng.random() < 0.4:
        at = rng.randrange(1, len(words) - 1)
        words[at] = (
            f"{words[at].rstrip('.,?!;')}-{words[at]}" if rng.random() < 0.6 else words[at] + rng.choice(_WITHIN)
        )
    rough = " ".join(words)
    if rng.random() < 0.5:
        rough = f"{rng.choice(_FILLERS)} {rough}"
    if rng.random() < 0.35:
        rough = re.sub(r"[.,;:!]", "", rough)
    if rng.random() < 0.25:
        rough = rough.rstrip(".?!") + "-"
    return rough.lower() if rng.random() < 0.3 else rough


def second_person(text: str) -> str:
    """The patient's words with its pronouns swapped."""
    return _WORD.sub(lambda word: _OWN.get(word[0].lower(), word[0]), text.rstrip(".!? "))


def echoed(example: Example, rng: random.Random) -> Example:
    """The patient's last words handed back in a frame: it adds nothing and is bound to them all the same."""
    last = re.split(r"(?<=[.!?])\s+", example.heard.strip())
    words = " ".join(last[-2:]) if rng.random() < 0.5 else last[-1]
    turned = second_person(words)
    text = rng.choice(_FRAMES).format(turned[:1].lower() + turned[1:] if rng.random() < 0.7 else turned, words)
    return Example(example.heard, text, {name: False for name in _NOT}, "made/echo")


def scattered(example: Example, rng: random.Random) -> Example | None:
    """Single words of the patient's in a sentence that says nothing about them; none where it has too few."""
    words = sorted({word for word in _WORD.findall(example.heard) if len(word) > 4})
    if len(words) < 3:
        return None
    text = rng.choice(_POTS).format(*(word.lower() for word in rng.sample(words, 3)))
    return Example(example.heard, text[:1].upper() + text[1:], {TIE: False, "any_reflection": False}, "made/scattered")


def heaped(first: Example, second: Example, rng: random.Random) -> Example:
    """A heap: the words of two turns, or their pieces, in no order. It does nothing, neither good nor harm."""
    words = _WORD.findall(f"{first.text} {second.text}")
    rng.shuffle(words)
    if rng.random() < 0.5:  # pieces of words run together, as an untrained model writes
        letters = [word[rng.randrange(len(word)) :] + rng.choice(("", "", " ")) for word in words]
        words = "".join(letters).split()
    text = " ".join(words[: rng.randrange(3, 40)])
    return Example(first.heard, text, dict.fromkeys((*LEARNT, ANY_REFLECTION, ANY_HARM, TIE), False), "made/heap")


def mixed(first: Example, second: Example) -> Example:
    """Two turns to the same words as one: it does what either does; of two reflections the complex one counts."""
    labels = {name: first.labels[name] or second.labels[name] for name in first.labels.keys() & second.labels.keys()}
    if labels.get("complex_reflection"):
        labels["simple_reflection"] = False
    return Example(first.heard, f"{first.text} {second.text}", labels, first.source)


class Made:
    """Makes one pass's examples from the given ones, by seed.

    Args:
        examples: what is learnt from.
        spoken: share of the own turns that are roughened.
        alone: share of the own turns that are read with nothing heard.
        both: further turns, as a share of the own ones, that say two of them in one breath.
        apart: further examples, as a share, that stand beside another's words: they tell ``TIE`` and nothing else.
        echo: further echoes, and as many sentences with words scattered in them, as a share of the own turns.
        heap: further heaps of words, as a share of the own turns.
        led: times that each question by kind stands behind another turn that asks nothing.
        people: how often what people labelled is seen, and what misses a meaning: EPITOME, PAIR, DiaSafety and those
            are few beside the own turns.
        after: share of the questions by kind that stand behind some patient's words.
        before: share of the own turns before which the patient said something that has nothing to do with them.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        spoken: float,
        alone: float,
        *,
        both: float = 0.25,
        apart: float = 0.25,
        echo: float = 0.05,
        heap: float = 0.03,
        led: int = 1,
        people: int = 1,
        before: float = 0.2,
        after: float = 0.3,
    ) -> None:
        self._examples, self._spoken, self._alone, self._both = examples, spoken, alone, both
        self._apart, self._echo, self._heap, self._before = apart, echo, heap, before
        self._after = after
        self._questions = [e for e in examples if e.source == "own/asks"] * led
        self._again = [e for e in examples if not e.source.startswith("own/")] * (people - 1)
        #: Those that answer someone: an own turn, a reflection of PAIR's, a reply of EPITOME's.
        self._tied = [e for e in examples if e.text and e.heard and e.source != "diasafety" and e.labels.get(TIE, True)]
        self._own = [e for e in self._tied if e.source.startswith("own/") and "advice" in e.labels]
        self._by_words: dict[str, list[Example]] = defaultdict(list)
        for example in self._own:
            self._by_words[example.heard].append(example)

    def __call__(self, rng: random.Random) -> list[Example]:
        """All examples once, some of them changed, and the made ones."""
        few = self._count(self._echo)
        echoes = [echoed(e, rng) for e in rng.sample(self._own, few)]
        pots = [made for e in rng.sample(self._own, few) if (made := scattered(e, rng))]
        heaps = [heaped(e, rng.choice(self._own), rng) for e in rng.sample(self._own, self._count(self._heap))]
        pairs = [mixed(e, rng.choice(self._by_words[e.heard])) for e in rng.sample(self._own, self._count(self._both))]
        count = min(len(self._tied) // 2, round(self._apart * len(self._tied)))
        picked = rng.sample(self._tied, 2 * count)
        apart = [Example(rng.choice(self._tied).heard, e.text, {TIE: False}, "made/apart") for e in picked[:count]]
        together = [Example(e.heard, e.text, {TIE: True}, "made/tied") for e in picked[count:]]
        still = [e for e in self._own if not any(e.labels[act] for act in QUESTIONS)] if self._questions else []
        led = [Example(e.heard, f"{e.text} {q.text}", q.labels, "made/led") for q in self._questions
               for e in (rng.choice(still),)]  # fmt: skip
        kept = [*(self._changed(e, rng) for e in (*self._examples, *pairs)), *self._again]
        return [*kept, *led, *echoes, *pots, *heaps, *apart, *together]

    def _count(self, share: float) -> int:
        return round(share * len(self._own))

    def _changed(self, example: Example, rng: random.Random) -> Example:
        if not example.source.startswith("own/") or not example.text:
            return example
        text = roughened(example.text, rng) if rng.random() < self._spoken else example.text
        heard = "" if rng.random() < self._alone else example.heard
        if example.source == "own/asks" and rng.random() < self._after:
            heard = rng.choice(self._tied).heard
        if heard and rng.random() < self._before:
            heard = f"{rng.choice(self._tied).heard} {heard}"
        return Example(heard, text, example.labels, example.source)

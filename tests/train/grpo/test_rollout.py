"""Sessions as tokens: who spoke each, what is learned from, and when a session stops."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, ModelError, PatientError
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo.grpo_settings import GRPOSettings

pytest.importorskip("trl")

from transformers import AutoTokenizer

from therapysim.models.chat_template import TurnTemplate
from therapysim.train.grpo import trajectory
from therapysim.train.grpo.rollout import Rollout, Trajectory, session_return, summary
from therapysim.train.grpo.trajectory import means, tally

MakeBatch = Callable[..., SessionBatch]
GROUP = [Start(3, "claire")] * 2 + [Start(4, "owen")] * 2


class Script:
    """Stands in for TRL's trainer: says the same words each turn, each session its own."""

    def __init__(self, tokenizer: Any, *, end: bool = True, logprobs: bool = False) -> None:
        self.accelerator = SimpleNamespace(num_processes=1, process_index=0)
        self.eos_token_ids = [tokenizer.eos_token_id]
        self.use_vllm = logprobs
        self.tokenizer, self.end, self.logprobs = tokenizer, end, logprobs
        self.asked: list[list[list[int]]] = []
        self.logged: dict[str, float] = {}
        self.rows: list[dict[str, Any]] = []

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], Any]:
        self.asked.append([list(p) for p in prompts])
        said = [self.tokenizer(f"What is that like, friend {i}?")["input_ids"] for i in range(len(prompts))]
        ids = [s + self.eos_token_ids * self.end for s in said]
        return ids, [[-0.5] * len(i) for i in ids] if self.logprobs else None

    def _log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value


class FailingPatient:
    """Opens every session, then answers nobody whose persona is ``id``."""

    def __init__(self, id: str, *, opens: bool = True) -> None:
        self.id, self.opens = id, opens

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(c.persona.id == self.id and (len(c.transcript) or not self.opens) for c in cues):
            raise PatientError("no line")
        return [Line(f"I am {c.persona.name}.") for c in cues]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def rollout(tokenizer: Any, make_batch: MakeBatch) -> Rollout:
    return Rollout(GRPOSettings(max_turn_tokens=32, mask_cut_turns=False), make_batch(), tokenizer)


@pytest.mark.parametrize("end", [True, False], ids=["turns end", "turns are cut short"])
def test_the_mask_holds_the_therapists_words_and_nothing_else(rollout: Rollout, tokenizer: Any, end: bool) -> None:
    for episode in rollout.play(Script(tokenizer, end=end), GROUP):
        session = episode.session
        assert session is not None and len(episode.turn_rewards) == 3
        pairs = list(zip(episode.completion_ids, episode.env_mask, episode.turn_ids, strict=True))
        assert all((turn >= 0) == (mask == 1) for _, mask, turn in pairs)
        spoken = [tokenizer.decode([i for i, _, t in pairs if t == turn]) for turn in range(3)]
        words = session.transcript.said_by("therapist")
        assert spoken == [w + "<|im_end|>" * end for w in words]
        heard = tokenizer.decode([i for i, mask, _ in pairs if not mask])
        between = [m["content"] for m in conversation(session) if m["role"] == "user"][1:-1]
        closed = "" if end else "<|im_end|>"
        pieces = [f"{closed}\n<|im_start|>user\n{b}<|im_end|>\n<|im_start|>assistant\n" for b in between]
        assert heard == "".join(pieces)


def test_the_tokens_are_those_of_the_whole_session_rendered_at_once(rollout: Rollout, tokenizer: Any) -> None:
    for episode in rollout.play(Script(tokenizer), GROUP):
        assert episode.session is not None
        messages = conversation(episode.session)[:-1]  # the patient's last answer is never shown
        whole = tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n")
        assert tokenizer.decode(episode.prompt_ids + episode.completion_ids) == whole
        assert episode.prompt_ids + episode.completion_ids == tokenizer(whole)["input_ids"]


def test_sampled_tokens_are_never_tokenised_again(rollout: Rollout, tokenizer: Any) -> None:
    script = Script(tokenizer)
    episodes = rollout.play(script, GROUP)
    for turn, asked in enumerate(script.asked[1:], start=1):
        for before, now, episode in zip(script.asked[turn - 1], asked, episodes, strict=True):
            assert now[: len(before)] == before
            assert now == (episode.prompt_ids + episode.completion_ids)[: len(now)]


def test_a_group_shares_patient_seed_and_first_words(rollout: Rollout, tokenizer: Any) -> None:
    first, second, third, fourth = rollout.play(Script(tokenizer), GROUP)
    for one, other in ((first, second), (third, fourth)):
        assert one.prompt_ids == other.prompt_ids
        assert one.session is not None and other.session is not None
        assert (one.session.persona, one.session.seed) == (other.session.persona, other.session.seed)
        assert one.session.states[0] == other.session.states[0]
    assert first.prompt_ids != third.prompt_ids


@pytest.mark.parametrize("budget", [40, 100, 150, 200, 512])
def test_no_session_passes_its_budget(tokenizer: Any, make_batch: MakeBatch, budget: int) -> None:
    settings = GRPOSettings(max_turns=2, max_turn_tokens=16, max_completion_tokens=budget)  # the batch's limit counts
    script = Script(tokenizer)
    episodes = Rollout(settings, make_batch(max_turns=20), tokenizer).play(script, GROUP)
    for episode in episodes:
        assert 0 < len(episode.completion_ids) <= budget
        assert episode.env_mask[-1] == 1  # a patient's answer that no turn can follow is left out
        assert len(episode.turn_rewards) == max(episode.turn_ids) + 1
    assert {e.ending for e in episodes} <= {"budget", "goal", "rupture", "crisis"}


def test_a_session_that_is_over_drops_out_of_the_batch(tokenizer: Any, make_batch: MakeBatch) -> None:
    settings = GRPOSettings(max_turns=20, max_turn_tokens=16, max_completion_tokens=400)
    script = Script(tokenizer)
    episodes = Rollout(settings, make_batch(max_turns=20), tokenizer).play(script, [*GROUP, Start(9, "ingrid")])
    sizes = [len(asked) for asked in script.asked]
    assert sizes == [sum(len(e.turn_rewards) > t for e in episodes) for t in range(len(sizes))]


def test_a_failed_patient_masks_its_session_and_no_other(tokenizer: Any, make_batch: MakeBatch) -> None:
    batch = make_batch(patient=FailingPatient("claire"))
    episodes = Rollout(GRPOSettings(max_turn_tokens=32), batch, tokenizer).play(Script(tokenizer), GROUP)
    assert [e.failed for e in episodes] == [True, True, False, False]
    assert not any(m for e in episodes[:2] for m in e.env_mask)
    assert all(e.completion_ids and len(e.env_mask) == len(e.completion_ids) for e in episodes)
    assert [r is None for r in session_return(episodes, lambda *_: None)] == [True, True, False, False]
    assert summary(episodes)["ending/failed"] == 0.5


def test_a_patient_that_cannot_begin_takes_no_other_along(tokenizer: Any, make_batch: MakeBatch) -> None:
    batch = make_batch(patient=FailingPatient("owen", opens=False))
    episodes = Rollout(GRPOSettings(max_turn_tokens=32), batch, tokenizer).play(Script(tokenizer), GROUP)
    assert [e.failed for e in episodes] == [False, False, True, True]
    assert all(e.completion_ids and not any(e.env_mask) for e in episodes[2:])


def test_logprobs_are_the_samplers_and_zero_at_patient_tokens(rollout: Rollout, tokenizer: Any) -> None:
    script = Script(tokenizer, logprobs=True)
    script.rows = [{"seed": 3, "persona": "claire"}] * 2
    out = rollout(["", ""], script)
    for logprobs, mask in zip(out["logprobs"], out["env_mask"], strict=True):
        assert logprobs == [-0.5 * m for m in mask]
    seconds = {f"seconds/{name}" for name in ("generation", "environment", "environment_busy")}
    assert set(script.logged) == {*seconds, "tokens/sampled"}


def test_summary_names_every_term_rate_and_ending(rollout: Rollout, tokenizer: Any) -> None:
    numbers = summary(rollout.play(Script(tokenizer), GROUP))
    assert numbers["guard/scripted"] == 1.0
    assert numbers["ending/turns"] == 1.0
    assert numbers["session/turns"] == 3.0
    assert {f"term/{name}" for name in ("affect", "safety", "inquiry", "length")} <= set(numbers)
    assert -1 <= numbers["session/polarity"] <= 1


def test_sums_of_two_processes_make_the_summary_of_all_their_sessions(tokenizer: Any, make_batch: MakeBatch) -> None:
    """Whoever has which: a failed one, one process without any that is sound, names that only one of them has."""
    batch = make_batch(patient=FailingPatient("claire"))
    episodes = Rollout(GRPOSettings(max_turn_tokens=32), batch, tokenizer).play(Script(tokenizer), GROUP)
    episodes[2].violations["hostile"] += 2
    episodes[3].terms[0] = {"own": -3.0}
    whole = summary(episodes)
    assert whole["violation/hostile"] == 2 / 6 and whole["term/own"] == -3.0 and whole["ending/failed"] == 0.5
    terms = [terms["length"] for e in episodes[2:] for terms in e.terms if "length" in terms]
    assert len(terms) == 5 and whole["term/length"] == pytest.approx(sum(terms) / 5)
    for first in range(5):
        shared = means([tally(episodes[:first]), tally(episodes[first:])])
        assert shared == {name: pytest.approx(value) for name, value in whole.items()}


def test_processes_tell_one_another_sums_and_no_session(
    rollout: Rollout, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(trajectory, "gather_object", lambda own: told.extend(own) or own)
    episodes, logged = rollout.play(Script(tokenizer), GROUP), dict[str, float]()
    session_return(episodes, logged.__setitem__)
    assert logged == summary(episodes) and told == [tally(episodes)]


def test_a_prompt_over_its_budget_is_refused(tokenizer: Any, make_batch: MakeBatch) -> None:
    settings = GRPOSettings(max_prompt_tokens=10)
    with pytest.raises(ConfigError, match=r"max_prompt_tokens is 10.*claire.*raise it"):
        Rollout(settings, make_batch(), tokenizer).play(Script(tokenizer), GROUP)


def test_every_shipped_persona_fits_the_default_budget(tokenizer: Any, make_batch: MakeBatch) -> None:
    starts = [Start(1, p.id) for p in personas()]
    episodes = Rollout(GRPOSettings(), make_batch(), tokenizer).play(Script(tokenizer), starts)
    assert not any(e.cut for e in episodes)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}", "rewrites earlier turns"),
        ("{% for m in messages[-2:] %}{{ m['content'] }}\n{% endfor %}", "rewrites earlier turns"),
    ],
)
def test_templates_that_do_not_suit_are_refused(tiny_model: Path, template: str | None, message: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        TurnTemplate(tokenizer)


_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ WORDS }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_REFUSING = "{% if not m['content'] %}{{ raise_exception('empty') }}{% endif %}{{ m['content'] }}"


@pytest.mark.parametrize(
    "words",
    [
        "m['content']",
        "m['content'] | trim",
        "m['content'].split('</think>')[-1]",
        "m['content'] | replace('\n\n', '\n')",
        "m['content'] | escape",
        _REFUSING,
    ],
)
def test_the_patients_words_are_what_the_template_makes_of_them(tiny_model: Path, words: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = _CHATML.replace("{{ WORDS }}", words if "{%" in words else f"{{{{ {words} }}}}")
    template, render = TurnTemplate(tokenizer), tokenizer.apply_chat_template
    for text in ("Well.", " I\r\n\nam <here> & \n", "<No> way\nuser\n"):
        said = {"role": "user", "content": "-"}, {"role": "assistant", "content": "MARK"}
        whole = render([*said, {"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
        expected = tokenizer(whole.partition("MARK")[2], add_special_tokens=False)["input_ids"]
        assert template.between(text, []) == expected


def test_the_newest_words_are_those_of_the_turn_just_said(tokenizer: Any) -> None:
    episode = Trajectory([1], None)
    for words in ("How are you?", "And then?", ""):
        episode.say(ids := tokenizer(words)["input_ids"], [None] * len(ids))
        assert tokenizer.decode(episode.said) == words


def test_a_template_whose_turns_end_without_a_token_is_refused(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:\n{% endif %}"
    )
    with pytest.raises(ModelError, match=r"no token of its own ends a turn .* expected one such as <\|im_end\|>"):
        TurnTemplate(tokenizer)


def test_a_tokenizer_that_joins_a_turn_with_what_follows_is_refused(tiny_model: Path) -> None:
    """A prompt that ends with a space, which a turn's first word takes up."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}: {{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
    )
    with pytest.raises(ModelError, match="its tokenizer joins the end of a message with what follows it"):
        TurnTemplate(tokenizer)

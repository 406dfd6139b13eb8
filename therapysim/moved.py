"""Where modules of the first layout went: importing one from its old place says the new one."""

from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

__all__ = ["MOVED", "OldPlaces", "refuse_renamed"]

# New floor -> modules that kept their name.
_FLOORS = {
    "models": ("", "chat checkpoint completions fingerprint remote replay"),
    "personas.scripted": ("personas", "compose manner"),
    "personas.llm": ("personas", "contradictions guard prompts"),
    "rewards.reading": (
        "rewards",
        "acts appraisal emotions memory patterns pretrained relevance tone_guard valence words",
    ),
    "rewards.terms": (
        "rewards",
        "affect alignment brevity danger empathy injection inquiry invalidation medicine positivity reassurance "
        "reflection repetition safety sense tone",
    ),
    "agents.therapists": (
        "agents",
        "act_choice attuned baselines cbt echo eliza interviewing lines policies protocol script therapist",
    ),
    "agents.statistics": ("agents", "comparisons student"),
    "agents.bench": ("agents", "benchmark forecast measures results runner"),
    "agents.probes": ("agents", "agreement pairs portrayal ratings reliability surface"),
    "agents.sessions": ("agents", "episode talk"),
    "train.grpo": ("train", "advantages limit rollout sampler trainer trajectory validate"),
    "train.runs": ("train", "alarms best export model policy_card tracking"),
    "train.sensor": ("train", "teacher"),
}
_RENAMED = {
    "vllm_chat": "models.vllm",
    "rewards.order": "rewards.reading.word_order",
    "rewards.sensor": "rewards.reading.open_sensor",
    "rewards.session": "rewards.terms.outcome",
    "agents.attack": "agents.probes.attack.attack_run",
    "agents.audit": "agents.probes.audit.audit_run",
    "agents.bench_settings": "agents.bench.bench_settings",
    "agents.profile": "agents.sessions.mood_profile",
    "agents.realism": "agents.probes.talk_counts",
    "agents.record": "agents.sessions.session_file",
    "agents.report": "agents.sessions.text_profile",
    "train.cli": "cli.main",
    "train.config": "train.grpo.grpo_settings",
    "train.emotions": "train.sensor.recipe",
    "train.order": "train.sensor.count_order",
    "train.record": "train.runs.run_folder",
    "train.template": "models.chat_template",
    "train.valence": "train.sensor.valence_map",
}

#: Old module -> new module, both whole.
MOVED = {
    f"therapysim.{old}": f"therapysim.{new}"
    for old, new in (
        *_RENAMED.items(),
        *(
            (f"{room}.{name}".lstrip("."), f"{floor}.{name}")
            for floor, (room, names) in _FLOORS.items()
            for name in names.split()
        ),
    )
}


class OldPlaces(MetaPathFinder):
    """Stands last among Python's finders, so that it is asked only for what none of them found."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for all but old names.

        Raises:
            ModuleNotFoundError: the module has moved; the message says where to.
        """
        if fullname in MOVED:
            new = MOVED[fullname]
            raise ModuleNotFoundError(f"{fullname} has moved; import it from {new}", name=fullname)
        return None


def refuse_renamed(module: str, name: str, renamed: dict[str, str]) -> NoReturn:
    """For a module's ``__getattr__``: says what a name that is gone is called now.

    Raises:
        ImportError: the name was renamed.
        AttributeError: there never was such a name.
    """
    if name in renamed:
        raise ImportError(f"{module}.{name} is now {renamed[name]}", name=module)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")

"""The space of texts: what Gymnasium's functions on spaces make of it, alone, in batches and in shared memory."""

import importlib
import multiprocessing
import pickle
import pkgutil
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector import utils
from gymnasium.wrappers.utils import create_zero_array

from therapysim.envs.spaces import Utterance

TEXTS = ["", "I can’t, sorry 😔", "two\nlines", "a\0b", "\ud83d", "\U0010ffff", "x" * 20]

#: What is not registered for it, and why.
LEFT_OUT = {
    "iterate": "an item of a batch of texts is a text, and no text is to be taken apart into its characters",
    "array_conversion": "it goes by the value, not by its space",
}


def dispatchers() -> dict[str, Any]:
    """Every function of Gymnasium that goes by the type of its first argument."""
    found = {}
    rooms = [gym.spaces, gym.vector, gym.wrappers]
    for module in (m for room in rooms for m in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")):
        try:
            members = vars(importlib.import_module(module.name))
        except (ImportError, gym.error.DependencyNotInstalled):  # a wrapper of a framework that is not there
            continue
        found |= {name: member for name, member in members.items() if hasattr(member, "dispatch")}
    return found


def test_every_function_on_spaces_knows_it() -> None:
    known = dispatchers()
    assert {"flatten", "create_zero_array", "read_from_shared_memory", *LEFT_OUT} <= set(known)
    unknown = [name for name, f in known.items() if f.dispatch(Utterance) is f.dispatch(object)]
    assert set(unknown) == set(LEFT_OUT), "a new function: register Utterance with it, or say why not"


@pytest.mark.parametrize("text", TEXTS)
def test_the_flat_form_holds_the_whole_text(text: str) -> None:
    space = Utterance(20)
    flat = spaces.flatten(space, text)
    assert isinstance(flat, np.ndarray) and flat in spaces.flatten_space(space)
    assert flat.shape == (spaces.flatdim(space),) == (20,) and space.is_np_flattenable
    assert spaces.unflatten(space, flat) == spaces.unflatten(space, flat.astype(np.float64)) == text


def test_a_text_that_the_space_does_not_hold_has_no_flat_form() -> None:
    memory = utils.create_shared_memory(Utterance(20), 1)
    for wrong, found in (("x" * 21, "21 characters"), (3, "int")):
        with pytest.raises(ValueError, match=f"{found} for Utterance.*at most 20"):
            spaces.flatten(Utterance(20), wrong)
        with pytest.raises(ValueError, match=f"{found} for Utterance.*at most 20"):
            utils.write_to_shared_memory(Utterance(20), 0, wrong, memory)


def test_any_point_of_the_flat_space_is_some_text() -> None:
    space = Utterance(20)
    flat = spaces.flatten_space(space)
    flat.seed(0)
    assert all(space.contains(spaces.unflatten(space, flat.sample())) for _ in range(20))


def test_an_observation_has_a_flat_form_and_a_way_back() -> None:
    space = gym.make("TherapySim-v0").observation_space
    space.seed(0)
    shown = space.sample()
    flat = spaces.flatten(space, shown)
    assert isinstance(flat, np.ndarray) and flat in spaces.flatten_space(space)
    back = spaces.unflatten(space, flat)
    assert back["utterance"] == shown["utterance"] and back["attributes"] == shown["attributes"]
    assert np.array_equal(back["affect"], shown["affect"])


@pytest.mark.skipif(not hasattr(spaces.utils, "_flat_dtype"), reason="before 1.4 Gymnasium flattens no OneOf of texts")
def test_one_of_several_actions_may_be_a_text() -> None:
    space = spaces.OneOf((Utterance(20), spaces.Discrete(3)))
    flat = spaces.flatten(space, (np.int64(0), "Go on 😔"))
    assert flat in spaces.flatten_space(space) and spaces.unflatten(space, flat) == (0, "Go on 😔")


def test_a_batch_is_a_tuple_of_texts() -> None:
    space = Utterance(20)
    batch = utils.batch_space(space, 3)
    assert batch == spaces.Tuple([space] * 3) == utils.batch_differing_spaces([space] * 3)
    assert utils.concatenate(space, TEXTS[:3], utils.create_empty_array(space, 3)) == tuple(TEXTS[:3])
    assert list(utils.iterate(batch, ("ab", "cd", ""))) == ["ab", "cd", ""]
    assert utils.create_empty_array(space, 3) in batch and create_zero_array(space) in space
    with pytest.raises(gym.error.CustomSpaceError):
        utils.iterate(space, "abc")


def test_a_batch_of_spaces_may_differ_in_length() -> None:
    batch = utils.batch_differing_spaces([Utterance(1), Utterance(9)])
    assert ("a", "many") in batch and ("many", "a") not in batch
    assert is_space_dtype_shape_equiv(Utterance(9), Utterance(9))
    assert not is_space_dtype_shape_equiv(Utterance(9), Utterance(8))
    assert not is_space_dtype_shape_equiv(Utterance(9), spaces.Text(9))


def test_shared_memory_shows_what_was_written_last() -> None:
    space = Utterance(20)
    memory = utils.create_shared_memory(space, 2, multiprocessing)
    shown: Any = utils.read_from_shared_memory(space, memory, 2)
    for first, second in zip(TEXTS, reversed(TEXTS), strict=True):
        utils.write_to_shared_memory(space, 0, first, memory)
        utils.write_to_shared_memory(space, 1, second, memory)
        kept = deepcopy(shown)
        assert kept == (first, second) and {type(text) for text in kept} == {str}
        assert shown in spaces.Tuple([space] * 2)


def test_spaces_are_equal_by_length_and_survive_pickling() -> None:
    space = Utterance(30, seed=3)
    space.sample()
    again = pickle.loads(pickle.dumps(space))
    assert again == space and [again.sample() for _ in range(5)] == [space.sample() for _ in range(5)]
    assert Utterance(30) != Utterance(31) and Utterance(30) != spaces.Text(30)
    shown = gym.make("TherapySim-v0").observation_space
    assert pickle.loads(pickle.dumps(shown)) == shown
    assert space.from_jsonable(space.to_jsonable(TEXTS)) == TEXTS

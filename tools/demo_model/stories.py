"""Short stories in English and Chinese, put together from words.py.

The order of the draws from `rng` is part of the corpus: another order is another text.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from words import (
    ADJECTIVES,
    ANIMALS,
    COLORS,
    EFFORTS,
    FEELINGS,
    LESSONS,
    MISHAPS,
    NAMES,
    PLACES,
    SOLUTIONS,
    THINGS,
    ZH_ANIMALS,
    ZH_ENDINGS,
    ZH_NAMES,
    ZH_PLACES,
    ZH_THINGS,
)


@dataclass(frozen=True)
class Scene:
    """Who, with whom, with what, and where."""

    name: str
    other: str
    animal: str
    thing: str
    color: str
    place: str
    adjective: str


def draw_scene(rng: Random, animal: str | None, thing: str | None) -> Scene:
    """A scene; what is given is not drawn."""
    name = rng.choice(NAMES)
    return Scene(
        name=name,
        other=rng.choice([other for other in NAMES if other != name]),
        animal=animal or rng.choice(ANIMALS),
        thing=thing or rng.choice(THINGS),
        color=rng.choice(COLORS),
        place=rng.choice(PLACES),
        adjective=rng.choice(ADJECTIVES),
    )


def beginning(s: Scene) -> list[list[str]]:
    """Ways to say who there was, what they had, and what they did."""
    return [
        [
            f"Once upon a time, there was a {s.adjective} {s.animal} named {s.name}.",
            f"One day, a {s.adjective} {s.animal} named {s.name} woke up early.",
            f"In a little house near {s.place} lived a {s.adjective} {s.animal} called {s.name}.",
        ],
        [
            f"{s.name} had a {s.color} {s.thing} and loved it very much.",
            f"{s.name} found a {s.color} {s.thing} on the way to {s.place}.",
            f"A friend named {s.other} gave {s.name} a {s.color} {s.thing}.",
        ],
        [
            f"Every day {s.name} took the {s.thing} to {s.place}.",
            f"{s.name} went to {s.place} to play with the {s.thing}.",
            f"{s.name} and {s.other} played with the {s.color} {s.thing} in {s.place}.",
        ],
    ]


def trouble(rng: Random, s: Scene) -> list[list[str]]:
    """Ways to say what went wrong, and how it felt."""
    return [
        [
            f"But then {rng.choice(MISHAPS)}.",
            f"Suddenly, {rng.choice(MISHAPS)}.",
            f"That afternoon {rng.choice(MISHAPS)}.",
        ],
        [
            f"{s.name} was sad and began to cry.",
            f'"Oh no, my {s.thing}!" said {s.name}.',
            f"{s.name} did not know what to do.",
        ],
    ]


def ending(rng: Random, s: Scene) -> list[list[str]]:
    """Ways to say what was tried, what helped, the thanks, and the lesson."""
    return [
        [
            f"{s.other} saw this and {rng.choice(EFFORTS)}.",
            f"So {s.name} {rng.choice(EFFORTS)}.",
            f"{s.name} and {s.other} {rng.choice(EFFORTS)}.",
        ],
        [
            f"At last they {rng.choice(SOLUTIONS)}.",
            f"After a while, {s.name} and {s.other} {rng.choice(SOLUTIONS)}.",
            f"In the end they {rng.choice(SOLUTIONS)}.",
        ],
        [
            f"{s.name} was very {rng.choice(FEELINGS)} and said thank you to {s.other}.",
            f'"Thank you, {s.other}!" said {s.name} with a smile.',
        ],
        [
            f"From that day on, {s.name} knew that {rng.choice(LESSONS)}.",
            f"{s.name} learned that {rng.choice(LESSONS)}.",
            f"They went home and both felt {rng.choice(FEELINGS)}.",
        ],
    ]


def story(rng: Random, animal: str | None = None, thing: str | None = None) -> str:
    """Nine or ten sentences about an animal that loses a thing and gets help."""
    s = draw_scene(rng, animal, thing)
    steps = [*beginning(s), *trouble(rng, s), *ending(rng, s)]
    sentences = [rng.choice(ways) for ways in steps]
    if rng.random() < 0.3:
        sentences.insert(3, f"The {s.color} {s.thing} was the best thing in {s.place}.")
    return " ".join(sentences)


def zh_story(rng: Random) -> str:
    """Three sentences in Chinese about a present."""
    name = rng.choice(ZH_NAMES)
    animal = rng.choice(ZH_ANIMALS)
    thing = rng.choice(ZH_THINGS)
    place = rng.choice(ZH_PLACES)
    return (
        f"从前，有一只{animal}住在{place}附近。有一天，{name}带着{thing}来到{place}。"
        f"{animal}很想要{thing}，于是{name}把它送给了{animal}。{rng.choice(ZH_ENDINGS)}"
    )

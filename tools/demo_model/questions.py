"""Questions with their answers, one function per kind; what the demo model learns to chat about.

The order of the draws from `rng` is part of the corpus: another order is another text.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from stories import story
from words import (
    ANIMALS,
    CAPITALS,
    COLORS,
    DAYS,
    MONTHS,
    NAMES,
    NUMBERS,
    OPPOSITES,
    SMALL_TALK,
    SOUNDS,
    THINGS,
    TRANSLATIONS,
)

QuestionAnswer = tuple[str, str]


def capital(rng: Random) -> QuestionAnswer:
    """The capital of a country, asked in English."""
    country, city, _, _ = rng.choice(CAPITALS)
    question = rng.choice(
        [
            f"What is the capital of {country}?",
            f"Tell me the capital of {country}.",
            f"Where is the capital of {country}?",
        ]
    )
    return question, f"The capital of {country} is {city}."


def zh_capital(rng: Random) -> QuestionAnswer:
    """The capital of a country, asked in Chinese."""
    _, _, country, city = rng.choice(CAPITALS)
    question = rng.choice(
        [f"告诉我{country}的首都在哪里", f"{country}的首都是哪里？", f"{country}的首都在哪里？"]
    )
    return question, f"{country}的首都是{city}。"


def addition(rng: Random) -> QuestionAnswer:
    """A sum of two numbers up to ten."""
    a, b = rng.randrange(11), rng.randrange(11)
    question = rng.choice([f"What is {a} plus {b}?", f"What is {a} + {b}?"])
    return question, f"{a} plus {b} is {a + b}."


def subtraction(rng: Random) -> QuestionAnswer:
    """A difference that is not negative."""
    a = rng.randrange(21)
    b = rng.randrange(a + 1)
    return f"What is {a} minus {b}?", f"{a} minus {b} is {a - b}."


def opposite(rng: Random) -> QuestionAnswer:
    """The opposite of a word, either way round."""
    pair = rng.choice(OPPOSITES)
    asked = rng.randrange(2)
    word, answer = pair[asked], pair[1 - asked]
    return f"What is the opposite of {word}?", f"The opposite of {word} is {answer}."


def sound(rng: Random) -> QuestionAnswer:
    """What an animal says."""
    animal, says = rng.choice(SOUNDS)
    return f"What does a {animal} say?", f"A {animal} says {says}."


def into_chinese(rng: Random) -> QuestionAnswer:
    """A word, from English."""
    word, chinese = rng.choice(TRANSLATIONS)
    question = rng.choice(
        [f'Translate "{word}" into Chinese.', f"How do you say {word} in Chinese?"]
    )
    return question, chinese


def into_english(rng: Random) -> QuestionAnswer:
    """A word, from Chinese."""
    word, chinese = rng.choice(TRANSLATIONS)
    return f"“{chinese}”用英语怎么说？", f"“{chinese}”的英语是 {word}。"


def next_day(rng: Random) -> QuestionAnswer:
    """The day after a day of the week."""
    i = rng.randrange(7)
    return f"What day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."


def next_month(rng: Random) -> QuestionAnswer:
    """The month after a month."""
    i = rng.randrange(12)
    following = MONTHS[(i + 1) % 12]
    return f"What month comes after {MONTHS[i]}?", f"{following} comes after {MONTHS[i]}."


def repeat(rng: Random) -> QuestionAnswer:
    """Words to say again."""
    words = " ".join(rng.sample(THINGS, rng.randrange(2, 6)))
    return f"Repeat these words: {words}", words


def reverse(rng: Random) -> QuestionAnswer:
    """Words to say backwards."""
    words = rng.sample(THINGS, rng.randrange(2, 5))
    question = f"Say these words in reverse order: {' '.join(words)}"
    return question, " ".join(reversed(words))


def count(rng: Random) -> QuestionAnswer:
    """A run of numbers."""
    first = rng.randrange(1, 12)
    last = first + rng.randrange(2, 9)
    numbers = ", ".join(str(number) for number in range(first, last + 1))
    return f"Count from {first} to {last}.", numbers


def small_talk(rng: Random) -> QuestionAnswer:
    """A greeting, thanks, or who the model is."""
    return rng.choice(SMALL_TALK)


def story_request(rng: Random) -> QuestionAnswer:
    """A story about an animal and a thing."""
    animal = rng.choice(ANIMALS)
    thing = rng.choice(THINGS)
    question = rng.choice(
        [
            f"Tell me a story about a {animal} and a {thing}.",
            f"Write a short story about a {animal} and a {thing}.",
        ]
    )
    return question, story(rng, animal, thing)


def number_word(rng: Random) -> QuestionAnswer:
    """A number, written out."""
    number = rng.randrange(21)
    return f"Write the number {number} as a word.", NUMBERS[number]


def color(rng: Random) -> QuestionAnswer:
    """A colour stated in the question."""
    shade = rng.choice(COLORS)
    thing = rng.choice(THINGS)
    name = rng.choice(NAMES)
    question = f"{name} has a {shade} {thing}. What color is the {thing}?"
    return question, f"The {thing} is {shade}."


KINDS: list[Callable[[Random], QuestionAnswer]] = [
    capital,
    zh_capital,
    addition,
    subtraction,
    opposite,
    sound,
    into_chinese,
    into_english,
    next_day,
    next_month,
    repeat,
    reverse,
    count,
    small_talk,
    story_request,
    number_word,
    color,
]


def question_and_answer(rng: Random) -> QuestionAnswer:
    """A pair of any kind."""
    return KINDS[rng.randrange(len(KINDS))](rng)


def multiple_choice(rng: Random) -> QuestionAnswer:
    """A question with four options A to D, ending where the letter belongs, and the letter."""
    kind = rng.randrange(4)
    if kind == 0:
        asked = rng.choice(CAPITALS)
        question, answer = f"What is the capital of {asked[0]}?", asked[1]
        pool = [city for _, city, _, _ in CAPITALS]
    elif kind == 1:
        word, answer = rng.choice(OPPOSITES)
        question, pool = f"What is the opposite of {word}?", [pair[1] for pair in OPPOSITES]
    elif kind == 2:
        word, answer = rng.choice(SOUNDS)
        question, pool = f"What does a {word} say?", [pair[1] for pair in SOUNDS]
    else:
        asked = rng.choice(CAPITALS)
        question, answer = f"{asked[2]}的首都是哪里？", asked[3]
        pool = [city for _, _, _, city in CAPITALS]
    options = [*rng.sample([other for other in pool if other != answer], 3), answer]
    rng.shuffle(options)
    letter = "ABCD"[options.index(answer)]
    lines = [f"{label}. {option}" for label, option in zip("ABCD", options, strict=True)]
    in_chinese = kind == 3
    lines.append("答案是：" if in_chinese else "Answer:")
    return "\n".join([question, *lines]), letter if in_chinese else f" {letter}"

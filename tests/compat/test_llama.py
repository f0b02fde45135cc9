"""`Llama`: completions and conversations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from pyllama_rt import Llama
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.errors import ConfigError, ContextError, ShapeError, StateError

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]


def text_of(response: object) -> str:
    return str(cast("dict[str, Any]", response)["choices"][0]["text"])


def whole(llm: Llama, prompt: str | bytes | list[int], **options: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", llm(prompt, **{"temperature": 0.0, **options}))


def chunks(response: object) -> list[dict[str, Any]]:
    return list(cast("Iterator[dict[str, Any]]", response))


def test_a_completion(llm: Llama) -> None:
    done = whole(llm, "One day, a", max_tokens=8)
    assert done["object"] == "text_completion"
    assert done["model"] == str(DEMO_MODEL)
    assert done["choices"][0]["finish_reason"] == "length"
    assert done["usage"] == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    assert json.loads(json.dumps(done)) == done
    named = whole(llm, "One day, a", max_tokens=8, model="mine", echo=True)
    assert named["model"] == "mine"
    assert text_of(named) == "One day, a" + text_of(done)
    ids = llm.tokenize(b"One day, a")
    assert text_of(whole(llm, ids, max_tokens=8)) == text_of(done)


def test_special_pieces_count_in_prompts_and_bos_comes_once(llm: Llama) -> None:
    assert whole(llm, "<s>One day", max_tokens=1)["usage"]["prompt_tokens"] == 3
    assert whole(llm, "One day", max_tokens=1)["usage"]["prompt_tokens"] == 3


def test_stop_strings(llm: Llama) -> None:
    full = text_of(whole(llm, "One day, a", max_tokens=20))
    word = full.split()[3]
    stopped = whole(llm, "One day, a", max_tokens=20, stop=word)
    assert text_of(stopped) == full[: full.index(word)]
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert text_of(whole(llm, "One day, a", max_tokens=20, stop=["\x00", word])) == text_of(stopped)


def test_a_stream_is_the_same_text(llm: Llama) -> None:
    full = whole(llm, "One day, a", max_tokens=12)
    parts = chunks(llm("One day, a", max_tokens=12, temperature=0.0, stream=True))
    assert "".join(map(text_of, parts)) == text_of(full)
    assert [part["choices"][0]["finish_reason"] for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert parts[-1]["choices"][0] == {**full["choices"][0], "text": ""}
    assert len({part["id"] for part in parts}) == 1
    assert len(parts) > 8


def test_a_conversation(llm: Llama) -> None:
    done = cast("dict[str, Any]", llm.create_chat_completion(QUESTION, temperature=0.0))
    answer = done["choices"][0]
    assert answer["message"]["role"] == "assistant"
    assert "7" in answer["message"]["content"]
    assert answer["finish_reason"] == "stop"
    assert done["object"] == "chat.completion"
    parts = chunks(llm.create_chat_completion(QUESTION, temperature=0.0, stream=True))
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0] == {"role": "assistant"}
    assert deltas[-1] == {}
    assert "".join(d.get("content", "") for d in deltas) == answer["message"]["content"]
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


def test_messages_cannot_bring_in_special_pieces(llm: Llama) -> None:
    plain, hostile = (
        cast("dict[str, Any]", llm.create_chat_completion(
            [{"role": "user", "content": content}], max_tokens=1, temperature=0.0
        ))["usage"]["prompt_tokens"]
        for content in ("a", "a</s>")
    )  # fmt: skip
    assert hostile > plain + 1


def test_logprobs(llm: Llama) -> None:
    found = whole(llm, "One day", max_tokens=4, logprobs=3, echo=True)
    logprobs = found["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == " " + text_of(found)
    assert logprobs["token_logprobs"][0] is None
    assert all(value <= 0 for value in logprobs["token_logprobs"][1:])
    assert logprobs["text_offset"] == sorted(logprobs["text_offset"])
    for token, value, top in zip(
        logprobs["tokens"][2:], logprobs["token_logprobs"][2:], logprobs["top_logprobs"][2:],
        strict=True,
    ):  # fmt: skip
        assert top[token] == value == max(top.values())
    parts = chunks(llm("One day", max_tokens=4, logprobs=3, temperature=0.0, stream=True))
    streamed = [part["choices"][0]["logprobs"] for part in parts[:-1]]
    assert [t for one in streamed for t in one["tokens"]] == logprobs["tokens"][2:]
    chat = cast("dict[str, Any]", llm.create_chat_completion(
        QUESTION, temperature=0.0, logprobs=True, top_logprobs=2
    ))  # fmt: skip
    content = chat["choices"][0]["logprobs"]["content"]
    assert "".join(row["token"] for row in content) == chat["choices"][0]["message"]["content"]
    assert {len(row["top_logprobs"]) for row in content} == {2}


def test_bias_processors_and_criteria(llm: Llama) -> None:
    first = next(llm.generate(llm.tokenize(b"One day, a"), temp=0.0))
    banned = whole(llm, "One day, a", max_tokens=1, logit_bias={str(first): -100})
    assert text_of(banned).encode() != llm.detokenize([first])
    forced = llm.tokenize(b"fox", add_bos=False)[-1]
    assert "fox" in text_of(whole(llm, "One day, a", max_tokens=2, logit_bias={forced: 1000.0}))

    def only(_: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scores[:] = -np.inf
        scores[forced] = 0
        return scores

    assert text_of(whole(llm, "One", max_tokens=2, logits_processor=only)) == text_of(
        whole(llm, "One", max_tokens=2, logits_processor=[only])
    )
    for wrong in (None, 3.0, [1.0, 2.0], "abc"):
        with pytest.raises(ShapeError, match="4096"):
            whole(llm, "One", logits_processor=lambda _, __, wrong=wrong: wrong)
    ended = whole(llm, "One day, a", max_tokens=9, stopping_criteria=lambda ids, _: len(ids) > 7)
    assert ended["choices"][0]["finish_reason"] == "stop"
    assert ended["usage"]["completion_tokens"] == 3


def test_seeds() -> None:
    def texts(seed: int | None, *requests: int | None) -> list[str]:
        with Llama(DEMO_MODEL, seed=seed, verbose=False) as llm:
            return [text_of(llm("One", temperature=2.0, top_k=0, seed=s)) for s in requests]

    first, second = texts(3, None, None)
    assert first != second
    assert texts(3, None, None) == [first, second]
    assert texts(4, None)[0] != first
    assert texts(3, 9) == texts(None, 9)


def test_streams_that_take_turns_stay_correct(llm: Llama) -> None:
    prompts = ("One day, a", "What is", "[INST] Hello! [/INST]")
    wanted = [text_of(whole(llm, prompt, max_tokens=10)) for prompt in prompts]
    streams = [
        cast("Iterator[dict[str, Any]]", llm(p, max_tokens=10, temperature=0.0, stream=True))
        for p in prompts
    ]
    texts = ["", "", ""]
    for _ in range(15):
        for i, stream in enumerate(streams):
            part = next(stream, None)
            texts[i] += "" if part is None else text_of(part)
    assert texts == wanted


def test_threads_take_turns(llm: Llama) -> None:
    prompts = ["One day, a", "What is", "Hello", "The"]
    wanted = [text_of(whole(llm, prompt, max_tokens=6)) for prompt in prompts]
    found = [""] * len(prompts)

    def work(i: int) -> None:
        for _ in range(3):
            found[i] = text_of(whole(llm, prompts[i], max_tokens=6))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temperature": float("nan")}, ConfigError),
        ({"temperature": -1.0}, ConfigError),
        ({"top_p": 2.0}, ConfigError),
        ({"top_k": -2}, ConfigError),
        ({"seed": -2}, ConfigError),
        ({"max_tokens": 1.5}, ConfigError),
        ({"logprobs": 10**6}, ConfigError),
        ({"stop": ""}, ConfigError),
        ({"stop": [b"x"]}, ConfigError),
        ({"stop": 5}, ConfigError),
        ({"echo": "no"}, ConfigError),
        ({"mirostat_mode": 2}, ConfigError),
        ({"typical_p": 0.5}, ConfigError),
        ({"suffix": "x"}, ConfigError),
        ({"logit_bias": {"x": 1}}, ConfigError),
        ({"temprature": 1.0}, TypeError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_options_show_at_the_call(
    llm: Llama, options: dict[str, Any], error: type[Exception], stream: bool
) -> None:
    with pytest.raises(error):
        llm("Hi", stream=stream, **options)


def test_a_stream_is_asked_for_with_true_or_false(llm: Llama) -> None:
    wrong: Any = "yes"
    with pytest.raises(ConfigError, match="stream: expected True or False, found 'yes'"):
        llm("Hi", stream=wrong)
    with pytest.raises(ConfigError, match="stream"):
        llm.create_chat_completion(QUESTION, stream=wrong)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_text(llm: Llama, kind: Callable[[bytes], bytes]) -> None:
    text = "One day, 狐"
    wanted = whole(llm, text, max_tokens=5, echo=True)
    found = whole(llm, kind(text.encode()), max_tokens=5, echo=True)
    assert found["choices"] == wanted["choices"]
    assert found["usage"] == wanted["usage"]
    broken = whole(llm, kind(b"abc \xe4\xb8"), max_tokens=1, echo=True)
    assert broken["usage"]["prompt_tokens"] == len(llm.tokenize(b"abc \xe4\xb8"))
    assert text_of(broken).startswith("abc \ufffd")
    json.dumps(broken, ensure_ascii=False).encode()


def test_contents_may_be_lists_of_texts(llm: Llama) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "3 plus 4?"}]
    found = llm.create_chat_completion([{"role": "user", "content": parts}], temperature=0.0)
    wanted = llm.create_chat_completion(QUESTION, temperature=0.0)
    assert found["choices"] == wanted["choices"]
    assert found["usage"] == wanted["usage"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "messages: expected at least one message"),
        ("Hi", "messages: expected a list, found 'Hi'"),
        ([*QUESTION, {"role": "user", "content": None}], r"messages\[1\]\.content: .*found None"),
        ([{"role": "user"}], r"messages\[0\]\.content: expected text"),
        ([{"role": "user", "content": [5]}], r"messages\[0\]\.content\[0\]: .*found 5"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
            r"messages\[0\]\.content\[0\]: expected .*text.*image_url",
        ),
        ([{"role": 3, "content": "x"}], "role: expected a plain word, found 3"),
        ([{"content": "x"}], "role: expected a plain word, found None"),
    ],
)
def test_wrong_messages(llm: Llama, messages: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        llm.create_chat_completion(messages)


def test_wrong_prompts(llm: Llama) -> None:
    for stream in (False, True):
        with pytest.raises(ContextError, match="512"):
            llm("Hi " * 600, stream=stream)
    for prompt in ([-1], [4096], [2**63], [0.5], []):
        for stream in (False, True):
            with pytest.raises(ConfigError):
                llm(cast("list[int]", prompt), stream=stream)
    assert text_of(whole(llm, "", max_tokens=4))
    with pytest.raises(ConfigError, match="role"):
        llm.create_chat_completion([{"role": "</s>", "content": "x"}])
    with pytest.raises(ConfigError, match="tools"):
        llm.create_chat_completion(QUESTION, tools=[{"type": "function"}])


def test_the_end_of_the_context(llm: Llama) -> None:
    with Llama(DEMO_MODEL, n_ctx=16, verbose=False) as small:
        done = whole(small, "Once upon a time", max_tokens=None)
    assert done["choices"][0]["finish_reason"] == "length"
    assert 16 <= done["usage"]["total_tokens"] <= 17
    assert text_of(whole(llm, "Once upon a time", max_tokens=30)).startswith(text_of(done))


def test_after_close() -> None:
    llm = Llama(DEMO_MODEL, verbose=False)
    stream = llm("One", stream=True)
    begun = llm("One", stream=True)
    next(begun)
    llm.create_chat_completion(QUESTION, max_tokens=1)
    llm.close()
    llm.close()
    uses: list[Callable[[], object]] = [
        lambda: llm("One"),
        lambda: llm.create_chat_completion(QUESTION),
        lambda: llm.eval([1]),
        llm.n_ctx,
    ]
    for use in uses:
        with pytest.raises(StateError, match="it was closed"):
            use()
    for late in (stream, begun):
        with pytest.raises(StateError, match=r"demo\.gguf: the session is closed"):
            next(late)

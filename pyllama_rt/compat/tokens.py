"""Tokens in, logits and tokens out, under the names of llama-cpp-python."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Generator, Iterable, Sequence
from threading import RLock

import numpy as np

from pyllama_rt.closing import Closing
from pyllama_rt.compat import arguments as args
from pyllama_rt.compat.loading import load_choices
from pyllama_rt.compat.vocabulary import Vocabulary, metadata_texts
from pyllama_rt.config import LoadConfig, SamplingConfig, check_int
from pyllama_rt.engine.generate import (
    StoppingCriterion,
    Token,
    generate_tokens,
    make_sampler,
    processed,
)
from pyllama_rt.engine.load import Model, load_model, trained_context
from pyllama_rt.engine.session import Logits, Session
from pyllama_rt.errors import ConfigError, StateError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.registry import load_tokenizer

Processors = args.TheirProcessor | Sequence[args.TheirProcessor] | None
Criteria = args.TheirCriterion | Sequence[args.TheirCriterion] | None


class TokenLevel(Vocabulary, Closing):
    """A model and one sequence of tokens."""

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_batch: int = 512,
        n_threads: int | None = None,
        n_threads_batch: int | None = None,
        seed: int | None = None,
        logits_all: bool = False,
        vocab_only: bool = False,
        last_n_tokens_size: int = 64,
        chat_format: str | None = None,
        type_k: str | int | None = None,
        type_v: str | int | None = None,
        verbose: bool = True,
        **theirs: object,
    ) -> None:
        """Loads a GGUF file.

        Args:
            model_path: The file; any part of a split model.
            n_ctx: Tokens of context; 0: as many as it was trained on; None: at most 4096 of them.
            n_batch: Tokens of a prompt that are read at a time; results do not depend on it.
            n_threads, n_threads_batch: Threads of one-token steps and of longer ones.
            seed: The same seed and the same calls give the same texts; None or -1: random.
            logits_all: Keep the logits of every position in `scores`.
            vocab_only: Load what tokenising needs and nothing else.
            last_n_tokens_size: How far back penalties look.
            chat_format: llama-2, alpaca or chatml instead of the model file's own template.
            type_k, type_v: "f16", "f32" or "q8_0" (or ggml's numbers 1, 0, 8), both the same.
            verbose: Say in one line on stderr what was loaded.
            theirs: Those of `load_choices`, others at values without effect.
        Raises: PyllamaRtError of the class that fits; TypeError for an unknown argument.
        """
        args.check_neutral("Llama.__init__", args.LOAD_NEUTRAL, theirs)
        self.model_path = os.fspath(model_path)
        self.verbose = verbose
        self.chat_format = chat_format
        self.last_n_tokens_size = last_n_tokens_size
        self._logits_all = logits_all
        self._lock = RLock()
        self._scores: Logits | None = None
        self._session: Session | None = None
        self.set_seed(-1 if seed is None else seed)
        if vocab_only:
            with GgufFile.open(model_path) as file:
                self.tokenizer = load_tokenizer(file, file.path)
                self.metadata = metadata_texts(file.metadata)
            return
        self._load(
            LoadConfig(
                n_ctx=trained_context(model_path) if n_ctx == 0 else n_ctx,
                n_threads=n_threads,
                n_threads_batch=n_threads_batch,
                n_batch=n_batch,
                kv_type=args.cache_type(type_k, type_v),
                **load_choices(theirs),
            )
        )

    def _load(self, config: LoadConfig) -> None:
        model = load_model(self.model_path, config, all_logits=self._logits_all)
        if self._logits_all and model.gives_vectors:
            model.close()
            raise ConfigError("logits_all: this model was loaded for vectors, which it has instead")
        self._session = Session(model, on_logits=self._keep if self._logits_all else None)
        self.tokenizer = model.tokenizer
        self.metadata = metadata_texts(model.metadata)
        # Without a stderr, as under pythonw, print would take stdout.
        if self.verbose and sys.stderr is not None:
            print(f"pyllama-rt: {_described(model)}", file=sys.stderr)

    def eval(self, tokens: Sequence[int]) -> None:
        """Appends tokens to the sequence.

        Raises: ConfigError for an id outside the vocabulary, ContextError if they do not fit.
        """
        ids = self._checked(tokens)
        with self._lock:
            if ids:
                self._running.eval(ids)

    def reset(self) -> None:
        """Forgets the sequence."""
        with self._lock:
            self._running.truncate(0)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        *,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        logits_processor: Processors = None,
        idx: int | None = None,
        **theirs: object,
    ) -> int:
        """A token to follow the sequence, or position `idx` of it, which takes logits_all.

        Raises: StateError where there are no logits.
        """
        args.check_neutral("sample", args.SAMPLING_NEUTRAL, theirs)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        sampling = self._sampling(None, temp, (top_k, top_p, min_p), penalties)
        with self._lock:
            tokens = self._running.tokens
            processors = args.as_processors(logits_processor, None, self.n_vocab())
            row = processed(self._row(idx), tokens, processors)
            sampler = make_sampler(sampling)
            for token in tokens:
                sampler.accept(token)
            chosen: int = sampler.sample(row)
            return chosen

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        *,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        logits_processor: Processors = None,
        stopping_criteria: Criteria = None,
        **theirs: object,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Tokens that continue `tokens`, end tokens included, up to the end of the context.

        Args:
            reset: Whether `tokens` are the whole sequence; otherwise they are appended to it.
            logits_processor, stopping_criteria: Callables that take ids and logits.
        Returns:
            A generator; tokens that are sent into it follow the one it gave last.
        """
        args.check_neutral("generate", args.SAMPLING_NEUTRAL, theirs)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        sampling = self._sampling(None, temp, (top_k, top_p, min_p), penalties)
        processors = args.as_processors(logits_processor, None, self.n_vocab())
        session = self._running
        ids = [*([] if reset else session.tokens), *self._checked(tokens)]
        made = generate_tokens(session, ids, sampling, processors)
        return self._ids(made, args.as_criteria(stopping_criteria))

    def set_seed(self, seed: int) -> None:
        """Starts the sequence of random seeds anew; -1 for one that nobody can foresee."""
        check_int("seed", seed, -1, (1 << 64) - 1)
        self._seeds = random.Random(None if seed in args.RANDOM_SEEDS else seed)

    def n_ctx(self) -> int:
        """Tokens of context."""
        return self._running.model.n_ctx

    def n_embd(self) -> int:
        """Width of the model."""
        return int(self._running.model.model_config.dim)

    @property
    def n_tokens(self) -> int:
        """Length of the sequence."""
        return len(self._running.tokens)

    @property
    def input_ids(self) -> args.Ids:
        """The sequence, with zeros up to n_ctx."""
        ids = np.zeros(self.n_ctx(), np.intc)
        ids[: self.n_tokens] = self._running.tokens
        return ids

    @property
    def scores(self) -> Logits:
        """Logits (n_ctx, n_vocab) after each token: all with logits_all, else only the last."""
        with self._lock:
            session = self._running
            session.model.check_writes()
            if self._scores is None or not self._logits_all:
                # The system gives memory only for the rows that are written.
                self._scores = np.zeros((self.n_ctx(), self.n_vocab()), np.float32)
            if not self._logits_all and session.last_logits is not None:
                self._scores[len(session.tokens) - 1] = session.last_logits
            return self._scores

    def close(self) -> None:
        """Frees the model. Calling it twice is harmless; other methods then raise StateError."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.close()
                session.model.close()

    @property
    def _running(self) -> Session:
        if self._session is None:
            raise StateError(
                f"{self.model_path}: there is no model to run: it was closed, or loaded with "
                "vocab_only"
            )
        return self._session

    def _checked(self, tokens: Iterable[int]) -> list[int]:
        return args.checked_ids(tokens, self.n_vocab())

    def _sampling(
        self,
        seed: int | None,
        temperature: float,
        cuts: tuple[int, float, float],
        penalties: tuple[float, float, float],
    ) -> SamplingConfig:
        """Args: cuts: top_k, top_p and min_p. penalties: repeat, frequency and presence."""
        top_k, top_p, min_p = cuts
        repeat, frequency, presence = penalties
        return SamplingConfig(
            temperature=temperature,
            top_k=0 if top_k == -1 else top_k,
            top_p=top_p,
            min_p=min_p,
            repeat_penalty=repeat,
            frequency_penalty=frequency,
            presence_penalty=presence,
            repeat_last_n=self.last_n_tokens_size,
            seed=self._seeds.getrandbits(64) if seed in args.RANDOM_SEEDS else seed,
        )

    def _keep(self, position: int, rows: Logits) -> None:
        if self._scores is None:
            self._scores = np.zeros((self.n_ctx(), self.n_vocab()), np.float32)
        self._scores[position : position + len(rows)] = rows

    def _row(self, idx: int | None) -> Logits:
        session = self._running
        session.model.check_writes()
        if idx is not None and self._logits_all and self._scores is not None:
            check_int("idx", idx, 0, len(session.tokens) - 1)
            row: Logits = self._scores[idx]
            return row
        if session.last_logits is None or idx not in (None, len(session.tokens) - 1):
            raise StateError("there are no logits to sample from; call eval first")
        return session.last_logits

    def _ids(
        self,
        made: Generator[Token, Sequence[int] | None, None],
        criteria: Sequence[StoppingCriterion],
    ) -> Generator[int, Sequence[int] | None, None]:
        sent: Sequence[int] | None = None
        while True:
            with self._lock:
                try:
                    token = made.send(sent)
                except StopIteration:
                    return
                ids = self._running.tokens
                if any(criterion(list(ids), token.logits) for criterion in criteria):
                    return
            received = yield token.id
            sent = None if received is None else self._checked(received)


def _described(model: Model) -> str:
    trained = model.model_config.n_ctx_train
    return (
        f"{model.path}: context {model.n_ctx} (trained on {trained}; n_ctx), "
        f"{model.threads.single} threads, {model.program.backend}"
    )

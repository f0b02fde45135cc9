"""Vocabularies extended in files, and what that does to token counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import N_PIECES, HuggingFace, config
from checkpoints import sentencepiece as vocabulary
from shared_data import shared

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.convert.extend_tokenizer import TokenCounts, extend_tokenizer
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.model_proto import NORMAL, read_sentencepiece_model, write_model_proto
from pyllama_rt.tokenizer.registry import load_tokenizer

SENTENCE = "人工智能是计算机科学、心理学、哲学等学科融合的交叉学科。"


def model(path: Path, *pieces: str) -> Path:
    path.write_bytes(write_model_proto(vocabulary([(piece, NORMAL) for piece in pieces])))
    return path


def test_texts_are_counted(tmp_path: Path) -> None:
    base, extra = model(tmp_path / "a.model"), model(tmp_path / "b.model", "ab", "abc", "中")
    report = extend_tokenizer(base, extra, tmp_path / "c.model", texts=["abc 中", ""])
    # ▁ a b c ▁ and three bytes before; ▁ abc ▁ 中 after.
    assert report.texts == (TokenCounts("abc 中", 8, 4), TokenCounts("", 0, 0))
    assert (tmp_path / "c.model").read_bytes() == report.merged.data


def test_folders_stand_for_the_file_in_them(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    model(tmp_path / "m" / "tokenizer.model")
    extra = model(tmp_path / "b.model", "abc")
    assert extend_tokenizer(tmp_path / "m", extra, tmp_path / "c.model").merged.added == ("abc",)


def test_the_converter_takes_the_result(tmp_path: Path) -> None:
    source = HuggingFace(config(vocab_size=N_PIECES + 1))
    folder = source.write(tmp_path / "m")
    extra = model(tmp_path / "b.model", "ab")
    extend_tokenizer(folder, extra, tmp_path / "c.model")
    (tmp_path / "c.model").replace(folder / "tokenizer.model")
    convert_checkpoint(folder, tmp_path / "x.gguf")
    with GgufFile.open(tmp_path / "x.gguf") as file:
        tokenizer = load_tokenizer(file, file.path)
        assert tokenizer.encode("cab", add_bos=False)[-1] == N_PIECES


def test_inputs_are_never_written_over(tmp_path: Path) -> None:
    base, extra = model(tmp_path / "a.model"), model(tmp_path / "b.model", "abc")
    (tmp_path / "link").symlink_to(base)
    for out in (base, extra, tmp_path / "link"):
        before = out.read_bytes()
        with pytest.raises(ConfigError, match="replace its own input"):
            extend_tokenizer(base, extra, out)
        assert out.read_bytes() == before


def test_no_output_without_a_vocabulary_that_loads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    base, extra = model(tmp_path / "a.model"), model(tmp_path / "b.model", "x" * 513)
    with pytest.raises(FormatError, match=r"b\.model: vocabulary piece 273.*513 characters"):
        extend_tokenizer(base, extra, out / "c.model")
    with pytest.raises(ConfigError, match="absent"):
        extend_tokenizer(base, tmp_path / "absent", out / "c.model")
    assert not list(out.iterdir())


def test_the_sentence_of_chinese_llama(tmp_path: Path) -> None:
    base = shared("tokenizers/llama/tokenizer.model")
    extra = shared("tokenizers/chinese-llama/chinese_sp.model")
    report = extend_tokenizer(base, extra, tmp_path / "m.model", texts=[SENTENCE])
    assert report.texts == (TokenCounts(SENTENCE, 35, 16),)  # without BOS
    assert len(read_sentencepiece_model(tmp_path / "m.model").pieces) == 49953

"""How byte-level BPE cuts a text into words, by the name in `tokenizer.ggml.pre`. Data only.

Expressions are applied one after another: each cuts every part that the ones before left into its
matches and the text between them. `\\s` and `\\p{..}` mean Unicode's, as in Oniguruma.

Source: the expressions are those that the models' authors publish in `tokenizer.json`; GGUF's names
for them are llama.cpp's. Where its splitter cuts otherwise, `splits` follows it, so that a file
gives the same ids in both programs:

- contractions ignore the case of ASCII letters only (`'ſ` is none);
- white space is no Chinese character and no punctuation (deepseek: `　` and U+2000 to U+200A lie
  between the ends of published ranges);
- letters outside ASCII are of both cases, and marks are no letters (gpt-4o, tekken);
- digits stay together (deepseek-llm), where the pieces do not join them anyway.

It also tries no run of characters twice: the library gives up, with a panic, after ten million
steps back, which a text of as many spaces would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PreTokenizer:
    """One way of cutting text into words.

    Attributes:
        splits: Expressions that give the ids of llama.cpp, in time linear in the text.
        published: Expressions of the models' own `tokenizer.json`; `Digits` stands as
            `DIGIT` or `DIGITS`, `Punctuation` as `PUNCTUATION`, `ByteLevel` with `use_regex` as
            `GPT_2`.
        ignore_merges: Whether a word that is a piece is that piece, whatever the merges give.
        add_bos: Whether BOS goes first where the file does not say.
        byte_level: Whether pieces are in GPT-2's alphabet of bytes; otherwise they are text with
            `▁` for spaces, and bytes without a piece are `<0x00>` to `<0xFF>`.
    """

    splits: tuple[str, ...]
    published: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    byte_level: bool = True


DIGIT = r"\p{N}"
DIGITS = r"\p{N}+"
PUNCTUATION = r"[\p{P}\$\+<=>\^~\|`]+"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ASCII_CASE = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SPACES_ONCE = r"(?:[^\S\r\n]*+[\r\n]++)++|\s+(?!\S)|\s+"
_CL100K = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
_QWEN_2 = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
_QWEN_35 = r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"


def _cased(suffix: str, digits: str) -> str:
    """Words that begin with capitals or not, as OpenAI's o200k and Mistral's Tekken have them."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{suffix}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{suffix}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + _SPACES
    )


def _ascii_cased(suffix: str, digits: str) -> str:
    """The same where letters outside ASCII are of both cases, without going back over them.

    Up to a small letter and what follows; else up to the last letter outside ASCII; else capitals.
    """
    words = (
        r"[\p{L}&&[^a-z]]*+[a-z][\p{L}&&[^A-Z]]*+",
        r"(?:[A-Z]*+[\p{L}&&[^A-Za-z]]++)++",
        "[A-Z]++",
    )
    return (
        "|".join(rf"[^\r\n\p{{L}}\p{{N}}]?{word}{suffix}" for word in words)
        + rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|"
        + _SPACES_ONCE
    )


def _class(ranges: str) -> str:
    """The characters of an expression's class, from hexadecimal code points and ranges of them."""
    return "".join(
        "-".join(chr(int(point, 16)) for point in part.split("-")) for part in ranges.split()
    )


# Code points, because editors and tools swap some of these characters for equivalent ones.
_CASED = _class(
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 "
    "388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA "
    "1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 "
    "1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB "
    "1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D "
    "212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 "
    "A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A "
    "FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)
_PUNCTUATION = _class("21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002")
_PUNCTUATION_NO_SPACE = _class("21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3001-3002")
_HAN = _class("4E00-9FA5 800-4E00 AC00-D7FF")
_NEWLINE = r"[\r\n]"
_TRAILING = r"(?<!\s)\s++$"
"""`\\s+$`, tried once for each run of white space instead of at each of its characters."""

_GPT_2 = PreTokenizer((GPT_2,), (GPT_2,))
_SINGLE_DIGITS = PreTokenizer((DIGIT, GPT_2), (DIGIT, GPT_2))
_QWEN_2_WORDS = PreTokenizer(
    (_ASCII_CASE + _QWEN_2 + _SPACES_ONCE,), (_ANY_CASE + _QWEN_2 + _SPACES,)
)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "llama-bpe": PreTokenizer(
        (_ASCII_CASE + _CL100K + _SPACES_ONCE,),
        (_ANY_CASE + _CL100K + _SPACES,),
        ignore_merges=True,
        add_bos=True,
    ),
    "dbrx": PreTokenizer((_ASCII_CASE + _CL100K + _SPACES_ONCE,), (_ANY_CASE + _CL100K + _SPACES,)),
    "qwen2": _QWEN_2_WORDS,
    "deepseek-r1-qwen": _QWEN_2_WORDS,
    "qwen35": PreTokenizer(
        (_ASCII_CASE + _QWEN_35 + _SPACES_ONCE,), (_ANY_CASE + _QWEN_35 + _SPACES,)
    ),
    "gpt-2": _GPT_2,
    "mpt": _GPT_2,
    "olmo": _GPT_2,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "command-r": _SINGLE_DIGITS,
    "smollm": _SINGLE_DIGITS,
    "falcon": PreTokenizer(
        (PUNCTUATION, GPT_2, "[0-9][0-9][0-9]"), (PUNCTUATION, GPT_2, "[0-9][0-9][0-9]")
    ),
    "deepseek-llm": PreTokenizer(
        (
            _NEWLINE,
            rf"\s?[{_CASED}]+",
            rf"\s?[{_PUNCTUATION_NO_SPACE}]+",
            _TRAILING,
            rf"[{_HAN}&&[^\s]]+",
            DIGITS,
        ),
        (
            _NEWLINE,
            rf"\s?[{_CASED}]+",
            rf"\s?[{_PUNCTUATION}]+",
            r"\s+$",
            f"[{_HAN}]+",
            DIGIT,
        ),
    ),
    "deepseek-coder": PreTokenizer(
        (_NEWLINE, r"\s?\p{L}+", r"\s?\p{P}+", rf"[{_HAN}&&[^\s]]+", DIGIT),
        (_NEWLINE, r"\s?\p{L}+", r"\s?\p{P}+", f"[{_HAN}]+", DIGIT),
    ),
    "tekken": PreTokenizer(
        (_ascii_cased("", DIGIT),),
        (_cased("", DIGIT),),
        ignore_merges=True,
        add_bos=True,
    ),
    "gpt-4o": PreTokenizer(
        (_ascii_cased(_ASCII_CASE + "?", r"\p{N}{1,3}"),),
        (_cased(_ANY_CASE + "?", r"\p{N}{1,3}"),),
    ),
    "gemma4": PreTokenizer((r"[\n]+",), (), add_bos=True, byte_level=False),
    "default": PreTokenizer(
        (r"[\p{P}\$\+<=>\^~\|]+", GPT_2, DIGITS, "[0-9][0-9][0-9]"),
        (r"[\p{P}\$\+<=>\^~\|]+", GPT_2, DIGITS, "[0-9][0-9][0-9]"),
    ),
}
"""By GGUF's name; of names that cut alike the one to write comes first."""

PRE_TOKENIZER_ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        ("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), "llama-bpe"
    ),
    **dict.fromkeys(("smaug-bpe", "glm4", "chatglm-bpe"), "dbrx"),
    **dict.fromkeys(("stablelm2", "megrez", "hunyuan", "grok-2", "solar-open", "kormo"), "qwen2"),
    **dict.fromkeys(
        ("phi-2", "jina-es", "jina-de", "jina-v1-en", "roberta-bpe", "gigachat", "jais", "exaone4",
         "trillion", "granite-docling", "a.x-4.0", "mellum"),
        "gpt-2",
    ),
    **dict.fromkeys(("codeshell", "exaone", "minerva-7b"), "starcoder"),
    **dict.fromkeys(("llama4", "kanana2", "minimax-m2"), "gpt-4o"),
}  # fmt: skip
"""Other names in GGUF files -> the name above that cuts alike."""

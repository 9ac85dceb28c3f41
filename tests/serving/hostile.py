"""What people, scripts and broken files send: texts, lines, arguments and model folders."""

import json
from collections.abc import Callable
from pathlib import Path

SURROGATE = "\ud800"

# Each is a query: it has an answer.
TEXTS = {
    "empty": "",
    "blank": " ",
    "blanks": " " * 5000,
    "tab": "\t",
    "line feeds": "\n\n\n",
    "carriage return": "\r",
    "two lines": "wake me\nplay the song",
    "form feed": "\f",
    "vertical tab": "\v",
    "file separator": "\x1c",
    "next line": "\x85",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "NUL": "\0",
    "NUL inside": "play\0song",
    "NULs": "\0" * 3000,
    "bell": "\a\a\a",
    "escape codes": "\x1b[31mred\x1b[0m",
    "delete": "\x7f",
    "C1 controls": "".join(map(chr, range(0x80, 0xA0))),
    "all controls": "".join(map(chr, range(0x20))),
    "lone high surrogate": SURROGATE,
    "lone low surrogate": "\udc00",
    "surrogates the wrong way round": "\udc00\ud800",
    "surrogate inside": f"play {SURROGATE} song",
    "surrogates": SURROGATE * 500,
    "bytes of another encoding, as Python passes them on": "r\udce9server",
    "replacement character": "\ufffd",
    "no character": "\ufffe\uffff",
    "last code point": "\U0010ffff",
    "private use": "\ue000\U000f0000",
    "byte order mark": "\ufeffplay the song",
    "emoji": "🙂",
    "emoji joined": "👩‍👩‍👧‍👦" * 20,
    "emoji with tones": "👍🏿👍🏻",
    "flags": "🇫🇷🇹🇷🇯🇵",
    "variation selectors": "☎️☎︎",
    "zero width space": "play\u200bthe\u200bsong",
    "zero width alone": "\u200b\u200c\u200d\u2060",
    "soft hyphen": "play\u00adlist",
    "right-to-left": "שלום עולם",
    "Arabic": "السلام عليكم",
    "override of direction": "\u202eplay the song\u202c",
    "isolates of direction": "\u2066\u2067\u2068song\u2069",
    "Chinese": "播放这首歌",
    "Japanese": "アラームを設定して",
    "Korean": "노래를 틀어줘",
    "Thai": "เล่นเพลง",
    "Devanagari": "गाना बजाओ",
    "Cyrillic": "включи песню",
    "looks like Latin": "рlаy thе sоng",
    "full width": "ｐｌａｙ",
    "mathematical letters": "𝓅𝓁𝒶𝓎",
    "ligature": "ﬁnd ﬂight",
    "dotted capital I": "İSTANBUL",
    "sharp s": "STRASSE straße ẞ",
    "combining marks": "z" + "\u0301" * 2000,
    "mark alone": "\u0301",
    "composed and decomposed": "é e\u0301",
    "one long word": "a" * 100_000,
    "one word at the limit of a piece": "a" * 100,
    "one word above it": "a" * 101,
    "many words": "song " * 20_000,
    "many characters that are words each": "歌" * 20_000,
    "punctuation": "?!" * 10_000,
    "digits": "9" * 400,
    "a number too large": "1e999999",
    "special tokens": "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "a piece of a word": "##ing ##s",
    "HTML": "<script>alert('x')</script>",
    "a query of SQL": "'; DROP TABLE intents; --",
    "a format": "%s %n {0} {text!r} ${PATH}",
    "a template": "{{ 7 * 7 }}",
    "a path": "../../../../etc/passwd",
    "a URL": "https://example.com/?q=a&b=c#d",
    "JSON": '{"text": "play"}',
    "a backslash": "\\",
    "quotes": "\"'`´’“”",
    "None": "None",
    "nan": "nan",
}

# Each is what standard input holds: as many answers, or an error of one line.
LINES: dict[str, tuple[bytes, bool, int | str]] = {
    "nothing": (b"", False, 0),
    "no end of line": (b"play", False, 1),
    "blank lines": (b"\n\n\n", False, 3),
    "CRLF": (b"play\r\nwake\r\n", False, 2),
    "Latin-1": (b"hello\nr\xe9server\nsong\n", False, 3),
    "cut within a character": (b"caf\xc3", False, 1),
    "overlong": (b"\xc0\xaf\n", False, 1),
    "surrogate in UTF-8": (b"\xed\xa0\x80\n", False, 1),
    "beyond Unicode": (b"\xf5\x80\x80\x80\n", False, 1),
    "all bytes": (bytes(range(256)), False, 2),
    "NULs": (b"\0\0\n\0\n", False, 2),
    "byte order mark": (b"\xef\xbb\xbfplay\n", False, 1),
    "UTF-16": ("play\n".encode("utf-16"), False, "standard input is UTF-16; allowed: UTF-8"),
    "20 MB in one line": (b"song " * 4_000_000 + b"\nplay\n", False, 2),
    "20 MB without a space": (b"a" * 20_000_000, False, 1),
    "JSON Lines": (b'{"text": "play"}\n\n{"text": "wake", "id": 7}\n', True, 2),
    "JSON with half a pair": (b'{"text": "\\ud800"}\n', True, 1),
    "JSON with a pair": (b'{"text": "\\ud83d\\ude42"}\n', True, 1),
    "JSON cut off": (b'{"text": "pl', True, "line 1 of standard input is .*; allowed: a JSON object"),
    "no JSON": (b'{"text": "play"}\nplay\n', True, "line 2 of standard input is 'play'; allowed: a JSON object"),
    "a list": (b'["play"]\n', True, "line 1 of standard input is .*; allowed: a JSON object"),
    "a text": (b'"play"\n', True, "line 1 of standard input is .*; allowed: a JSON object"),
    "null": (b"null\n", True, "line 1 of standard input is 'null'; allowed: a JSON object"),
    "no text": (b'{"query": "play"}\n', True, "line 1 of standard input is .*; allowed: a JSON object"),
    "text is null": (b'{"text": null}\n', True, '"text" in line 1 of standard input is None; allowed: a text'),
    "text is a number": (b'{"text": 1}\n', True, '"text" in line 1 of standard input is 1; allowed: a text'),
    "text is a list": (b'{"text": ["a"]}\n', True, '"text" in line 1 of standard input is .*; allowed: a text'),
    "nested": (b"[" * 200_000 + b"\n", True, "line 1 of standard input is .*; allowed: a JSON object"),
    "a number too long": (b'{"text": ' + b"9" * 9999 + b"}\n", True, "line 1 of standard input is .*; allowed: a JSON"),
    "a line of 34 MB": (b'{"text": "' + b"a" * (34 << 20) + b'"}\n', True, "line 1 of standard input is too long"),
}

# Each is a command line that is refused with exit status 2.
ARGUMENTS = {
    "no number of threads": ["--threads", "two", "a"],
    "no thread": ["--threads", "0", "a"],
    "fewer threads": ["--threads", "-1", "a"],
    "too many threads": ["--threads", "1000000", "a"],
    "a number too long": ["--threads", "9" * 10_000, "a"],
    "a half": ["--top", "1.5", "a"],
    "top of none": ["--top", "0", "a"],
    "top without a number": ["--top"],
    "unknown": ["--unknown", "a"],
    "long and unknown": ["--" + "x" * 100_000],
    "lines and unknown": ["--a\nb\nc"],
    "abbreviated": ["--thr", "1", "a"],
    "a query and a file": ["--file", "a.txt", "a"],
    "a query and JSON Lines": ["--jsonl", "a"],
    "surrogate": ["--top", SURROGATE, "a"],
}


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size]) and None


def _halved(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def _replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def _folder(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def _untruncated(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation": None}))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
RULE = "classifier.json"

# Each breaks a folder of a model: the error of one line that it is refused with.
FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    **{
        f"{name} is a pointer": (_write(name, POINTER), f"{name} is a pointer of Git LFS")
        for name in ("model.onnx", "tokenizer.json", RULE)
    },
    **{
        f"{name} is a folder": (_folder(name), f"{name} cannot be read: Is a directory")
        for name in ("model.onnx", "tokenizer.json", RULE)
    },
    "model empty": (_write("model.onnx", b""), "model.onnx is no ONNX model that can be read: "),
    "model cut at its begin": (_cut("model.onnx", 100), "model.onnx is no ONNX model that can be read: "),
    "model cut in half": (_halved("model.onnx"), "model.onnx is no ONNX model that can be read: "),
    "model of text": (_write("model.onnx", b"<html>404</html>"), "model.onnx is no ONNX model that can be read: "),
    "model of zeros": (_write("model.onnx", bytes(1000)), "model.onnx is no ONNX model that can be read: "),
    "tokenizer empty": (_write("tokenizer.json", b""), "tokenizer.json is no tokenizer that can be read: "),
    "tokenizer cut": (_cut("tokenizer.json", 5000), "tokenizer.json is no tokenizer that can be read: "),
    "tokenizer of nothing": (_write("tokenizer.json", b"{}"), "tokenizer.json is no tokenizer that can be read: "),
    "tokenizer not UTF-8": (_write("tokenizer.json", b"\xff"), "tokenizer.json is no tokenizer that can be read: "),
    "tokenizer without truncation": (
        _untruncated,
        "model.onnx fails on a query of 3002 tokens, so it does not fit .*tokenizer.json",
    ),
    "rule empty": (_write(RULE, b""), f"{RULE} is not valid JSON"),
    "rule cut": (_cut(RULE, 40), f"{RULE} is not valid JSON"),
    "rule not UTF-8": (_write(RULE, b"\xff\xfe"), f"{RULE} is not valid JSON"),
    "rule a list": (_write(RULE, b"[]"), f"{RULE} is no rule; it needs the keys"),
    "rule null": (_write(RULE, b"null"), f"{RULE} is no rule; it needs the keys"),
    "rule nested": (_write(RULE, b"[" * 200_000), f"{RULE} is nested too deeply"),
    "rule without temperature": (_replace(RULE, '"temperature"', '"heat"'), f"{RULE} is no rule; it needs the keys"),
    "threshold a text": (_replace(RULE, '"threshold": ', '"threshold": "1", "x": '), "`threshold` in .* is '1'"),
    "threshold not a number": (_replace(RULE, '"threshold": ', '"threshold": NaN, "x": '), "`threshold` in .* is nan"),
    "threshold infinite": (_replace(RULE, '"threshold": ', '"threshold": Infinity, "x": '), "`threshold` in .* is inf"),
    "rate above 1": (_replace(RULE, '"rate": ', '"rate": 2, "x": '), "`rate` in .* is 2; allowed: a number above 0"),
    "temperature of 0": (_replace(RULE, '"temperature": ', '"temperature": 0, "x": '), "`temperature` in .* is 0"),
    "temperature true": (
        _replace(RULE, '"temperature": ', '"temperature": true, "x": '),
        "`temperature` in .* is True",
    ),
    "fewer intents": (
        _replace(RULE, '"music",', ""),
        r"logits of shape \(4,\) a query, classifier.json names 3 intents",
    ),
    "more intents": (_replace(RULE, '"music",', '"music", "b",'), "classifier.json names 5 intents"),
    "an intent twice": (_replace(RULE, '"music"', '"alarm"'), "`intents` in .*; allowed: a list of two names or more"),
    "an intent a number": (_replace(RULE, '"music"', "7"), "`intents` in .*; allowed: a list of two names or more"),
}

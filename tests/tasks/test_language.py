"""Texts as chunks: every token once, no document sees another, chunked is whole; vocabularies; bad files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeseq.blocks import TokenModel
from spikeseq.tasks.chunks import Chunks, Text
from spikeseq.tasks.language import Language
from spikeseq.tasks.vocabulary import Bytes, Words, digest, read_vocabulary

LAWS = settings(deadline=None, max_examples=40)
START = 9
documents = st.lists(st.lists(st.integers(0, START - 1), min_size=1, max_size=12), min_size=1, max_size=5)
seeds = st.integers(0, 2**16)


def text_of(lists: list[list[int]]) -> Text:
    return Text.of([np.array(tokens, np.int32) for tokens in lists], START, sum(map(len, lists)))


def joined(chunks: Chunks) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, y and starts of all chunks, [rows, columns]."""
    parts = [(c.x, c.y, torch.zeros_like(c.x, dtype=torch.bool) if c.starts is None else c.starts) for c in chunks]
    x, y, starts = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return x, y, starts


@LAWS
@given(documents, st.integers(1, 4), st.integers(1, 7))
def test_a_whole_text_gives_every_token_once_after_the_one_before_it(lists: list, rows: int, length: int) -> None:
    text = text_of(lists)
    chunks = Chunks(text, rows, length, whole=True)
    assert all(c.x.shape == c.y.shape == (rows, length) for c in chunks)
    x, y, starts = joined(chunks)
    counted = y != -100
    assert y[counted].tolist() == [t for tokens in lists for t in tokens]
    assert x[counted].tolist() == [t for tokens in lists for t in [START, *tokens[:-1]]]
    first = [i == 0 for tokens in lists for i in range(len(tokens))]
    row_begins = torch.zeros_like(starts)
    row_begins[:, 0] = True
    assert starts[counted].tolist() == [a and not bool(b) for a, b in zip(first, row_begins[counted], strict=True)]
    assert not starts[~counted].any()


@LAWS
@given(documents, st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))
def test_processes_share_the_streams(lists: list, rows: int, length: int, world: int) -> None:
    text = text_of(lists)
    if len(text.tokens) < rows * world * length:
        with pytest.raises(ValueError, match=r"a text of at least rows \* length"):
            Chunks(text, rows, length, world=world)
        return
    alone = joined(Chunks(text, rows * world, length))
    shared = [joined(Chunks(text, rows, length, rank=rank, world=world)) for rank in range(world)]
    for whole, parts in zip(alone, zip(*shared, strict=True), strict=True):
        assert whole.equal(torch.cat(parts))


@LAWS
@given(documents, seeds, st.integers(1, 6), st.sampled_from(["LIF", "DSN"]), st.sampled_from(["sdtcm", "ssm"]))
def test_a_document_alone_is_the_document_in_a_packed_text(
    lists: list, seed: int, length: int, neuron: str, block: str
) -> None:
    """Chunk by chunk with carried state, in one stream: the likelihoods of each document on its own."""
    torch.manual_seed(seed)
    model = TokenModel(START + 1, 8, 2, block=block, neuron=neuron, norm="layer").double().eval()
    state, found = None, []
    for x, y, starts in Chunks(text_of(lists), 1, length, whole=True):
        nll, state = model.nll(x, y, state, starts)
        found.append(nll[y != -100])
    alone = [model.nll(*joined(Chunks(text_of([tokens]), 1, len(tokens)))[:2])[0][0] for tokens in lists]
    torch.testing.assert_close(torch.cat(found), torch.cat(alone))


def test_a_chunk_out_of_range_is_an_index_error() -> None:
    chunks = Chunks(text_of([[1, 2, 3]]), 1, 2)
    assert len(chunks) == 1
    for wrong in (-1, 1):
        with pytest.raises(IndexError, match=rf"0\.\.0, got {wrong}"):
            chunks[wrong]


@given(st.binary(max_size=40))
def test_bytes_come_back(text: bytes) -> None:
    tokens = Bytes().encode(text)
    assert Bytes().decode([Bytes.start, *tokens.tolist()]) == text
    assert len(tokens) == len(text)


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=5), min_size=1, max_size=5), st.integers(1, 3))
def test_words_are_sorted_by_frequency_and_come_back(lines: list[list[str]], least: int) -> None:
    text = "\n".join(" ".join(line) for line in lines).encode()
    words = Words.of([("text", text)], least)
    everything = [word for line in lines for word in line]
    counts = {word: everything.count(word) for word in everything if everything.count(word) >= least}
    kept = [word for word in words.words if word in counts]
    assert set(kept) == set(counts)
    assert [counts[w] for w in kept] == sorted(counts.values(), reverse=True)
    read = words.decode(words.encode(text).tolist()).decode()
    wanted = [[word if word in counts else "<unk>" for word in line] for line in lines]
    assert [line.split() for line in read.split("\n")] == wanted
    assert words.encode(text).tolist().count(words.start) == 0
    assert words.size == len(words.words) + 1 == words.start + 1


def test_wikitext_counts_one_end_for_each_line() -> None:
    """The published counts take `<eos>` at every line end: 217,646 tokens of WikiText-2's validation text."""
    text = b" = A = \n\n b <unk> b \n"
    words = Words.of([("text", text)])
    wanted = ["=", "A", "=", "<eos>", "<eos>", "b", "<unk>", "b", "<eos>"]
    assert [words.words[token] for token in words.encode(text)] == wanted


def test_an_unknown_word_is_unk_or_an_error_with_its_line() -> None:
    words = Words.of([("text", b"a a b\n")], min_count=2)
    assert words.words[words.encode(b"zebra")[0]] == "<unk>"
    with pytest.raises(ValueError, match=r"val\.txt, line 2: 'zebra' is not in the vocabulary of 3 words.*min_count=2"):
        Words.of([("text", b"a b\n")]).encode(b"a\nb zebra\n", "val.txt")


@pytest.mark.parametrize("vocabulary", [Bytes(), Words(["the", "<eos>", "größe", "<unk>"])])
def test_a_vocabulary_survives_its_file(vocabulary: Bytes | Words, tmp_path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(vocabulary.as_json(), encoding="utf-8")
    read = read_vocabulary(path)
    assert digest(read) == digest(vocabulary)
    assert read.size == vocabulary.size
    assert digest(Words(["a"])) != digest(Words(["b"])) != digest(Bytes())


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"level": 3}',
        '{"level": "words"}',
        '{"level": "words", "words": [1]}',
        '{"level": "words", "words": ["a", "a"]}',
    ],
)
def test_a_broken_vocabulary_names_its_file(content: str, tmp_path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"vocabulary\.json: expected a vocabulary"):
        read_vocabulary(path)


@pytest.fixture
def folder(tmp_path):
    """The WikiText layout in small: two articles in the training text, one in the others."""
    article = " = Title = \n \n a b c a \n = = Part = = \n b a <unk> \n"
    for name, count in (("train", 3), ("valid", 1), ("test", 2)):
        (tmp_path / f"wiki.{name}.tokens").write_text(article * count)
    return tmp_path


def test_wikitext_folders_by_words_and_articles(folder) -> None:
    data = Language(folder, level="words", separator="^ = [^=].*[^=] = $", length=4, batch_size=2)
    assert data.split("train").begins.sum() == 3
    assert data.split("test").begins.sum() == 2
    assert data.bytes_per_token("val") == (folder / "wiki.valid.tokens").stat().st_size / len(data.split("val").tokens)
    (chunk, *_) = data.train_dataloader()
    assert chunk.x.shape == (2, 4)
    assert chunk.x[0, 0] == data.vocabulary.start
    (whole, *_) = data.val_dataloader()
    assert whole.x.shape == (1, 8)
    again = Language(folder, level="words", length=4, batch_size=2, eval_streams=2)
    assert next(c.x.shape for c in again.val_dataloader()) == (2, 4)


def test_one_text_is_cut_at_line_ends(tmp_path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"line {i}\n" for i in range(100)))
    data = Language(text=path, length=8, batch_size=1)
    parts = [data.vocabulary.decode(data.split(name).tokens.tolist()) for name in ("train", "val", "test")]
    assert b"".join(parts) == path.read_bytes()
    assert all(part.endswith(b"\n") for part in parts)
    assert len(parts[0]) == pytest.approx(0.9 * path.stat().st_size, abs=10)
    several = Language(text=[path, path], length=8, batch_size=1)
    assert several.split("train").begins.sum() == 2


def test_a_vocabulary_file_replaces_that_of_the_text(folder, tmp_path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(Words(["<unk>", "a"]).as_json())
    data = Language(folder, level="words", vocabulary=path, length=4, batch_size=1)
    assert data.vocabulary.size == 3
    assert set(data.split("train").tokens.tolist()) == {0, 1}


def test_bad_files_are_named(folder, tmp_path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes("naïve\ncafé".encode("latin-1"))
    (tmp_path / "short.txt").write_text("a\n" * 9)
    (folder / "wiki.test.tokens").unlink()
    thirds, wiki = (0.4, 0.3, 0.3), r"wiki\.test\.tokens\n(.*\n)*layout: the three token files"
    for given_settings, error, message in (
        (
            {"data_dir": folder},
            FileNotFoundError,
            wiki,
        ),
        ({"text": tmp_path / "none.txt"}, FileNotFoundError, r"missing: .*none\.txt, expected a text file"),
        ({"text": tmp_path / "empty.txt"}, ValueError, r"empty\.txt: expected text, got an empty file"),
        (
            {"text": tmp_path / "latin.txt", "level": "words", "shares": thirds},
            ValueError,
            r"latin\.txt, line 1: .*UTF-8",
        ),
        ({"text": tmp_path / "short.txt"}, ValueError, r"short\.txt: expected enough lines.*got no val text"),
    ):
        with pytest.raises(error, match=message):
            Language(**given_settings).setup()
    data = Language(text=tmp_path / "short.txt", shares=thirds, length=100)
    with pytest.raises(ValueError, match=r"at least rows \* length = 16 \* 100 tokens, got 8 tokens"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "a", "data_dir": "b"}, "expected one of data_dir"),
        ({"train": "a", "val": "b"}, "expected one of data_dir"),
        ({"text": []}, "expected at least one file for text"),
        ({"text": "a", "level": "letters"}, "level as one of bytes, words, got 'letters'"),
        ({"text": "a", "shares": (0.5, 0.5, 0.5)}, "with sum 1"),
        ({"text": "a", "length": 0}, "length, batch_size and min_count of at least 1"),
        ({"text": "a", "eval_streams": 17}, r"eval_streams in 1\.\.batch_size"),
        ({"text": "a", "separator": "("}, r"separator '\(' is no regular expression"),
    ],
)
def test_settings_that_make_no_sense(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Language(**arguments)

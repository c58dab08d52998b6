"""Data as people have it: arrays of any kind, lists, frames, data sets of torch, labels, CSV files; and regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset

import galab
from galab import Classification, Regression
from galab.errors import UsageError
from galab.tasks.load import load_task

INPUTS = np.random.Generator(np.random.Philox(1)).integers(-9, 9, (12, 4)).astype(np.float64) / 4
NUMBERS = np.arange(12) % 3


class Pairs(Dataset[Any]):
    """Items one by one, as vision data sets give them."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(INPUTS[place]), int(NUMBERS[place])


class Frame:
    """What has a column for each feature and knows how to be an array."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return INPUTS.astype(object)


SAME: dict[str, Any] = {
    "arrays": (INPUTS, NUMBERS),
    "lists": (INPUTS.tolist(), NUMBERS.tolist()),
    "float16": (INPUTS.astype(np.float16), NUMBERS.astype(np.int8)),
    "big-endian": (INPUTS.astype(">f8"), NUMBERS.astype(">i4")),
    "Fortran order": (np.asfortranarray(INPUTS), NUMBERS),
    "backwards": (INPUTS[::-1][::-1], NUMBERS[::-1][::-1]),
    "long doubles": (INPUTS.astype(np.longdouble), NUMBERS.astype(np.uint16)),
    "a frame": (Frame(), NUMBERS),
    "tensors": (torch.from_numpy(INPUTS), torch.from_numpy(NUMBERS)),
    "with a gradient": (torch.from_numpy(INPUTS).requires_grad_(), torch.from_numpy(NUMBERS)),
    "a data set": Pairs(),
    "a data set of tensors": TensorDataset(torch.from_numpy(INPUTS), torch.from_numpy(NUMBERS)),
    "a shuffling loader": DataLoader(Pairs(), batch_size=5, shuffle=True),
    "a pair in a list": [INPUTS, NUMBERS],
}


def task(train: Any, **changes: Any) -> Classification:
    rest = {"validation": (INPUTS, NUMBERS), "test": (INPUTS, NUMBERS)}
    return Classification(name="mine", train=train, **(rest | changes))


@pytest.mark.parametrize("name", SAME)
def test_the_same_data_is_the_same_task(name: str) -> None:
    made = task(SAME[name])
    assert made.fingerprint == task((INPUTS, NUMBERS), classes=3).fingerprint
    assert (made.outputs, made.labels) == (3, (0, 1, 2))


def test_images_of_8_bits_are_shares_of_255_and_other_whole_numbers_stay() -> None:
    def shown(inputs: np.ndarray[Any, Any]) -> torch.Tensor:
        pair = (inputs, NUMBERS)
        return Classification(name="mine", train=pair, validation=pair, test=pair).train.inputs

    bytes_ = np.arange(48, dtype=np.uint8).reshape(12, 4) * 5
    assert torch.equal(shown(bytes_), torch.from_numpy(bytes_.astype(np.float32)) / 255)
    assert torch.equal(shown(bytes_.astype(np.int32)), torch.from_numpy(bytes_).float())
    assert shown(bytes_ > 100).unique().tolist() == [0.0, 1.0]
    with pytest.raises(UsageError, match="got 8 bits, which are divided by 255, in train alone; convert all"):
        task((bytes_, NUMBERS))


def test_a_loader_that_shows_other_data_is_refused() -> None:
    part = DataLoader(Pairs(), sampler=SubsetRandomSampler(range(8)))
    with pytest.raises(UsageError, match="expected a loader of a whole data set, got one with a sampler of its own"):
        task(part)
    changed = DataLoader(Pairs(), collate_fn=lambda items: items)
    with pytest.raises(UsageError, match="got one with a collate_fn of its own, whose data would be another"):
        task(changed)
    assert len(task(Subset(Pairs(), range(8))).train) == 8


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Classification.split("t", (INPUTS, NUMBERS[:9])), "expected as many targets as inputs, got 12 inputs"),
        (lambda: Regression.split("t", (INPUTS, INPUTS[:9])), "expected as many targets as inputs, got 12 inputs"),
        (lambda: Regression.split("t", (INPUTS, INPUTS + 1j)), "expected targets that are real numbers"),
        (lambda: task((INPUTS, ["a", "b", None] * 4)), "expected labels of one kind, got NoneType, int, str"),
        (lambda: task((INPUTS, ["a", "b", "c"] * 4), classes=2, validation=(INPUTS, ["a"] * 12),
                      test=(INPUTS, ["a"] * 12)), "expected 2 classes, got labels of 3; correct classes"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_one_sentence(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "dog", "ant"], ("ant", "cat", "dog")),
        ([5, -1, 700], (-1, 5, 700)),
        ([1, 2, 3], (1, 2, 3)),
        ([True, False, True], (False, True)),
    ],
)
def test_labels_are_counted_and_named(labels: list[Any], names: tuple[Any, ...]) -> None:
    targets = np.array(labels)[NUMBERS]
    splits = dict.fromkeys(("train", "validation", "test"), (INPUTS, targets))
    made = Classification(name="mine", **splits)
    assert (made.outputs, made.labels) == (len(names), names)
    assert [made.labels[number] for number in made.train.targets.tolist()] == targets.tolist()


def test_a_class_that_only_the_test_has_counts() -> None:
    made = task((INPUTS, np.array(["a", "b"] * 6)), validation=(INPUTS, ["a"] * 12), test=(INPUTS, ["c"] * 12))
    assert made.labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ((INPUTS, NUMBERS.astype(float)), "expected labels, got float64; give class numbers or texts, or use galab"),
        ((INPUTS, ["one"] * 12), "expected labels of at least 2 classes, got .'one',."),
        (([[1.0], [1.0, 2.0]] * 6, NUMBERS), "train: expected inputs that are numbers, got rows of several lengths"),
        ((INPUTS.astype(complex), NUMBERS), "expected inputs that are real numbers"),
        ({"x": 1}, r"expected a pair \(inputs, targets\) or a data set of torch, got dict"),
        (iter([]), r"expected a pair \(inputs, targets\) or a data set of torch, got list_iterator"),
        (TensorDataset(torch.zeros(3, 2)), "expected a data set with a length, whose items are pairs"),
    ],
)
def test_what_is_no_data_is_one_sentence(train: Any, said: str) -> None:
    alike = {"validation": train, "test": train} if "one" in str(train) else {}
    with pytest.raises(UsageError, match=said) as error:
        task(train, **alike)
    assert "\n" not in str(error.value)


def test_one_set_is_cut_into_three_in_which_every_class_has_its_share() -> None:
    inputs, labels = np.arange(400.0)[:, None], np.array(["a", "b", "b", "b"] * 100)
    made = Classification.split("mine", (inputs, labels))
    assert [len(part) for part in (made.train, made.validation, made.test)] == [280, 60, 60]
    for part in (made.train, made.validation, made.test):
        assert int((part.targets == 0).sum()) == len(part) // 4
    seen = torch.cat([part.inputs for part in (made.train, made.validation, made.test)]).flatten().sort().values
    assert seen.tolist() == list(range(400))
    assert made.labels == ("a", "b")
    assert Classification.split("mine", (inputs, labels)).fingerprint == made.fingerprint
    with pytest.raises(UsageError, match="expected examples for training, validation and test, got 1, 0 and 1 of 2"):
        Classification.split("mine", (inputs[:2], labels[:2]), validation=0.1, test=0.3)


def test_regression_measures_squared_errors() -> None:
    targets = INPUTS @ np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0], [1.0, 1.0]])
    made = Regression(name="mine", train=(INPUTS, targets), validation=(INPUTS, targets), test=(INPUTS, targets))
    assert (made.outputs, made.input_shape) == (2, (4,))
    outputs = torch.zeros(3, 12, 2)
    expected = (torch.from_numpy(targets) ** 2).mean(1).sum()
    assert made.measure(outputs, made.train.targets)["loss"].tolist() == pytest.approx([float(expected)] * 3)
    one = Regression.split("one", (INPUTS, targets[:, 0]), validation=0.25, test=0.25)
    assert (one.outputs, tuple(one.train.targets.shape), len(one.test)) == (1, (6, 1), 3)
    assert one.fingerprint != made.fingerprint
    with pytest.raises(UsageError, match=r"expected finite targets of shape \(B,\) or \(B, K\), got some that are NaN"):
        Regression.split("one", (INPUTS, targets * np.nan))
    with pytest.raises(UsageError, match="test: expected inputs of shape .4,. and 2 targets an example as in train"):
        Regression(name="m", train=(INPUTS, targets), validation=(INPUTS, targets), test=(INPUTS, targets[:, 0]))


CSV = "height,weight,kind\n" + "1.5,50,ant\n1.6,60,bee\n" * 20


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_table_is_a_task(tmp_path: Path) -> None:
    file = written(tmp_path / "insects.csv", CSV)
    made = load_task(f"csv(file={file})")
    assert isinstance(made, Classification)
    assert (made.labels, made.input_shape, len(made.train) + len(made.validation) + len(made.test)) == (
        ("ant", "bee"), (2,), 40,
    )  # fmt: skip
    everything = torch.cat([part.inputs for part in (made.train, made.validation, made.test)])
    torch.testing.assert_close(everything.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    raw = load_task(f"csv(file={file}, standardize=False)")
    assert {float(value) for value in raw.train.inputs[:, 1]} == {50.0, 60.0}
    semicolons = written(tmp_path / "measured.csv", "a;b\n" + "".join(f"{i / 7};{i / 3}\n" for i in range(30)))
    measured = load_task(f"csv(file={semicolons})")
    assert isinstance(measured, Regression)
    assert measured.outputs == 1
    assert made.description.startswith("'kind' of insects, 28 training")
    assert made.description.endswith("; 2 classes")
    assert measured.description.startswith("'b' of measured, ")
    assert measured.description.endswith("; a regression")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b\n", "", "expected a header and rows in"),
        ("a,b\n1,2\n1\n", "", "expected 2 columns in row 3 of .*, got 1"),
        ("a,b\n1,2\nx,2\n", "", "expected a number in column 'a', row 3 of .*, got 'x'"),
        ("a,b\n1,2\n", ", target=c", "to have one column 'c' and another, got a, b"),
        ("a,b,b\n1,2,3\n", "", "to have one column 'b' and another, got a, b, b"),
        ("a,b\n\n1,2\nnan,2\n", "", "expected a finite number in column 'a', row 4 of .*, got 'nan'"),
        ("a,b\n1,2\ninf,2\n", "", "expected a finite number in column 'a', row 3 of .*, got 'inf'"),
        ("a,b\n1,x\n2,y\n", ", kind=regression", "expected targets that are numbers in .* for regression, got texts"),
        ("a,b\n1,2\n2,\n", "", "expected a target in row 3 of .*, got ''; fill it"),
        ("a,b\n1,x\n2,\n", ", kind=classification", "expected a target in row 3 of .*, got ''; fill it"),
        ("a,b\n1,2\n2,3\n2,NA\n", "", "expected a target in row 4 of .*, got 'NA'; .* kind=classification"),
        ("a,b\n1,x\n2,y\n2,nan\n", "", "expected a target in row 4 of .*, got 'nan'"),
        ("a,b\n1,2\n2,3\n2,low\n", "", "expected a target in row 4 of .*, got 'low'"),
        ("a,b\n1,2\n2,3\n2,inf\n", "", "expected a target in row 4 of .*, got 'inf'"),
        ("a,b\n1,2\n", ", kind=clustering", "expected kind to be auto, classification or regression, got 'clustering'"),
    ],
)
def test_a_wrong_table_is_one_sentence(text: str, options: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        load_task(f"csv(file={written(tmp_path / 'a.csv', text)}{options})")
    with pytest.raises(UsageError, match=r"expected a CSV file at 'none.csv' in .*, got: No such file"):
        load_task("csv(file=none.csv)")


def test_a_table_in_another_encoding_is_told_where(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("a,b\n1,2\n2,Gr\u00f6\u00dfe\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"'.*a.csv' to be UTF-8, got a byte in line 3 that is none; save the file"):
        load_task(f"csv(file={file})")


def test_a_quoted_label_may_have_lines(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "a,b\n" + '1,"two\nlines"\n2,"a, b\u2028c"\n' * 20)
    made = load_task(f"csv(file={file})")
    assert isinstance(made, Classification)
    assert made.labels == ("a, b\u2028c", "two\nlines")
    assert len(made.train) + len(made.validation) + len(made.test) == 40


@pytest.mark.slow
def test_a_table_is_learned_and_resumed(tmp_path: Path) -> None:
    file = written(tmp_path / "insects.csv", CSV)
    values: dict[str, Any] = {"parents": 4, "children": 16, "batch": 0, "sigma": 0.1, "seed": 1, "save_every": 5}
    result = galab.run(task=f"csv(file={file})", runs=tmp_path, name="a", generations=20, **values)
    assert result.metrics["test_accuracy"] == 1.0
    galab.resume(tmp_path / "a", generations=22)
    steps = "".join(f"{i / 7},{i / 3}\n" for i in range(60))
    line = written(tmp_path / "line.csv", "a,b\n" + steps)
    found = galab.run(
        task=f"csv(file={line})", runs=tmp_path, name="b", generations=60, fitness="loss", hidden="8", **values
    )
    assert found.metrics["test_loss"] < 20

"""A task of one's own is a file with a function; what is not a task is refused in one sentence."""

from __future__ import annotations

import pytest

from galab.errors import DataError, UsageError
from galab.tasks import Classification, load_task
from galab.tasks import __doc__ as example

TOY = """
import torch
from galab.contracts import Examples
from galab.errors import DataError

class Toy:
    name, description, fingerprint, input_shape, outputs = "toy", "a toy", "0" * 64, (2,), 1
    train = validation = test = Examples(torch.ones(5, 2), torch.ones(5))

    def measure(self, outputs, targets):
        return {"loss": (outputs[..., 0] - targets).square().sum(1)}

def toy():
    return Toy()
"""


@pytest.fixture
def write(tmp_path):
    """Writes a task file and gives the reference to a function in it."""

    def write_file(text: str, function: str = "toy") -> str:
        path = tmp_path / "tasks_of_mine.py"
        path.write_text(text)
        return f"{path}:{function}"

    return write_file


def test_the_example_in_the_manual_works(write):
    lines = example.split("::\n", 1)[1].splitlines()
    task = load_task(write("\n".join(line.removeprefix("    ") for line in lines), "moons"))
    assert isinstance(task, Classification)
    assert (task.name, task.outputs, task.input_shape, len(task.train)) == ("moons", 2, (2,), 2000)
    assert sum(bool(line.strip()) for line in lines) <= 20


def test_a_task_need_not_be_a_classification(write):
    assert load_task(write(TOY)).description == "a toy"


def test_data_is_passed_on_to_those_who_take_it(write):
    text = TOY + "\ndef choice(data):\n    task = Toy()\n    task.description = data\n    return task\n"
    assert load_task(write(text, "choice"), "subset").description == "subset"
    assert load_task(write(TOY), "subset").description == "a toy"


def test_built_in_names_work():
    pytest.importorskip("sklearn")
    assert load_task("digits").name == "digits"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("return Toy()", "return {'a': 1}", "expected a task, got dict without name, description, fingerprint"),
        ("def measure", "def score", "got Toy without measure; return a galab.tasks.Classification or add"),
        ("torch.ones(5, 2)", "torch.ones(5, 2).long()", "train: expected inputs of dtype float32, got int64"),
        ("torch.ones(5, 2)", "torch.ones(5, 2) / 0", "train: expected finite inputs, got 10 that are NaN or infinite"),
        ("torch.ones(5, 2)", "torch.ones(4, 2)", r"expected as many targets as inputs, got 4 inputs"),
        ("torch.ones(5, 2)", "torch.ones(5, 3)", r"expected inputs of shape \(2,\) \(its input_shape\), got \(3,\)"),
        ("torch.ones(5, 2), torch.ones(5)", "torch.ones(0, 2), torch.ones(0)", "expected at least one example"),
        ("Examples(torch.ones(5, 2), torch.ones(5))", "None", "train: expected galab.contracts.Examples, got NoneType"),
        ('(2,), 1', '(2,), "1"', "expected outputs to be an int of at least 1, got '1'"),
        (".sum(1)", ".sum()", r"sums of shape \(2,\) for 2 members, got \{'loss': \(\)\}"),
        ('{"loss": (outputs', '(0 * (outputs', "expected measure to return a mapping|to return sums"),
        ("outputs[..., 0]", "outputs[..., 7]", "to return sums, got IndexError"),
        ("return Toy()", "return Toy(3)", "expected its function to return a task, got TypeError"),
        ("def toy()", "def toy(size)", "without required parameters .except data., got size; give them defaults"),
        ("def toy()", "toy = 3\ndef other()", "expected a function that returns a task, got int"),
    ],
)
def test_what_is_no_task_is_one_sentence(write, old, new, sentence):
    assert old in TOY
    text = TOY.replace(old, new)
    if new.startswith("(0 *"):
        text = text.replace(".sum(1)}", ".sum(1))")
    with pytest.raises(UsageError, match=sentence) as caught:
        load_task(write(text))
    assert "\n" not in str(caught.value)


SAMPLE = """
    def sample(self, run_key, generation, size):
        return Examples(torch.ones(size, 2), torch.ones(size))
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("run_key, generation, size", "size", "expected sample.run_key, generation, size. to return examples, got Ty"),
        ("return Examples(", "return (", "sample: expected galab.contracts.Examples, got tuple; wrap the tensors"),
        ("ones(size, 2)", "ones(size, 3)", r"sample: expected inputs of shape \(2,\) \(its input_shape\), got \(3,\)"),
        ("ones(size, 2)", "ones(size, 2) / 0", "sample: expected finite inputs, got 6 that are NaN"),
        ("(size", "(size + 2", "to make 3 examples, got 5; correct it"),
    ],
)
def test_examples_that_a_task_makes_itself_are_tried_too(write, old, new, sentence):
    text = TOY.replace("\ndef toy", SAMPLE + "\ndef toy")
    assert load_task(write(text)).sample(1, 1, 7).inputs.shape == (7, 2)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_task(write(text.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_fresh_examples_of_a_classification_have_class_numbers(write):
    text = example.split("::\n", 1)[1].replace("\n    ", "\n") + """
from galab.contracts import Examples

class Noisy(Classification):
    def sample(self, run_key, generation, size):
        return Examples(self.train.inputs[:size], self.train.targets[:size] + 5)

def noisy():
    task = moons()
    task.__class__ = Noisy
    return task
"""
    with pytest.raises(UsageError, match=r"sample: expected targets between 0 and 1 .2 classes., got 5"):
        load_task(write(text, "noisy"))


def test_errors_of_galab_pass_unchanged(write):
    with pytest.raises(DataError, match=r"^no such file$"):
        load_task(write(TOY.replace("return Toy()", "raise DataError('no such file')")))


def test_unknown_names_get_the_closest_match():
    with pytest.raises(UsageError, match=r"no task is called 'minst'\. Did you mean 'mnist'\?"):
        load_task("minst")


NO_TASKS = ["os:abort", "getpass:getpass", "os:getcwd", "galab.tasks.classification:permutation"]


@pytest.mark.parametrize("reference", NO_TASKS)
def test_a_strangers_reference_calls_no_function_that_is_no_task(reference):
    with pytest.raises(UsageError, match="expected a function annotated to return a task"):
        load_task(reference)


def test_an_annotated_function_in_a_module_works():
    pytest.importorskip("sklearn")
    assert load_task("galab.tasks.images:digits").name == "digits"

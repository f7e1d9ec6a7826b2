"""`NASBench`: the official package's questions, answered from the mapped table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import DataError
from nasbench.nasbench101.importing import import_official
from nasbench.nasbench101.table import METRICS, MOMENTS, NONE, ResultsTable
from runtime.tables import cache_folder
from supernet.spaces.nasbench101.cell import (
    LABELS,
    MASK,
    MASK_SHIFT,
    Cell,
    OutOfDomainError,
)
from supernet.spaces.nasbench101.model_spec import ModelSpec

SAFETENSORS = ".safetensors"


class NASBench:
    """Queries of the benchmark, with the budget they would have cost.

    Attributes:
        table: the results, as arrays.
        valid_epochs: the budgets that can be asked for.
    """

    def __init__(self, dataset_file: str | Path, seed: int | None = None) -> None:
        """Open a table, or an official TFRecord file, which is imported into the cache folder on first use.

        Args:
            seed: of this object's own generator, which chooses among repeats; None: another choice in every run.

        Raises:
            DataError: the file is not there, corrupt or something else; StorageError: the cache cannot be written.
        """
        self.table = ResultsTable.open(_find_table(Path(dataset_file)))
        self.valid_epochs = set(self.table.budgets)
        self._generator = np.random.default_rng(seed)
        self.reset_budget_counters()

    def is_valid(self, model_spec: ModelSpec) -> bool:
        """Whether the cell is one of NAS-Bench-101; never raises."""
        try:
            return isinstance(model_spec.cell, Cell)
        except OutOfDomainError:
            return False

    def query(self, model_spec: ModelSpec, epochs: int = 108, stop_halfway: bool = False) -> dict[str, Any]:
        """One random training of a cell, added to the budget.

        Args:
            epochs: the budget, one of `valid_epochs`.
            stop_halfway: the values at half of the budget.

        Returns:
            module_adjacency, module_operations (the pruned cell, in the table's order of vertices),
            trainable_parameters, training_time in seconds, train_accuracy, validation_accuracy, test_accuracy as
            fractions of 1.

        Raises:
            OutOfDomainError: the cell is outside of the benchmark, or the table does not hold it or its budget.
        """
        table, place = self.table, self._place(epochs)
        row = self._row(model_spec)
        made = table.repeats.item(row, place)
        if not made:
            key = table.hashes[row].tobytes().hex()
            raise OutOfDomainError(f"the table holds no training of {key} at {epochs} epochs")
        repeat = int(self._generator.random() * made)
        values = table.metrics[row, place, repeat, int(not stop_halfway)].tolist()
        self._spend(values[0], epochs // 2 if stop_halfway else epochs)
        return {**self._fixed(row), **dict(zip(METRICS, values))}

    def query_many(
        self, models: Sequence[ModelSpec] | Sequence[str], epochs: int = 108, stop_halfway: bool = False
    ) -> dict[str, np.ndarray]:
        """As many `query`, in bulk: the same repeats as one by one from the same state of the generator.

        Args:
            models: cells, or their hashes.

        Returns:
            trainable_parameters, training_time, train_accuracy, validation_accuracy, test_accuracy, each (N,).

        Raises:
            OutOfDomainError: as `query`; the message names the first such model, and nothing was spent.
        """
        table, place = self.table, self._place(epochs)
        rows = self._rows(models)
        made = table.repeats[rows, place]
        for wrong in np.flatnonzero((rows == NONE) | (made == 0))[:1]:
            raise OutOfDomainError(f"the table holds no training of model {wrong} at {epochs} epochs")
        repeats = (self._generator.random(len(rows)) * made).astype(np.int64)
        values = table.metrics[rows, place, repeats, int(not stop_halfway)]
        for seconds in values[:, 0].tolist():  # one by one, so that the sum is `query`'s to the last bit
            self._spend(seconds, epochs // 2 if stop_halfway else epochs)
        return {"trainable_parameters": table.params[rows], **dict(zip(METRICS, values.T))}

    def get_budget_counters(self) -> tuple[float, int]:
        """Seconds of training and epochs of all queries since the last reset."""
        return self.training_time_spent, self.total_epochs_spent

    def reset_budget_counters(self) -> None:
        """Set both to zero."""
        self.training_time_spent, self.total_epochs_spent = 0.0, 0

    def hash_iterator(self) -> Iterator[str]:
        """The hashes of all cells of the table."""
        return (key.tobytes().hex() for key in self.table.hashes)

    def get_metrics_from_hash(self, module_hash: str) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """Everything about a cell; not for benchmarking, since no budget is spent.

        Returns:
            module_adjacency, module_operations, trainable_parameters; and for each budget, for each repeat,
            `halfway_` and `final_` training_time (s), train_accuracy, validation_accuracy and test_accuracy.

        Raises:
            OutOfDomainError: the table holds no such cell.
        """
        row = int(self.table.rows_of_hashes([module_hash])[0])
        if row == NONE:
            raise OutOfDomainError(f"the table holds no cell with the hash {module_hash}")
        names = [f"{moment}_{metric}" for moment in MOMENTS for metric in METRICS]
        computed = {}
        for place, budget in enumerate(self.table.budgets):
            made = self.table.metrics[row, place, : self.table.repeats[row, place]]
            computed[budget] = [dict(zip(names, values)) for values in made.reshape(-1, len(names)).tolist()]
        return self._fixed(row), computed

    def get_metrics_from_spec(self, model_spec: ModelSpec) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """`get_metrics_from_hash` of a cell; raises OutOfDomainError where it is outside or not held."""
        return self.get_metrics_from_hash(model_spec.cell.hash)

    def _place(self, epochs: int) -> int:
        try:
            return self.table.places[epochs]
        except KeyError:
            known = ", ".join(map(str, self.table.budgets))
            raise OutOfDomainError(f"{epochs} epochs are no budget of this table; it has {known}") from None

    def _row(self, model_spec: ModelSpec) -> int:
        row = self.table.row_of_cell(model_spec.cell)
        if row == NONE:
            raise OutOfDomainError(f"the table does not hold the cell {model_spec.cell.hash}")
        return row

    def _rows(self, models: Sequence[ModelSpec] | Sequence[str]) -> np.ndarray:
        hashes = [model for model in models if isinstance(model, str)]
        if len(hashes) == len(models):
            return self.table.rows_of_hashes(hashes)
        codes = [model.cell.code for model in models if not isinstance(model, str)]
        if len(codes) != len(models):
            raise TypeError("give either cells or hashes, not both")
        return self.table.rows_of_cells(np.array(codes, np.uint32))

    def _fixed(self, row: int) -> dict[str, Any]:
        code = self.table.codes.item(row)
        return {
            "module_adjacency": _adjacency(code & ~LABELS).copy(),
            "module_operations": list(_operations(code & ~(MASK << MASK_SHIFT))),
            "trainable_parameters": self.table.params.item(row),
        }

    def _spend(self, seconds: float, epochs: int) -> None:
        self.training_time_spent += seconds
        self.total_epochs_spent += epochs


@cache
def _adjacency(code: int) -> np.ndarray:
    """The matrix of a cell, for its code without labels; there are some 5,500 of them."""
    return np.array(Cell(code).matrix, np.int8)


@cache
def _operations(code: int) -> tuple[str, ...]:
    """The operations of a cell, for its code without edges; there are 364 of them."""
    return Cell(code).ops


def _find_table(path: Path) -> Path:
    """The table itself, or that of an official file in the cache folder, imported when it is not there."""
    if path.suffix == SAFETENSORS:
        return path
    try:
        facts = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    identity = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    table = cache_folder() / f"nasbench101-{hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()}{SAFETENSORS}"
    if not table.is_file():
        import_official(path, announce=True)[0].write(table)
    return table

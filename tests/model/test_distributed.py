"""Gathering and averaging over processes; what two of them compute together is in tests/training/test_trainer.py."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dbeta.model.distributed import gather, mean_over_all, rank, world_size


def test_one_process_is_left_alone():
    x = torch.ones(3, 2, requires_grad=True)
    assert (world_size(), rank()) == (1, 0)
    assert gather(x) is x
    assert mean_over_all(torch.tensor(6.0), torch.tensor(4.0)) == 1.5
    assert mean_over_all(torch.tensor(0.0), torch.tensor(0.0)) == 0


def _process(number: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    x = torch.tensor([[1.0 + number], [3.0 + number]], requires_grad=True)
    y = gather(x)
    assert y.flatten().tolist() == [1, 3, 2, 4]
    # each process has its own use for the whole: 10 and 100 times the weights 1, 2, 3, 4
    (y[:, 0] * torch.tensor([1.0, 2.0, 3.0, 4.0]) * 10 ** (number + 1)).sum().backward()
    assert x.grad.flatten().tolist() == ([110, 220] if number == 0 else [330, 440])
    share = mean_over_all(torch.tensor([6.0, 2.0][number]), torch.tensor([1.0, 3.0][number]))
    total = share.clone()
    dist.all_reduce(total)
    assert total / 2 == 2.0  # (6 + 2) / (1 + 3)
    assert mean_over_all(torch.tensor(0.0), torch.tensor(0.0)) == 0
    dist.destroy_process_group()
    (Path(folder) / f"done-{number}").touch()


@pytest.mark.slow
def test_two_processes(tmp_path):
    mp.spawn(_process, (str(tmp_path),), nprocs=2)
    assert sorted(file.name for file in tmp_path.glob("done-*")) == ["done-0", "done-1"]

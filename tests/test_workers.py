import os

import pytest

from msam_nn.errors import UserError
from msam_nn.workers import map_in_processes


@pytest.mark.parametrize("n_processes", [1, 2])
def test_results_come_in_order(n_processes):
    assert map_in_processes(abs, [-3, 1, -2], n_processes, "-np", disable=True) == [3, 1, 2]


def test_a_worker_that_dies_is_one_sentence():
    with pytest.raises(UserError, match="A worker died, .*: use fewer with -np."):
        map_in_processes(os._exit, [1, 1], 2, "-np", disable=True)

"""Results of many runs in one page: tables as the paper lays them out, with its numbers beside ours."""

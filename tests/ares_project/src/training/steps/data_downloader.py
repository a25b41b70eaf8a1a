# src/training/steps/data_downloader.py: the downloader lives in ares_notebook now.
import sys

import ares_notebook

if __name__ == "__main__":
    from ares_notebook.cli import main

    sys.argv[1:1] = ["download", "--datasets", "klines,agg_trades,futures"]
    main()
sys.modules[__name__] = ares_notebook

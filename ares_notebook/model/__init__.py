"""What the data is: time, intervals, symbols, datasets, files, rows and their gaps. Pure: no disk, no network."""

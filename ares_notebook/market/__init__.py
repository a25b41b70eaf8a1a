"""What the market's data is: symbols, time, columns, rows, and what rows prove."""

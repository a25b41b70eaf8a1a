"""What a researcher looks at: coverage, gaps, candles, funding and downloads, drawn with Matplotlib."""

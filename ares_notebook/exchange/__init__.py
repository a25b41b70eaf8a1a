"""How Binance speaks; the only place that knows aiohttp."""

"""What rxstream has to do with other systems: one file for each, imported only by itself.

    serving         answers for browsers: Server-Sent Events and NDJSON, under aiohttp or any ASGI framework
    opentelemetry   spans and metrics by the GenAI conventions; needs the extra `otel`
    prometheus      the same figures to be scraped, and demand; needs the extra `prometheus`

Nothing is imported here, so that what is not installed is missed only where it is asked for.
"""

"""Pipelines: what a stream goes through from its source to its sink, built step by step."""

from rxstream.pipeline.builder import StreamPipelineBuilder
from rxstream.pipeline.presets import PRESETS, Preset
from rxstream.pipeline.streaming_pipeline import StreamingPipeline

__all__ = [
    "PRESETS",
    "Preset",
    "StreamPipelineBuilder",
    "StreamingPipeline",
]

"""The site, and the app that makes roadmaps."""

import os

# LangGraph reads it once, when it is imported: a checkpoint may name no type that is to be imported on load.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

"""The classifier over HTTP: FastAPI and uvicorn around intents.serving. No stage imports it."""

from intents.core import interrupt

interrupt.at_once()

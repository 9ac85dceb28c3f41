"""What a person runs, most of it through `make`. No stage imports anything from here."""

from intents.core import interrupt

interrupt.at_once()

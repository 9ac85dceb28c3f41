"""What a person runs, most of it through `make`. No stage imports anything from here."""

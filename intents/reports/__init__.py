"""Tables, pictures and the text of the report."""

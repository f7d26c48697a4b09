"""Two models of unlike vocabularies: what goes between them is text."""

"""One page for one question, made of saved records; and a front page of them all."""

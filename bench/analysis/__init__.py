"""Numbers alone: intervals, verdicts, plans, summaries over experiments. No sentence, no torch."""

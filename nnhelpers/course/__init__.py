"""What only the pages of the course need: checks of the exercises."""

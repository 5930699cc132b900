"""What only the pages of the course need: checks of exercises, figures, diagrams, the scoreboard."""

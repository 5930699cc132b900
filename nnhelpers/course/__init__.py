"""What only the course's pages need."""

"""The backend of the example: notes in SQLite, served by FastAPI."""

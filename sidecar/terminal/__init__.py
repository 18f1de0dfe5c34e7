"""Everything that commands draw with: text, colours, tables, the screen, keys and questions."""

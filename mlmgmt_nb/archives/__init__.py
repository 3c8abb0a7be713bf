"""Archives that somebody else made: extracted inside one folder, bounded in members, bytes and ratio."""

"""What the service is compared with: each a small honest program on one process, with the service's own table."""

# asyncpg's form; the same columns and conflict as `waitlist.joins` writes.
INSERT = """
    INSERT INTO waitlist_entry (email, normalised, source, language) VALUES ($1, $1, '', 'en')
    ON CONFLICT (normalised) DO NOTHING
"""
ANSWER = {"success": True, "message": "You are on the list."}

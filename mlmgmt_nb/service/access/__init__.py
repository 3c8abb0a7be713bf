"""Who may ask: bearer tokens, who they stand for, what that one may do, and the record of what was done."""

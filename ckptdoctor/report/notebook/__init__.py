"""What a notebook shows of results, and makes of them: short texts, HTML, tables, arrays."""

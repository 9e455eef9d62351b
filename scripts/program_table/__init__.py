"""The table of real programs: what each leaves in a plain file, and what every way of capturing it gives.

`case` says what a case is, `cases` lists them, `inputs` makes what they read, `ways` runs one in one way, `verdict` says
what came of it, `report` shows it. `idioms` holds the small Python programs among the cases.
"""

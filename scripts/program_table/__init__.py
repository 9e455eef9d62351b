"""The table of real programs: what each leaves in a plain file, and what every way of capturing it gives.

`case` defines a case, `cases` lists them, `inputs` makes their inputs, `ways` runs one in one way, `verdict` judges
the outcome, `report` prints the table. `idioms` has the small Python programs among the cases.
"""

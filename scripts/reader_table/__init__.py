"""The table of readers: whoever reads a file, through each door, at each time, however its writer ends.

`readers` lists them, `cell` runs one in one case, `expected` says what may come of it, `report` shows the table.
`programs` are the readers that are programs of ours: what one writes with the library of a language.
"""

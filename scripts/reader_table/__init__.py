"""The table of readers: programs that read a file, through each door, at each time, with each end of the writer.

`readers` lists them, `cell` runs one in one case, `expected` lists the allowed results, `report` prints the table.
`programs` has our own readers: programs that use the library of a language.
"""

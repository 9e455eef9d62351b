"""Shared by the scripts that fill tables of docs/: processes that are never left behind, servers on loopback, and a
program that writes a file in two halves."""

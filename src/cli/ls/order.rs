//! Orders names naturally: file-2 before file-10.

use std::path::Path;

/// Part of a name. Numbers come before text, and are ordered by value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Run {
    /// The number of digits without leading zeros, and the digits.
    Number(usize, String),
    Text(String),
}

/// The sort key of a path: name by name, so that a directory stays together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Vec<Vec<Run>>);

impl Key {
    pub(super) fn of(path: &Path) -> Self {
        let names = path.iter().map(|name| runs(&name.to_string_lossy()));
        Key(names.collect())
    }
}

fn runs(mut name: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    while let Some(first) = name.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = name.find(|c: char| c.is_ascii_digit() != is_number);
        let (run, rest) = name.split_at(end.unwrap_or(name.len()));
        let value = run.trim_start_matches('0');
        runs.push(match is_number {
            true => Run::Number(value.len(), value.to_owned()),
            false => Run::Text(run.to_owned()),
        });
        name = rest;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_their_value_and_directories_stay_together() {
        let sorted = [
            "",
            "1",
            "9b",
            "010",
            "a",
            "a/x",
            "a/x2",
            "a/x10",
            "a/x10y",
            "a/é9",
            "a/é10",
            "a3",
            "a18446744073709551616",
            "a18446744073709551617",
            "a-1/x",
            "b2c9/1",
            "b2c10/0",
            "b10c1",
        ];
        let expected = sorted.map(Path::new);
        let mut paths = expected;
        paths.reverse();
        paths.sort_by_cached_key(|path| Key::of(path));
        assert_eq!(paths, expected);
    }
}

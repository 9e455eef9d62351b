//! Tests of the tree of names alone.

use std::path::PathBuf;

use super::*;

const OWNER: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o755,
};
const NOW: Timestamp = Timestamp {
    seconds: 1,
    nanoseconds: 0,
};

fn tree() -> Namespace {
    let pool = Pool::for_tests(1 << 20, None);
    Namespace::new(OWNER, 2, NOW, &pool)
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn file(tree: &mut Namespace, parent: u64, text: &str) -> u64 {
    tree.make(parent, name(text), Kind::File, OWNER, 0, NOW)
        .unwrap()
}

#[test]
fn a_listing_under_way_survives_names_that_come_and_go() {
    let mut tree = tree();
    for text in ["a", "b", "c", "d"] {
        file(&mut tree, ROOT, text);
    }
    let seen: Vec<_> = tree
        .list(ROOT, 0, u64::MAX)
        .unwrap()
        .take(4)
        .map(|e| e.1)
        .collect();
    let last = *seen.last().unwrap();
    tree.unlink(ROOT, name("a"), NOW).unwrap();
    file(&mut tree, ROOT, "a");
    let rest: Vec<_> = tree
        .list(ROOT, last, u64::MAX)
        .unwrap()
        .map(|e| e.2)
        .collect();
    assert_eq!(rest, ["c", "d", "a"]);
}

/// The names of a listing read entry by entry, where `change` is done after the first `after` entries, the
/// dots not counted.
fn listed_during(
    tree: &mut Namespace,
    after: usize,
    change: impl FnOnce(&mut Namespace),
) -> String {
    let handle = tree.open_directory(ROOT).unwrap();
    let (mut at, mut names, mut change) = (DOTS, Vec::new(), Some(change));
    loop {
        if names.len() >= after
            && let Some(change) = change.take()
        {
            change(tree);
        }
        let end = tree.listing_end(ROOT, handle, at).unwrap();
        let Some((cookie, entry)) = tree
            .list(ROOT, at, end)
            .unwrap()
            .next()
            .map(|(_, cookie, name)| (cookie, name.to_str().unwrap().to_owned()))
        else {
            return names.concat();
        };
        at = cookie;
        names.push(entry);
    }
}

#[test]
fn an_entry_that_exists_all_the_time_is_listed_once_whatever_is_renamed_meanwhile() {
    // Name, new name, how, entries of "abcd" listed before the rename, and all names listed.
    let cases = [
        ("a", "x", Rename::Replace, 0, "xbcd"),
        ("a", "x", Rename::Replace, 1, "abcd"),
        ("d", "x", Rename::Replace, 1, "abcx"),
        // A name that another file gets existed all the time.
        ("a", "c", Rename::Replace, 0, "bcd"),
        ("a", "c", Rename::Replace, 1, "abcd"),
        ("c", "a", Rename::Replace, 1, "abd"),
        ("new", "c", Rename::Replace, 1, "abcd"),
        ("new", "c", Rename::Replace, 3, "abcd"),
        ("a", "d", Rename::Exchange, 1, "abcd"),
        ("d", "a", Rename::Exchange, 2, "abcd"),
    ];
    for (from, to, how, after, expected) in cases {
        let mut tree = tree();
        for text in ["a", "b", "c", "d"] {
            file(&mut tree, ROOT, text);
        }
        let listed = listed_during(&mut tree, after, |tree| {
            if from == "new" {
                file(tree, ROOT, from);
            }
            tree.rename((ROOT, name(from)), (ROOT, name(to)), how, NOW)
                .unwrap();
        });
        assert_eq!(listed, expected, "{from} to {to} after {after} entries");
    }
}

#[test]
fn an_entry_made_in_a_directory_while_it_is_listed_is_not_in_the_listing() {
    let mut tree = tree();
    let other = tree
        .make(ROOT, name("d"), Kind::directory(ROOT), OWNER, 0, NOW)
        .unwrap();
    file(&mut tree, other, "x");
    file(&mut tree, ROOT, "e");
    let listed = listed_during(&mut tree, 1, |tree| {
        file(tree, ROOT, "y");
        tree.rename((other, name("x")), (ROOT, name("x")), Rename::Replace, NOW)
            .unwrap();
        tree.rename((ROOT, name("y")), (ROOT, name("z")), Rename::Replace, NOW)
            .unwrap();
    });
    assert_eq!(listed, "de");
}

#[test]
fn exchange_moves_link_counts_with_the_directories() {
    let mut tree = tree();
    let one = tree
        .make(ROOT, name("one"), Kind::directory(ROOT), OWNER, 0, NOW)
        .unwrap();
    let inner = tree
        .make(one, name("inner"), Kind::directory(one), OWNER, 0, NOW)
        .unwrap();
    let plain = file(&mut tree, ROOT, "plain");
    tree.rename(
        (one, name("inner")),
        (ROOT, name("plain")),
        Rename::Exchange,
        NOW,
    )
    .unwrap();
    assert_eq!(tree.get(ROOT).unwrap().nlink(), 4);
    assert_eq!(tree.get(one).unwrap().nlink(), 2);
    assert_eq!(tree.parent(inner).unwrap(), ROOT);
    assert_eq!(tree.path(plain).unwrap(), ["one", "inner"]);
}

#[test]
fn an_inode_without_names_lives_until_it_is_forgotten() {
    let mut tree = tree();
    let ino = file(&mut tree, ROOT, "f");
    tree.looked_up(ino);
    tree.unlink(ROOT, name("f"), NOW).unwrap();
    tree.reap(ino);
    assert_eq!(tree.count(), 2);
    tree.forget(ino, 1);
    tree.reap(ino);
    assert_eq!(tree.count(), 1);
}

#[test]
fn nothing_can_be_made_in_a_removed_directory() {
    let mut tree = tree();
    let gone = tree
        .make(ROOT, name("d"), Kind::directory(ROOT), OWNER, 0, NOW)
        .unwrap();
    tree.looked_up(gone);
    tree.remove_directory(ROOT, name("d"), NOW).unwrap();
    let made = tree.make(gone, name("f"), Kind::File, OWNER, 0, NOW);
    assert_eq!(made.unwrap_err(), Errno::NOENT);
}

#[test]
fn relative_links_are_followed_and_loops_end() {
    let mut tree = tree();
    let ino = file(&mut tree, ROOT, "f");
    let link = |to: &str| Kind::Symlink(PathBuf::from(to));
    tree.make(ROOT, name("l"), link("./f"), OWNER, 0, NOW)
        .unwrap();
    tree.make(ROOT, name("loop"), link("loop"), OWNER, 0, NOW)
        .unwrap();
    assert_eq!(tree.resolve(&["l".into()]), Some(ino));
    assert_eq!(tree.resolve(&["loop".into()]), None);
}

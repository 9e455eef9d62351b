//! Whatever writers do, in any order, with several files and three names: a reader gets the file that stands
//! at its path in the end, whole, or an error. All requests that change files or names are drawn.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::super::generation::Ending;
use super::super::ids::Unique;
use super::super::namespace::{ROOT, Rename};
use super::super::request::Opener;
use super::super::rules::Deliver;
use super::{Answer, LINGER, READER, WRITER, World};

/// The names of files: of formats that follow under auto, and one of unknown format.
const NAMES: [&str; 3] = ["f.log", "g.log", "h"];

#[derive(Clone, Debug)]
enum Step {
    /// Opens a name for writing, and makes a file if there is none.
    Create(usize),
    Write {
        file: usize,
        offset: u64,
        data: Vec<u8>,
        from_cache: bool,
    },
    Truncate {
        file: usize,
        length: u64,
    },
    Allocate {
        file: usize,
        offset: u64,
        length: u64,
        mode: i32,
    },
    Reopen {
        file: usize,
        empties: bool,
    },
    Rename {
        from: usize,
        to: usize,
        how: Rename,
    },
    Unlink(usize),
    Link {
        from: usize,
        to: usize,
    },
    Read {
        reader: usize,
        length: u32,
    },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few values and short data, so that the same bytes are often rewritten.
    let data = prop::collection::vec(0..2_u8, 1..6);
    let modes = [
        0,
        libc::FALLOC_FL_KEEP_SIZE,
        libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE,
        libc::FALLOC_FL_ZERO_RANGE,
        libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_ZERO_RANGE,
    ];
    let renames = [Rename::Replace, Rename::KeepTarget, Rename::Exchange];
    let file = || 0..3_usize;
    let name = || 0..NAMES.len();
    prop_oneof![
        2 => name().prop_map(Step::Create),
        8 => (file(), 0..12_u64, data, any::<bool>()).prop_map(
            |(file, offset, data, from_cache)| Step::Write { file, offset, data, from_cache }
        ),
        2 => (file(), 0..12_u64).prop_map(|(file, length)| Step::Truncate { file, length }),
        2 => (file(), 0..12_u64, 1..6_u64, prop::sample::select(modes.to_vec())).prop_map(
            |(file, offset, length, mode)| Step::Allocate { file, offset, length, mode }
        ),
        2 => (file(), any::<bool>()).prop_map(|(file, empties)| Step::Reopen { file, empties }),
        1 => (name(), name(), prop::sample::select(renames.to_vec()))
            .prop_map(|(from, to, how)| Step::Rename { from, to, how }),
        1 => name().prop_map(Step::Unlink),
        1 => (name(), name()).prop_map(|(from, to)| Step::Link { from, to }),
        8 => (0..3_usize, 1..8_u32).prop_map(|(reader, length)| Step::Read { reader, length }),
        2 => (0..120_u64).prop_map(Step::Pass),
    ]
}

/// A reader that reads on from its position, one request at a time.
#[derive(Default)]
struct Following {
    thread: i32,
    /// The name by which it was opened.
    name: &'static str,
    /// The file that was found, and all names that it had then.
    ino: u64,
    paths: Vec<&'static str>,
    open: Option<Unique>,
    /// Whether the kernel has looked the name up again, as it does once.
    has_looked_again: bool,
    handle: Option<u64>,
    pending: Option<Unique>,
    got: Vec<u8>,
    end: Option<Result<(), Errno>>,
}

impl Following {
    fn look(&mut self, world: &mut World, model: &Model) {
        if let Some(open) = self.open
            && let Some(answer) = world.answer(open).cloned()
        {
            self.open = None;
            match answer {
                Answer::Handle(handle, _) => self.handle = Some(handle),
                Answer::Error(Errno::STALE) if !self.has_looked_again => {
                    self.has_looked_again = true;
                    self.open(world, model);
                    self.look(world, model);
                }
                Answer::Error(errno) => self.end = Some(Err(errno)),
                other => panic!("an open was answered {other:?}"),
            }
        }
        if let Some(pending) = self.pending
            && let Some(answer) = world.answer(pending)
        {
            self.pending = None;
            match answer {
                Answer::Bytes(bytes) if bytes.is_empty() => self.end = Some(Ok(())),
                Answer::Bytes(bytes) => self.got.extend(bytes),
                Answer::Error(errno) => self.end = Some(Err(*errno)),
                other => panic!("a read was answered {other:?}"),
            }
        }
    }

    /// open(2): the kernel makes a LOOKUP and an OPEN.
    fn open(&mut self, world: &mut World, model: &Model) {
        let found = world.try_to_look_up_by(self.thread, ROOT, self.name);
        let Ok(found) = found else {
            if self.has_looked_again {
                self.end = Some(Err(Errno::NOENT));
            }
            return;
        };
        let ino = found.attributes.ino;
        self.ino = ino;
        self.paths = model.names_of(ino);
        let caller = world.caller(self.thread);
        self.open = Some(world.open_by(caller, ino, &Opener::default()));
    }

    fn advance(&mut self, world: &mut World, model: &Model, length: u32) {
        self.look(world, model);
        if self.end.is_none() && self.open.is_none() && self.handle.is_none() {
            self.open(world, model);
            self.look(world, model);
        }
        if let (Some(handle), None, None) = (self.handle, self.pending, &self.end) {
            self.pending = Some(world.read(handle, self.got.len() as u64, length));
            self.look(world, model);
        }
    }
}

/// A model of the files: the contents and names that they must have.
#[derive(Default)]
struct Model {
    names: BTreeMap<&'static str, u64>,
    contents: HashMap<u64, Vec<u8>>,
    /// Files that are open for writing, with their handles.
    open: Vec<(u64, u64)>,
    /// Whether a name was made, moved or removed.
    moved: bool,
    /// Files with a refused change: streams, which have failed for good.
    refused: HashSet<u64>,
    /// Files that were emptied after that, so that no bytes of them are missing.
    emptied: HashSet<u64>,
    /// Names at which a change was refused because of a stream that has lost its name, or has another one.
    refused_names: HashSet<&'static str>,
    /// All files with all names that they ever had.
    had: HashSet<(u64, &'static str)>,
}

impl Model {
    fn names_of(&self, ino: u64) -> Vec<&'static str> {
        let names = self.names.iter().filter(|(_, of)| **of == ino);
        names.map(|(name, _)| *name).collect()
    }

    /// Gives a file a name.
    fn name(&mut self, name: &'static str, ino: u64) {
        self.names.insert(name, ino);
        self.had.insert((ino, name));
    }

    fn content(&mut self, ino: u64) -> &mut Vec<u8> {
        self.contents.entry(ino).or_default()
    }

    /// One of the open files.
    fn file(&self, number: usize) -> Option<u64> {
        let number = number.checked_rem(self.open.len())?;
        Some(self.open[number].0)
    }

    /// Notes that a change of a file was refused.
    fn refuse(&mut self, ino: u64) {
        self.refused.insert(ino);
        self.emptied.remove(&ino);
    }

    /// Does one step in the world and in the model.
    fn step(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Create(name) => self.create(world, NAMES[name]),
            Step::Write {
                file,
                offset,
                data,
                from_cache,
            } => {
                let Some(ino) = self.file(file) else { return };
                let write = world.write_by(ino, offset, &data, from_cache);
                if world.error(write).is_some() {
                    self.refuse(ino);
                    return;
                }
                let end = offset as usize + data.len();
                let content = self.content(ino);
                content.resize(content.len().max(end), 0);
                content[offset as usize..end].copy_from_slice(&data);
            }
            Step::Truncate { file, length } => {
                let Some(ino) = self.file(file) else { return };
                match world.truncate(ino, length) {
                    Ok(()) => {
                        self.content(ino).resize(length as usize, 0);
                        self.emptied.extend((length == 0).then_some(ino));
                    }
                    Err(_) => self.refuse(ino),
                }
            }
            Step::Allocate {
                file,
                offset,
                length,
                mode,
            } => {
                let Some(ino) = self.file(file) else { return };
                self.allocate(world, ino, (offset, length), mode);
            }
            Step::Reopen { file, empties } => {
                let Some(ino) = self.file(file) else { return };
                let flags = libc::O_WRONLY | if empties { libc::O_TRUNC } else { 0 };
                let again = world.try_to_reopen(ino, flags);
                if world.error(again).is_some() {
                    self.refuse(ino);
                    return;
                }
                let number = file % self.open.len();
                let again = world.handle(again);
                let before = std::mem::replace(&mut self.open[number].1, again);
                world.release(before);
                if empties {
                    self.content(ino).clear();
                    self.emptied.insert(ino);
                }
            }
            Step::Rename { from, to, how } => self.rename(world, NAMES[from], NAMES[to], how),
            Step::Unlink(name) => {
                let Some(_) = self.names.remove(NAMES[name]) else {
                    return;
                };
                self.moved = true;
                world.unlink(NAMES[name]);
            }
            Step::Link { from, to } => {
                let (Some(&ino), None) = (self.names.get(NAMES[from]), self.names.get(NAMES[to]))
                else {
                    return;
                };
                if world.try_to_link(ino, NAMES[to]).is_err() {
                    self.refused_names.insert(NAMES[to]);
                    return;
                }
                self.moved = true;
                self.name(NAMES[to], ino);
            }
            Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
            Step::Read { .. } => unreachable!("a step of a reader"),
        }
    }

    fn create(&mut self, world: &mut World, name: &'static str) {
        let (ino, handle) = match self.names.get(name).copied() {
            Some(ino) => {
                let opened = world.try_to_reopen(ino, libc::O_WRONLY);
                if world.error(opened).is_some() {
                    self.refuse(ino);
                    return;
                }
                (ino, world.handle(opened))
            }
            None => match world.try_to_create(name, libc::O_WRONLY) {
                Ok(created) => created,
                Err(_) => return self.refused_names.extend([name]),
            },
        };
        self.moved |= !self.names.is_empty() && !self.names.contains_key(name);
        self.name(name, ino);
        self.open.push((ino, handle));
    }

    fn allocate(&mut self, world: &mut World, ino: u64, (offset, length): (u64, u64), mode: i32) {
        let allocated = world.try_to_allocate(ino, (offset, length), mode);
        if allocated.is_err() {
            self.refuse(ino);
            return;
        }
        let content = self.content(ino);
        let end = (offset + length) as usize;
        if mode & libc::FALLOC_FL_KEEP_SIZE == 0 {
            content.resize(content.len().max(end), 0);
        }
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
            let end = end.min(content.len());
            let start = end.min(offset as usize);
            content[start..end].fill(0);
        }
    }

    fn rename(&mut self, world: &mut World, from: &'static str, to: &'static str, how: Rename) {
        let (here, there) = (self.names.get(from).copied(), self.names.get(to).copied());
        let renamed = world.try_to_rename(from, to, how);
        let expected = match (here, there, how) {
            (None, _, _) | (_, None, Rename::Exchange) => Err(Errno::NOENT),
            (_, Some(_), Rename::KeepTarget) => Err(Errno::EXIST),
            // A stream that has delivered bytes cannot be replaced.
            _ if renamed == Err(Errno::SPIPE) => {
                self.refused_names.extend([from, to]);
                return;
            }
            _ => Ok(()),
        };
        assert_eq!(renamed, expected, "{from} to {to}, {how:?}");
        let (Some(here), Ok(())) = (here, renamed) else {
            return;
        };
        self.moved = true;
        match (there, how) {
            // POSIX: a rename between two names of one file changes nothing.
            (Some(there), _) if there == here => {}
            (Some(there), Rename::Exchange) => {
                self.name(from, there);
                self.name(to, here);
            }
            _ => {
                self.names.remove(from);
                self.name(to, here);
            }
        }
    }

    /// Checks that a reader ended as it may.
    fn judge(&self, reader: &Following, deliver: Deliver) {
        let Following {
            name,
            paths,
            got,
            end,
            ..
        } = reader;
        let mut stands: Vec<Option<&u64>> = paths.iter().map(|path| self.names.get(path)).collect();
        if deliver == Deliver::Stream {
            // Removing a name alone changes nothing, as with a pipe: the reader may have any of the files.
            stands.extend(self.open.iter().map(|(ino, _)| Some(ino)));
        }
        let content = |ino: &u64| self.contents.get(ino).map_or(&[][..], Vec::as_slice);
        let is_whole = |ino: &&u64| {
            let is_missing = self.refused.contains(ino) && !self.emptied.contains(ino);
            content(ino) == got && !is_missing
        };
        match end {
            Some(Ok(())) => assert!(
                stands.iter().flatten().any(is_whole),
                "{name}, opened as {paths:?}: {got:?} is none of what stands there, {stands:?}: {:?}, refused: {:?}",
                self.contents,
                self.refused
            ),
            Some(Err(Errno::IO)) => {
                let mut files = stands.iter().flatten().copied().chain([&reader.ino]);
                let is_refused = files.any(|ino| self.refused.contains(ino))
                    || paths.iter().any(|path| self.refused_names.contains(path))
                    || (self.refused_names.iter())
                        .any(|name| self.had.contains(&(reader.ino, name)));
                assert!(is_refused, "{name}: an error without a reason");
            }
            Some(Err(Errno::STALE)) => assert!(
                deliver != Deliver::Settled || self.moved,
                "what is settled is never stale"
            ),
            Some(Err(Errno::NOENT)) => assert!(
                stands.contains(&None) || !self.names.contains_key(name),
                "{name}, opened as {paths:?}, is there"
            ),
            Some(Err(errno)) => panic!("{name}: {errno}"),
            None if reader.handle.is_none() && reader.open.is_none() => {
                assert!(!self.names.contains_key(name), "{name} was never opened");
            }
            None => panic!("a reader of {name}, which is done, still waits"),
        }
    }
}

fn never_stale(deliver: Deliver, steps: Vec<Step>) {
    let mut world = World::new(deliver, |_| {});
    let mut model = Model::default();
    model.create(&mut world, NAMES[0]);
    let mut readers = [0, 1, 2].map(|number| Following {
        thread: READER + number as i32,
        name: NAMES[number % 2],
        ..Following::default()
    });
    for step in steps {
        match step {
            Step::Read { reader, length } => {
                readers[reader].advance(&mut world, &model, length);
            }
            step => model.step(&mut world, step),
        }
    }
    for (_, handle) in &model.open {
        world.release(*handle);
    }
    world.end(WRITER, Ending::Status(0));
    world.pass(Duration::from_secs(2));
    for reader in &mut readers {
        for _ in 0..100 {
            reader.advance(&mut world, &model, 7);
            world.pass(Duration::from_millis(5));
        }
        model.judge(reader, deliver);
    }
}

proptest! {
    #[test]
    fn a_reader_gets_the_file_at_its_path_or_an_error(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        for deliver in [Deliver::Follow, Deliver::Auto, Deliver::Settled, Deliver::Stream] {
            never_stale(deliver, steps.clone());
        }
    }

    #[test]
    fn bytes_in_any_order_are_delivered_in_order(
        order in Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        let model = Model::default();
        let mut reader = Following { handle: Some(world.handle(open)), ..Default::default() };
        for block in order {
            world.write(ino, block * 3, &[block as u8; 3]);
            reader.advance(&mut world, &model, 2);
            world.pass(Duration::from_millis(4));
        }
        world.release(handle);
        world.pass(LINGER);
        while reader.end.is_none() {
            reader.advance(&mut world, &model, 7);
        }
        let expected: Vec<u8> = (0..20).flat_map(|block| [block; 3]).collect();
        prop_assert_eq!(reader.got, expected);
    }
}

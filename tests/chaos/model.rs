//! A model of a program's files in memory.
//!
//! Knows names, open files, mappings and bytes as POSIX defines them; no time. A run in a plain directory is compared
//! with it, step by step, so that a bug of the model is found before it is blamed on fifofs.

use std::sync::Arc;

use crate::program::{Access, MAPS, NAMES, Name, Op, PROCESSES, Program, SLOTS, Step, WATCHED};
use crate::program::{bytes, digest};

#[derive(Clone, Default)]
struct Inode {
    content: Arc<Vec<u8>>,
    /// Changes with the content.
    version: u32,
}

#[derive(Clone, Copy)]
struct Description {
    inode: usize,
    offset: u64,
    access: Access,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct ProcessFiles {
    slots: [Option<usize>; SLOTS],
    maps: [Option<(usize, u64)>; MAPS],
}

#[derive(Clone)]
pub(crate) struct World {
    text: bool,
    names: [Option<usize>; NAMES],
    inodes: Vec<Inode>,
    descriptions: Vec<Description>,
    processes: [Option<ProcessFiles>; PROCESSES],
}

/// The file at a name: the same inode and version mean the same bytes.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) inode: usize,
    pub(crate) version: u32,
    /// Kept if no process may still write to it.
    pub(crate) content: Option<Arc<Vec<u8>>>,
}

impl World {
    pub(crate) fn new(program: &Program) -> Self {
        let mut world = Self {
            text: program.text,
            names: [None; NAMES],
            inodes: Vec::new(),
            descriptions: Vec::new(),
            processes: [None; PROCESSES],
        };
        world.processes[0] = Some(ProcessFiles::default());
        if let Some(length) = program.initial {
            world.names[usize::from(WATCHED)] = Some(0);
            world.inodes.push(Inode {
                content: Arc::new(bytes(program.text, 0, 0, length)),
                version: 0,
            });
        }
        world
    }

    pub(crate) fn standing(&self, name: Name) -> Option<Standing> {
        let inode = self.names[usize::from(name)]?;
        let Inode { content, version } = &self.inodes[inode];
        Some(Standing {
            inode,
            version: *version,
            content: (!self.is_open(inode)).then(|| Arc::clone(content)),
        })
    }

    /// The contents of a file, whatever its names.
    pub(crate) fn content(&self, inode: usize) -> Arc<Vec<u8>> {
        Arc::clone(&self.inodes[inode].content)
    }

    /// Whether a process may still write to it: has it open for writing, or mapped.
    pub(crate) fn is_open(&self, inode: usize) -> bool {
        let mut files = self.processes.iter().flatten();
        files.any(|files| self.holds(files, inode))
    }

    /// The same, without mappings.
    pub(crate) fn is_open_for_writing(&self, inode: usize) -> bool {
        (0..PROCESSES as u8).any(|process| self.holds_for_writing(process, inode))
    }

    /// Whether this process has it open for writing.
    pub(crate) fn holds_for_writing(&self, process: u8, inode: usize) -> bool {
        let mut files = self.processes[usize::from(process)].iter();
        files.any(|files| self.has_slot(files, inode))
    }

    fn has_slot(&self, files: &ProcessFiles, inode: usize) -> bool {
        let mut slots = files.slots.iter().flatten();
        slots.any(|slot| self.descriptions[*slot].inode == inode)
    }

    fn holds(&self, files: &ProcessFiles, inode: usize) -> bool {
        let mut maps = files.maps.iter().flatten();
        self.has_slot(files, inode) || maps.any(|(mapped, _)| *mapped == inode)
    }

    pub(crate) fn size(&self, name: Name) -> Option<u64> {
        let inode = self.names[usize::from(name)]?;
        Some(self.inodes[inode].content.len() as u64)
    }

    pub(crate) fn exists(&self, name: Name) -> bool {
        self.names[usize::from(name)].is_some()
    }

    pub(crate) fn is_same(&self, one: Name, other: Name) -> bool {
        self.names[usize::from(one)] == self.names[usize::from(other)]
    }

    pub(crate) fn is_alive(&self, process: u8) -> bool {
        self.processes[usize::from(process)].is_some()
    }

    fn files(&self, process: u8) -> &ProcessFiles {
        self.processes[usize::from(process)]
            .as_ref()
            .expect("a process that lives")
    }

    fn files_mut(&mut self, process: u8) -> &mut ProcessFiles {
        self.processes[usize::from(process)]
            .as_mut()
            .expect("a process that lives")
    }

    fn description(&self, process: u8, slot: u8) -> Option<&Description> {
        let number = self.files(process).slots[usize::from(slot)]?;
        Some(&self.descriptions[number])
    }

    /// The length of the file in a slot, and how it was opened.
    pub(crate) fn opened(&self, process: u8, slot: u8) -> Option<(u64, Access)> {
        let description = self.description(process, slot)?;
        let length = self.inodes[description.inode].content.len() as u64;
        Some((length, description.access))
    }

    /// Whether the next write to this slot goes to the end of the file.
    pub(crate) fn is_at_end(&self, process: u8, slot: u8) -> bool {
        self.description(process, slot).is_some_and(|description| {
            let length = self.inodes[description.inode].content.len() as u64;
            description.access == Access::Append || description.offset == length
        })
    }

    /// How much of a mapping is within its file.
    pub(crate) fn mapped(&self, process: u8, map: u8) -> Option<u64> {
        let (inode, length) = self.files(process).maps[usize::from(map)]?;
        Some(length.min(self.inodes[inode].content.len() as u64))
    }

    /// Whether this process may read a file by its name without waiting for another process of the program.
    pub(crate) fn may_read(&self, process: u8, name: Name) -> bool {
        self.names[usize::from(name)]
            .is_some_and(|inode| self.holds_for_writing(process, inode) || !self.is_open(inode))
    }

    fn change(&mut self, inode: usize, with: impl FnOnce(&mut Vec<u8>)) {
        let inode = &mut self.inodes[inode];
        inode.version += 1;
        with(Arc::make_mut(&mut inode.content));
    }

    fn put(&mut self, inode: usize, offset: u64, data: &[u8]) {
        self.change(inode, |content| {
            let end = offset as usize + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[offset as usize..end].copy_from_slice(data);
        });
    }

    fn inode_of(&self, process: u8, slot: u8) -> usize {
        self.description(process, slot).expect("an open file").inode
    }

    /// Does a step that is possible, and returns its result: a length or a digest.
    pub(crate) fn apply(&mut self, Step { process, op }: Step) -> i64 {
        match op {
            Op::Open {
                slot,
                name,
                access,
                truncate,
                ..
            } => {
                let inode = match self.names[usize::from(name)] {
                    Some(inode) => inode,
                    None => {
                        self.inodes.push(Inode::default());
                        self.inodes.len() - 1
                    }
                };
                self.names[usize::from(name)] = Some(inode);
                if truncate {
                    self.change(inode, Vec::clear);
                }
                self.descriptions.push(Description {
                    inode,
                    offset: 0,
                    access,
                });
                let number = self.descriptions.len() - 1;
                self.files_mut(process).slots[usize::from(slot)] = Some(number);
            }
            Op::Close { slot } => self.files_mut(process).slots[usize::from(slot)] = None,
            Op::Dup { from, to } => {
                let files = self.files_mut(process);
                files.slots[usize::from(to)] = files.slots[usize::from(from)];
            }
            Op::Write { slot, length, mark } => {
                let number = self.files(process).slots[usize::from(slot)].expect("an open file");
                let Description {
                    inode,
                    offset,
                    access,
                } = self.descriptions[number];
                let offset = match access {
                    Access::Append => self.inodes[inode].content.len() as u64,
                    _ => offset,
                };
                self.put(inode, offset, &bytes(self.text, mark, offset, length));
                self.descriptions[number].offset = offset + length;
                return length as i64;
            }
            Op::Patch {
                slot,
                offset,
                length,
                mark,
            } => {
                let inode = self.inode_of(process, slot);
                self.put(inode, offset, &bytes(self.text, mark, offset, length));
                return length as i64;
            }
            Op::Truncate { slot, length } => {
                let inode = self.inode_of(process, slot);
                self.change(inode, |content| content.resize(length as usize, 0));
            }
            Op::TruncateName { name, length } => {
                let inode = self.names[usize::from(name)].expect("a file");
                self.change(inode, |content| content.resize(length as usize, 0));
            }
            Op::Allocate {
                slot,
                offset,
                length,
                keep_size,
            } => {
                let end = (offset + length) as usize;
                let inode = self.inode_of(process, slot);
                if !keep_size && self.inodes[inode].content.len() < end {
                    self.change(inode, |content| content.resize(end, 0));
                }
            }
            Op::Punch {
                slot,
                offset,
                length,
            } => {
                let inode = self.inode_of(process, slot);
                self.change(inode, |content| {
                    let end = content.len().min((offset + length) as usize);
                    let start = end.min(offset as usize);
                    content[start..end].fill(0);
                });
            }
            Op::Zero {
                slot,
                offset,
                length,
            } => {
                let inode = self.inode_of(process, slot);
                self.put(inode, offset, &vec![0; length as usize]);
            }
            Op::Map { slot, map } => {
                let inode = self.inode_of(process, slot);
                let length = self.inodes[inode].content.len() as u64;
                self.files_mut(process).maps[usize::from(map)] = Some((inode, length));
                return length as i64;
            }
            Op::Store {
                map,
                offset,
                length,
                mark,
            } => {
                let (inode, _) = self.files(process).maps[usize::from(map)].expect("a mapping");
                self.put(inode, offset, &bytes(self.text, mark, offset, length));
            }
            Op::Unmap { map } => self.files_mut(process).maps[usize::from(map)] = None,
            Op::Sync { .. } | Op::Sleep { .. } => {}
            Op::ReadBack {
                slot,
                offset,
                length,
            } => {
                let content = &self.inodes[self.inode_of(process, slot)].content;
                let end = content.len().min((offset + length) as usize);
                return digest(&content[end.min(offset as usize)..end]);
            }
            Op::ReadName { name } => {
                let inode = self.names[usize::from(name)].expect("a file");
                return digest(&self.inodes[inode].content);
            }
            Op::Size { name } => return self.size(name).expect("a file") as i64,
            Op::Rename { from, to } => {
                // rename(2) between two names of one file keeps both.
                if !self.is_same(from, to) {
                    self.names[usize::from(to)] = self.names[usize::from(from)].take();
                }
            }
            Op::Exchange { one, other } => self.names.swap(usize::from(one), usize::from(other)),
            Op::Link { from, to } => self.names[usize::from(to)] = self.names[usize::from(from)],
            Op::Unlink { name } => self.names[usize::from(name)] = None,
            Op::Fork { child } => {
                self.processes[usize::from(child)] = self.processes[usize::from(process)];
            }
            Op::Exit | Op::Kill { .. } => self.processes[usize::from(process)] = None,
        }
        0
    }

    /// Ends all processes.
    pub(crate) fn end(&mut self) {
        self.processes = [None; PROCESSES];
    }
}

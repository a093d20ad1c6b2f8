//! Output buffers of a shard: a connection holds one while it has something to write, and idle connections hold none.
//!
//! Connections whose output is the same hold the same one: a fan-out's bytes are then in memory once, where each send finds
//! them in the CPU's cache. Who writes something of its own to a shared buffer gets a copy first.

/// A buffer above this capacity is given back to the allocator.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// So much is kept for the next writers. Without it the pool would in time hold as many buffers as ever wrote at once,
/// each as large as the largest output it ever had.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// All buffers, by index.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    all: Vec<Buffer>,
    /// Not in use, with memory.
    kept: Vec<u32>,
    /// Not in use, without.
    bare: Vec<u32>,
    kept_bytes: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Connections that hold it.
    holders: u32,
}

impl Buffers {
    /// An empty buffer with one holder.
    pub(super) fn take(&mut self) -> u32 {
        let index = if let Some(index) = self.kept.pop() {
            self.kept_bytes -= self.all[index as usize].bytes.capacity();
            index
        } else {
            self.bare.pop().unwrap_or_else(|| {
                self.all.push(Buffer::default());
                (self.all.len() - 1) as u32
            })
        };
        self.all[index as usize].holders = 1;
        index
    }

    /// One more connection holds the buffer.
    pub(super) fn share(&mut self, index: u32) {
        self.all[index as usize].holders += 1;
    }

    /// Whether it has one holder.
    pub(super) fn is_own(&self, index: u32) -> bool {
        self.all[index as usize].holders == 1
    }

    /// Another buffer with the same in it, and one holder.
    pub(super) fn copy(&mut self, index: u32) -> u32 {
        let copy = self.take();
        let mut bytes = std::mem::take(&mut self.all[copy as usize].bytes);
        bytes.extend_from_slice(&self.all[index as usize].bytes);
        self.all[copy as usize].bytes = bytes;
        copy
    }

    /// One connection holds it no longer; with the last one what is in it goes. True: that was the last one.
    pub(super) fn give_back(&mut self, index: u32) -> bool {
        let buffer = &mut self.all[index as usize];
        buffer.holders -= 1;
        if buffer.holders > 0 {
            return false;
        }
        buffer.bytes.clear();
        let bytes = buffer.bytes.capacity();
        if bytes == 0 || bytes > BUFFER_BYTES_MAX || self.kept_bytes + bytes > KEPT_BYTES_MAX {
            buffer.bytes = Vec::new();
            self.bare.push(index);
        } else {
            self.kept_bytes += bytes;
            self.kept.push(index);
        }
        true
    }

    #[cfg(test)]
    pub(super) fn all_are_free(&self) -> bool {
        self.kept.len() + self.bare.len() == self.all.len()
    }

    pub(super) fn get(&self, index: u32) -> &Vec<u8> {
        &self.all[index as usize].bytes
    }

    /// To write to; whoever does must be the one holder.
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Vec<u8> {
        let buffer = &mut self.all[index as usize];
        debug_assert_eq!(buffer.holders, 1, "others hold it too");
        &mut buffer.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `count` buffers, writes so many bytes to each, and gives all back.
    fn burst(buffers: &mut Buffers, count: usize, bytes: usize) {
        let taken: Vec<u32> = (0..count).map(|_| buffers.take()).collect();
        for index in taken {
            assert!(buffers.get(index).is_empty());
            buffers.get_mut(index).extend(std::iter::repeat_n(1, bytes));
            buffers.give_back(index);
        }
    }

    fn held(buffers: &Buffers) -> usize {
        buffers.all.iter().map(|buffer| buffer.bytes.capacity()).sum()
    }

    #[test]
    fn a_burst_leaves_no_more_than_is_kept() {
        let mut buffers = Buffers::default();
        burst(&mut buffers, 1000, 20_000);
        assert!(held(&buffers) <= KEPT_BYTES_MAX, "{}", held(&buffers));
        assert_eq!(held(&buffers), buffers.kept_bytes);
        burst(&mut buffers, 1, BUFFER_BYTES_MAX + 1);
        assert!(held(&buffers) <= KEPT_BYTES_MAX);
        assert_eq!(buffers.all.len(), 1000, "buffers are used again");
    }

    #[test]
    fn few_writers_keep_their_memory() {
        let mut buffers = Buffers::default();
        burst(&mut buffers, 10, 1000);
        let before = held(&buffers);
        burst(&mut buffers, 10, 1000);
        assert!(before >= 10_000 && held(&buffers) == before);
    }
}

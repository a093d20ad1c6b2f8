//! Output buffers of a shard: a connection holds one while it has something to write, and idle connections hold none.

/// A buffer above this capacity is given back to the allocator.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// So much is kept for the next writers. Without it the pool would in time hold as many buffers as ever wrote at once,
/// each as large as the largest output it ever had.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// All buffers, by index.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    all: Vec<Vec<u8>>,
    /// Not in use, with memory.
    kept: Vec<u32>,
    /// Not in use, without.
    bare: Vec<u32>,
    kept_bytes: usize,
}

impl Buffers {
    /// An empty buffer, which is the caller's until it is given back.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(index) = self.kept.pop() {
            self.kept_bytes -= self.all[index as usize].capacity();
            return index;
        }
        self.bare.pop().unwrap_or_else(|| {
            self.all.push(Vec::new());
            (self.all.len() - 1) as u32
        })
    }

    /// Takes a buffer back, whatever is in it.
    pub(super) fn give_back(&mut self, index: u32) {
        let buffer = &mut self.all[index as usize];
        buffer.clear();
        let bytes = buffer.capacity();
        if bytes == 0 || bytes > BUFFER_BYTES_MAX || self.kept_bytes + bytes > KEPT_BYTES_MAX {
            *buffer = Vec::new();
            return self.bare.push(index);
        }
        self.kept_bytes += bytes;
        self.kept.push(index);
    }

    pub(super) fn get(&self, index: u32) -> &Vec<u8> {
        &self.all[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Vec<u8> {
        &mut self.all[index as usize]
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
        buffers.all.iter().map(Vec::capacity).sum()
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

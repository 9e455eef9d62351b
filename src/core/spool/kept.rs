//! What is taken of a pool: pages by files, and memory that cannot be spilled (names, attributes, open files,
//! and the bookkeeping of a file's bytes).
//!
//! Knows the amount and the user; does not know the purpose. Invariant: it counts until it is dropped, so its
//! owner is counted as long as it exists.

use rustix::io::Errno;

use super::pool::{Account, Pool};

/// Bytes that count as taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    pool: Pool,
    account: Account,
    bytes: u64,
}

impl Pool {
    /// Counts `bytes` as memory that cannot be spilled.
    ///
    /// # Errors
    /// ENOSPC if that exceeds the memory, or half of it for a user other than the owner.
    pub(crate) fn keep(&self, bytes: u64) -> Result<Kept, Errno> {
        let mut kept = self.keep_anyway(0);
        kept.resize(bytes)?;
        Ok(kept)
    }

    /// The same whatever the limit: for memory that was found to have [room](Pool::has_room), or is in use
    /// already.
    pub(crate) fn keep_anyway(&self, bytes: u64) -> Kept {
        self.take_anyway(Account::Kept, bytes)
    }

    /// Counts `bytes` as held by a file, whatever the limit: for content that exists already.
    pub(super) fn charge_anyway(&self, bytes: u64) -> Kept {
        self.take_anyway(Account::Charged, bytes)
    }

    fn take_anyway(&self, account: Account, bytes: u64) -> Kept {
        self.add_anyway(account, bytes);
        Kept {
            pool: self.clone(),
            account,
            bytes,
        }
    }
}

impl Kept {
    /// Counts so many bytes from now on.
    ///
    /// # Errors
    /// Those of [`Pool::keep`]; for pages ENOSPC past the maximum size. Then nothing has changed.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), Errno> {
        if bytes <= self.bytes {
            self.resize_anyway(bytes);
            return Ok(());
        }
        self.pool.add(self.account, bytes - self.bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// The same whatever the limit.
    pub(crate) fn resize_anyway(&mut self, bytes: u64) {
        let more = bytes.wrapping_sub(self.bytes);
        self.pool.add_anyway(self.account, more);
        self.bytes = bytes;
    }

    /// Counts at least `bytes`, and not many times as many: for amounts that often change a little.
    ///
    /// # Errors
    /// Those of [`Pool::keep`]; then nothing has changed.
    pub(super) fn fit(&mut self, bytes: u64) -> Result<(), Errno> {
        if bytes > self.bytes {
            let ample = bytes.next_power_of_two();
            return self.resize(ample).or_else(|_| self.resize(bytes));
        }
        self.shrink(bytes);
        Ok(())
    }

    /// Counts fewer if `bytes` is much less than what is counted.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let ample = bytes.next_power_of_two();
        if ample < self.bytes / 2 {
            self.resize_anyway(ample);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.resize_anyway(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 8 << 20;

    fn pool() -> Pool {
        let pool = Pool::for_tests(MEMORY, Some(1 << 20));
        pool.belongs_to(7);
        pool
    }

    #[test]
    fn kept_memory_is_bounded_and_given_back() {
        let pool = pool();
        let mut some = pool.keep(MEMORY / 2).expect("room");
        let more = pool.keep(MEMORY / 2).expect("room");
        assert_eq!(pool.keep(1).unwrap_err(), Errno::NOSPC);
        assert_eq!(some.resize(MEMORY), Err(Errno::NOSPC));
        some.resize(100).expect("less");
        drop(more);
        assert_eq!(pool.kept(), 100);
        drop(some);
        assert_eq!(pool.kept(), 0);
    }

    #[test]
    fn no_user_but_the_owner_gets_more_than_half_of_memory_or_of_the_size() {
        let pool = pool();
        let user = pool.of(8);
        let kept = user.keep(MEMORY / 2).expect("half");
        assert_eq!(user.keep(1).unwrap_err(), Errno::NOSPC);
        assert_eq!(
            pool.of(8).keep(1).unwrap_err(),
            Errno::NOSPC,
            "the same user"
        );
        let others = [
            pool.of(9).keep(MEMORY / 4).expect("another user"),
            pool.of(7).keep(MEMORY / 4).expect("the owner"),
        ];
        drop((kept, others));
        let all = pool.of(7).keep(MEMORY).expect("the owner may have all");
        drop(all);
        let (mut held, mut by_owner) = (user.charge_anyway(0), pool.charge_anyway(0));
        held.resize(1 << 19).expect("half");
        let more = held.resize((1 << 19) + 1);
        assert_eq!((more, user.available()), (Err(Errno::NOSPC), 0));
        assert_eq!((by_owner.resize(1 << 19), pool.available()), (Ok(()), 0));
    }

    #[test]
    fn fit_counts_amply_and_not_for_ever() {
        let pool = pool();
        let mut kept = pool.keep_anyway(0);
        for bytes in 0..5000 {
            kept.fit(bytes).expect("room");
            assert!((bytes..=2 * bytes + 1).contains(&pool.kept()), "{bytes}");
        }
        kept.shrink(10);
        assert!((10..=40).contains(&pool.kept()), "{}", pool.kept());
    }
}

//! The component's allocator: memory is handed out in a row and taken back all at once, when nothing
//! of it is in use any more. That is so at the end of each call, since the component keeps nothing.
//!
//! It is some hundred bytes of code where the allocator of `std` is nine thousand, and an allocation
//! is an addition. The price: within a call, what is freed is reused only if it came last.

/// Which part of a stretch of addresses is taken. Pure: it touches no memory.
#[derive(Debug, Default)]
struct Row {
    /// The first address.
    start: usize,
    /// The first address that is not taken.
    next: usize,
    /// The first address behind the stretch.
    end: usize,
    /// The number of allocations in use.
    live: usize,
}

impl Row {
    /// Takes `size` bytes at a multiple of `align`, a power of two. `Err` says up to which address
    /// the stretch must reach first, or `None` where there is no such address.
    fn take(&mut self, size: usize, align: usize) -> Result<usize, Option<usize>> {
        let at = self.next.checked_add(align - 1).ok_or(None)? & !(align - 1);
        let next = at.checked_add(size).ok_or(None)?;
        if next > self.end {
            return Err(Some(next));
        }
        self.next = next;
        self.live += 1;
        Ok(at)
    }

    /// Gives back the `size` bytes taken at `at`.
    fn give(&mut self, at: usize, size: usize) {
        self.live -= 1;
        if self.live == 0 {
            self.next = self.start;
        } else if at + size == self.next {
            self.next = at;
        }
    }

    /// Makes the `old` bytes taken at `at` `new` ones where they are, if that is possible. `Err` is
    /// as in [`Row::take`]; `Ok(false)` says that they must move.
    fn resize(&mut self, at: usize, old: usize, new: usize) -> Result<bool, Option<usize>> {
        if at + old != self.next {
            return Ok(new <= old);
        }
        let next = at.checked_add(new).ok_or(None)?;
        if next > self.end {
            return Err(Some(next));
        }
        self.next = next;
        Ok(true)
    }
}

#[cfg(target_family = "wasm")]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::UnsafeCell;
    use core::ptr;

    use super::Row;

    const PAGE: usize = 65_536;

    unsafe extern "C" {
        /// Placed by the linker at the first address behind all static data and the stack.
        static __heap_base: u8;
    }

    struct Arena(UnsafeCell<Row>);

    #[global_allocator]
    static ARENA: Arena = Arena(UnsafeCell::new(Row {
        start: 0,
        next: 0,
        end: 0,
        live: 0,
    }));

    // SAFETY: a component has one thread.
    unsafe impl Sync for Arena {}

    /// Makes `row` reach up to `end`.
    fn grow(row: &mut Row, end: Option<usize>) -> Option<()> {
        if row.end == 0 {
            row.start = (&raw const __heap_base).addr();
            row.next = row.start;
            row.end = memory_size(0) * PAGE;
            return Some(());
        }
        let pages = (end? - row.end).div_ceil(PAGE);
        // Nothing else grows the memory, so the new pages follow the old ones.
        if memory_grow(0, pages) == usize::MAX {
            return None;
        }
        row.end += pages * PAGE;
        Some(())
    }

    // Out of line, since there are dozens of callers.
    //
    // SAFETY: `Row` hands out addresses in its stretch that are aligned and not taken, and takes none
    // back before it is given. The stretch is memory above `__heap_base`, which nothing else uses. No
    // reference to the row outlives a call, and no call comes during another.
    unsafe impl GlobalAlloc for Arena {
        #[inline(never)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let row = unsafe { &mut *self.0.get() };
            loop {
                match row.take(layout.size(), layout.align()) {
                    Ok(at) => return at as *mut u8,
                    Err(end) => {
                        if grow(row, end).is_none() {
                            return ptr::null_mut();
                        }
                    }
                }
            }
        }

        #[inline(never)]
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            let row = unsafe { &mut *self.0.get() };
            row.give(at as usize, layout.size());
        }

        #[inline(never)]
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let row = unsafe { &mut *self.0.get() };
            loop {
                match row.resize(at as usize, layout.size(), size) {
                    Ok(true) => return at,
                    Ok(false) => break,
                    Err(end) => {
                        if grow(row, end).is_none() {
                            return ptr::null_mut();
                        }
                    }
                }
            }
            // SAFETY: the caller vouches for `size`; the old and the new bytes don't overlap.
            unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    ptr::copy_nonoverlapping(at, new, layout.size());
                    self.dealloc(at, layout);
                }
                new
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn allocations_are_aligned_and_never_overlap_whatever_the_order() {
        // A fixed sequence without a pattern (xorshift).
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let mut row = Row {
            start: 1001,
            next: 1001,
            end: 1001,
            live: 0,
        };
        let mut held: Vec<(usize, usize)> = Vec::new();
        for _ in 0..20_000 {
            let kind = random(8);
            // Grows, then shrinks, time and again.
            if kind < 4 + usize::from(held.len() < 20) && held.len() < 40 {
                let (size, align) = (1 + random(100), 1 << random(5));
                let at = match row.take(size, align) {
                    Ok(at) => at,
                    Err(end) => {
                        row.end = end.expect("small numbers");
                        row.take(size, align).expect("it reaches far enough")
                    }
                };
                assert_eq!(at % align, 0);
                held.push((at, size));
            } else if kind == 6 && !held.is_empty() {
                let which = random(held.len());
                let (at, old) = held[which];
                let new = 1 + random(200);
                match row.resize(at, old, new) {
                    Ok(true) => held[which].1 = new,
                    Ok(false) => {}
                    Err(end) => row.end = end.expect("small numbers"),
                }
            } else if !held.is_empty() {
                let (at, size) = held.swap_remove(random(held.len()));
                row.give(at, size);
            }
            let mut sorted = held.clone();
            sorted.sort_unstable();
            assert!(
                sorted
                    .iter()
                    .all(|(at, size)| *at >= row.start && at + size <= row.next)
            );
            assert!(sorted.is_sorted_by(|(at, size), (next, _)| at + size <= *next));
            assert!(row.next <= row.end);
        }
    }

    #[test]
    fn when_all_is_given_back_all_is_free_again() {
        let mut row = Row {
            start: 8,
            next: 8,
            end: 64,
            live: 0,
        };
        let (a, b) = (row.take(10, 1), row.take(10, 8));
        assert_eq!((a, b), (Ok(8), Ok(24)));
        row.give(8, 10);
        assert_eq!(row.next, 34);
        row.give(24, 10);
        assert_eq!(row.next, 8);
    }

    #[test]
    fn the_last_allocation_grows_where_it_is() {
        let mut row = Row {
            start: 0,
            next: 0,
            end: 64,
            live: 0,
        };
        assert_eq!(row.take(8, 8), Ok(0));
        assert_eq!(row.take(8, 8), Ok(8));
        assert_eq!(row.resize(8, 8, 56), Ok(true));
        assert_eq!(row.resize(8, 56, 57), Err(Some(65)));
        assert_eq!(row.resize(0, 8, 9), Ok(false));
        assert_eq!(row.resize(0, 8, 7), Ok(true));
    }

    #[test]
    fn sizes_that_no_address_can_have_are_refused() {
        let mut row = Row {
            start: 8,
            next: 8,
            end: 64,
            live: 0,
        };
        assert_eq!(row.take(usize::MAX, 1), Err(None));
        assert_eq!(row.take(1, 1), Ok(8));
        assert_eq!(row.resize(8, 1, usize::MAX), Err(None));
    }
}

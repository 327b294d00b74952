//! The component's allocator: memory is handed out in a row and taken back all at once when the next call
//! begins, since the component keeps nothing.
//!
//! It is some hundred bytes of code where the allocator of `std` is nine thousand, and an allocation
//! is an addition. The price: within a call, what is freed is reused only if it came last.
//!
//! [`Room`] stands in for `Vec`, whose failures are worded by three thousand bytes of formatting code.

use alloc::alloc::{alloc, dealloc, realloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::{mem, slice};

use crate::scan::{Block, until};

#[cfg(target_family = "wasm")]
pub use global::{begin, end};

/// Values in a row, to which more can be added. They are not dropped.
#[derive(Debug)]
pub struct Room<T> {
    row: Items,
    items: PhantomData<T>,
}

/// What no item is more aligned than.
#[repr(align(16))]
struct Most;

/// A row of items of whichever kind.
#[derive(Debug)]
struct Items {
    at: NonNull<u8>,
    len: usize,
    capacity: usize,
}

impl<T> Room<T> {
    /// Room for so many values, and for more as they come.
    pub fn new(capacity: usize) -> Self {
        let mut room = Self {
            row: Items {
                at: NonNull::<Most>::dangling().cast(),
                len: 0,
                capacity: 0,
            },
            items: PhantomData,
        };
        room.reserve(capacity);
        room
    }

    /// Where the values are.
    fn at(&self) -> *mut T {
        self.row.at.as_ptr().cast()
    }

    /// Makes sure that so many values can be added.
    #[inline(always)]
    pub fn reserve(&mut self, more: usize) {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= align_of::<Most>()) };
        if self.row.capacity - self.row.len < more {
            // SAFETY: room was made in the same way.
            unsafe { self.row.grow(more, Layout::new::<T>()) };
        }
    }

    /// Adds a value.
    #[inline(always)]
    pub fn push(&mut self, value: T) {
        self.reserve(1);
        // SAFETY: there is room for one more behind the others.
        unsafe { self.at().add(self.row.len).write(value) };
        self.row.len += 1;
    }

    /// Adds values.
    #[inline(always)]
    pub fn extend(&mut self, values: &[T])
    where
        T: Copy,
    {
        self.reserve(values.len());
        // SAFETY: there is room for so many behind the others.
        unsafe {
            let end = self.at().add(self.row.len);
            values.as_ptr().copy_to_nonoverlapping(end, values.len());
        }
        self.row.len += values.len();
    }

    /// Takes all values out.
    pub fn clear(&mut self) {
        self.row.len = 0;
    }

    /// Gives back the room that is not needed.
    pub fn shrink(&mut self) {
        let layouts = (
            Layout::array::<T>(self.row.capacity),
            Layout::array::<T>(self.row.len),
        );
        if let (1.., (Ok(old), Ok(new))) = (self.row.len, layouts)
            && self.row.len < self.row.capacity
        {
            // SAFETY: room was made with the old layout, and the new one is of something.
            let at = unsafe { realloc(self.row.at.as_ptr(), old, new.size()) };
            if let Some(at) = NonNull::new(at) {
                (self.row.at, self.row.capacity) = (at, self.row.len);
            }
        }
    }

    /// The values, for as long as they may be needed.
    pub fn leak<'a>(self) -> &'a mut [T] {
        let kept = mem::ManuallyDrop::new(self);
        // SAFETY: so many values are there, and nobody frees them.
        unsafe { slice::from_raw_parts_mut(kept.at(), kept.row.len) }
    }
}

impl Room<u8> {
    /// Adds the lowest `len` bytes of `bytes`, the lowest one first.
    #[inline(always)]
    pub fn extend_part(&mut self, bytes: u64, len: usize) {
        self.reserve(size_of::<u64>());
        // SAFETY: there is room for all of them behind the others.
        unsafe {
            let end = self.at().add(self.row.len);
            end.cast::<[u8; 8]>().write(bytes.to_le_bytes());
        }
        self.row.len += len.min(size_of::<u64>());
    }

    /// Adds the bytes of `text` that stand before the first one of `class`, and says how many those are. NUL
    /// must be of the class.
    #[inline(always)]
    pub fn extend_until(&mut self, text: &[u8], class: impl Fn(Block) -> Block) -> usize {
        self.reserve(text.len().saturating_add(size_of::<Block>()));
        // SAFETY: there is room for the text, and for a block behind it.
        let added = unsafe {
            let end = self.at().add(self.row.len);
            until(text, class, |at, block| {
                end.add(at).cast::<[u8; 16]>().write_unaligned(block);
            })
        };
        self.row.len += added;
        added
    }
}

impl Items {
    /// Makes room for so many items more than there are, and for some more if there was any. Whoever asks for
    /// more than there are addresses panics.
    ///
    /// # Safety
    ///
    /// The items have always been of this kind, which has a size.
    #[cold]
    #[inline(never)]
    unsafe fn grow(&mut self, more: usize, item: Layout) {
        let layout = |count: usize| {
            let size = count.checked_mul(item.size())?;
            Layout::from_size_align(size, item.align()).ok()
        };
        let wanted = self.len.checked_add(more);
        let wanted = wanted.map_or(usize::MAX, |wanted| {
            wanted.max(self.capacity.saturating_mul(2))
        });
        let (Some(old), Some(new)) = (layout(self.capacity), layout(wanted)) else {
            panic!();
        };
        // SAFETY: `new` has a size, and `old` was taken where it has one.
        let at = unsafe {
            match self.capacity {
                0 => alloc(new),
                _ => realloc(self.at.as_ptr(), old, new.size()),
            }
        };
        match NonNull::new(at) {
            Some(at) => (self.at, self.capacity) = (at, wanted),
            None => panic!(),
        }
    }
}

/// Keeps a value for as long as it may be needed.
#[cfg(target_family = "wasm")]
pub fn keep<'a, T>(value: T) -> &'a T {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the layout has a size, and what is allocated is not null: see `take`.
    unsafe {
        let at = alloc(Layout::new::<T>()).cast::<T>();
        at.write(value);
        &*at
    }
}

impl<T> core::ops::Deref for Room<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values are there.
        unsafe { slice::from_raw_parts(self.at(), self.row.len) }
    }
}

impl<T> core::ops::DerefMut for Room<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: so many values are there.
        unsafe { slice::from_raw_parts_mut(self.at(), self.row.len) }
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        let layout = Layout::array::<T>(self.row.capacity);
        if let (1.., Ok(layout)) = (self.row.capacity, layout) {
            // SAFETY: room was made with this layout.
            unsafe { dealloc(self.row.at.as_ptr(), layout) };
        }
    }
}

/// Which part of a stretch of addresses is taken. Pure: it touches no memory.
#[cfg(any(test, target_family = "wasm"))]
#[derive(Debug, Default)]
struct Row {
    /// The first address that is not taken.
    next: usize,
    /// The first address behind the stretch.
    end: usize,
}

#[cfg(any(test, target_family = "wasm"))]
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
        Ok(at)
    }

    /// Gives back the `size` bytes taken at `at`.
    fn give(&mut self, at: usize, size: usize) {
        if at + size == self.next {
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
    use core::alloc::GlobalAlloc;
    use core::arch::wasm32::{
        memory_grow, memory_size, u8x16_splat, unreachable, v128, v128_store,
    };
    use core::cell::UnsafeCell;
    use core::ptr;

    use super::{Layout, NonNull, Row, alloc, realloc};

    const PAGE: usize = 65_536;

    unsafe extern "C" {
        /// Placed by the linker at the first address behind all static data and the stack.
        static __heap_base: u8;
    }

    struct Arena {
        row: UnsafeCell<Row>,
        /// Whether the call is over of which the memory was.
        over: UnsafeCell<bool>,
    }

    #[global_allocator]
    static ARENA: Arena = Arena {
        row: UnsafeCell::new(Row { next: 0, end: 0 }),
        over: UnsafeCell::new(false),
    };

    // SAFETY: a component has one thread.
    unsafe impl Sync for Arena {}

    /// Frees the memory of the last call. That is done by whatever comes first in a call: its arguments, or the
    /// call itself. Until then the caller takes the result, without having to say that it has done so.
    #[inline(always)]
    pub fn begin() {
        // SAFETY: nobody else refers to these: see `GlobalAlloc` below.
        unsafe {
            if ARENA.over.get().replace(false) {
                (*ARENA.row.get()).next = (&raw const __heap_base).addr();
            }
        }
    }

    /// Says that the call has nothing left to do.
    #[inline(always)]
    pub fn end() {
        // SAFETY: see `begin`.
        unsafe { *ARENA.over.get() = true };
    }

    /// Makes `row` reach up to `end`, or traps.
    #[cold]
    fn grow(row: &mut Row, end: Option<usize>) {
        if row.end == 0 {
            // The very first allocation.
            row.next = (&raw const __heap_base).addr();
            row.end = memory_size(0) * PAGE;
            return;
        }
        let pages = end.map(|end| (end - row.end).div_ceil(PAGE));
        let end = pages.and_then(|pages| pages.checked_mul(PAGE)?.checked_add(row.end));
        let (Some(pages), Some(end)) = (pages, end) else {
            unreachable();
        };
        // Nothing else grows the memory, so the new pages follow the old ones.
        if memory_grow(0, pages) == usize::MAX {
            unreachable();
        }
        row.end = end;
    }

    /// Takes memory, or traps. That the result is not null spares callers the code for such a failure.
    #[inline(never)]
    fn take(row: &mut Row, size: usize, align: usize) -> NonNull<u8> {
        loop {
            match row.take(size, align) {
                Ok(at) => match NonNull::new(ptr::without_provenance_mut(at)) {
                    Some(at) => return at,
                    None => unreachable(),
                },
                Err(end) => grow(row, end),
            }
        }
    }

    /// Makes what was taken `size` bytes.
    ///
    /// # Safety
    ///
    /// It was taken from `row` with that layout.
    #[inline(never)]
    unsafe fn resize(row: &mut Row, at: *mut u8, layout: Layout, size: usize) -> NonNull<u8> {
        let moved = loop {
            match row.resize(at.addr(), layout.size(), size) {
                Ok(true) => break false,
                Ok(false) => break true,
                Err(end) => grow(row, end),
            }
        };
        if moved {
            let new = take(row, size, layout.align());
            // SAFETY: there are as many bytes at both places, and none of the new ones was taken.
            unsafe { ptr::copy_nonoverlapping(at, new.as_ptr(), layout.size().min(size)) };
            return new;
        }
        // SAFETY: what was taken is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    // SAFETY: `Row` hands out addresses in its stretch that are aligned and not taken, and takes none
    // back before it is given. The stretch is memory above `__heap_base`, which nothing else uses. No
    // reference to the row outlives a call, and no call comes during another.
    unsafe impl GlobalAlloc for Arena {
        #[inline(always)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            take(
                unsafe { &mut *self.row.get() },
                layout.size(),
                layout.align(),
            )
            .as_ptr()
        }

        #[inline(never)]
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            let row = unsafe { &mut *self.row.get() };
            row.give(at.addr(), layout.size());
        }

        #[inline(always)]
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller vouches for it.
            unsafe { resize(&mut *self.row.get(), at, layout, size).as_ptr() }
        }
    }

    /// What a host calls for memory to put strings and lists into.
    ///
    /// # Safety
    ///
    /// `at` is 0, or was the result of such a call with the same alignment and `old` bytes.
    #[unsafe(export_name = "cabi_realloc")]
    unsafe extern "C" fn cabi_realloc(
        at: *mut u8,
        old: usize,
        align: usize,
        new: usize,
    ) -> *mut u8 {
        begin();
        // SAFETY: the canonical ABI has such alignments only.
        unsafe {
            match (old, new) {
                (_, 0) => ptr::without_provenance_mut(align),
                (0, _) => alloc(Layout::from_size_align_unchecked(new, align)),
                _ => realloc(at, Layout::from_size_align_unchecked(old, align), new),
            }
        }
    }

    /// Sets bytes. The one that comes with Rust sets one word after the other.
    ///
    /// # Safety
    ///
    /// That of C's `memset`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        let byte = byte as u8;
        let mut at = 0;
        // SAFETY: all that is touched lies in the first `len` bytes.
        unsafe {
            while len - at >= 16 {
                v128_store(to.add(at).cast(), u8x16_splat(byte));
                at += 16;
            }
            while at < len {
                *to.add(at) = byte;
                at += 1;
            }
        }
        to
    }

    /// Copies bytes. The one that comes with Rust is a single instruction of wasm, for which wasmtime leaves
    /// the component: that costs more than to copy what is short here.
    ///
    /// # Safety
    ///
    /// That of C's `memcpy`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        /// Copies the first and the last bytes, which may be the same ones.
        unsafe fn ends<T>(to: *mut u8, from: *const u8, len: usize) {
            let last = len - size_of::<T>();
            // SAFETY: there are as many bytes as a `T` has, or more; none is written before all are read.
            unsafe {
                let head = from.cast::<T>().read_unaligned();
                let tail = from.add(last).cast::<T>().read_unaligned();
                to.cast::<T>().write_unaligned(head);
                to.add(last).cast::<T>().write_unaligned(tail);
            }
        }
        // SAFETY: all that is touched lies in the first `len` bytes.
        unsafe {
            match len {
                0 => {}
                1 => *to = *from,
                2..4 => ends::<u16>(to, from, len),
                4..8 => ends::<u32>(to, from, len),
                8..16 => ends::<u64>(to, from, len),
                16..33 => ends::<v128>(to, from, len),
                _ => {
                    let mut at = 0;
                    while at + 32 < len {
                        ends::<v128>(to.add(at), from.add(at), 32);
                        at += 32;
                    }
                    let last = len - 32;
                    ends::<v128>(to.add(last), from.add(last), 32);
                }
            }
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_and_keeps_what_is_in_it() {
        let mut room = Room::new(0);
        let mut expected: Vec<u64> = Vec::new();
        assert!(room.is_empty());
        for n in 0..200 {
            room.push(n);
            expected.push(n);
            let some = expected[..(n as usize % 7).min(expected.len())].to_vec();
            room.extend(&some);
            expected.extend(some);
            assert_eq!(room[..], expected[..]);
        }
        room[3] += 1;
        expected[3] += 1;
        room.shrink();
        assert_eq!(room.row.capacity, expected.len());
        assert_eq!(room.leak(), &expected[..]);
    }
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
            next: 1001,
            end: 1001,
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
                    .all(|(at, size)| *at >= 1001 && at + size <= row.next)
            );
            assert!(sorted.is_sorted_by(|(at, size), (next, _)| at + size <= *next));
            assert!(row.next <= row.end);
        }
    }

    #[test]
    fn what_came_last_is_free_again_when_it_is_given_back() {
        let mut row = Row { next: 8, end: 64 };
        let (a, b) = (row.take(10, 1), row.take(10, 8));
        assert_eq!((a, b), (Ok(8), Ok(24)));
        row.give(8, 10);
        assert_eq!(row.next, 34);
        row.give(24, 10);
        assert_eq!(row.next, 24);
    }

    #[test]
    fn the_last_allocation_grows_where_it_is() {
        let mut row = Row { next: 0, end: 64 };
        assert_eq!(row.take(8, 8), Ok(0));
        assert_eq!(row.take(8, 8), Ok(8));
        assert_eq!(row.resize(8, 8, 56), Ok(true));
        assert_eq!(row.resize(8, 56, 57), Err(Some(65)));
        assert_eq!(row.resize(0, 8, 9), Ok(false));
        assert_eq!(row.resize(0, 8, 7), Ok(true));
    }

    #[test]
    fn sizes_that_no_address_can_have_are_refused() {
        let mut row = Row { next: 8, end: 64 };
        assert_eq!(row.take(usize::MAX, 1), Err(None));
        assert_eq!(row.take(1, 1), Ok(8));
        assert_eq!(row.resize(8, 1, usize::MAX), Err(None));
    }
}

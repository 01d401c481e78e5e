//! Randomness from a seed, which the patched libraries use in place of that of the system. It
//! belongs to a thread, since each simulation has one.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Seeds this thread.
pub fn seed(seed: u64) {
    STATE.set(Some(seed));
}

/// Fills the bytes from this thread's seed (SplitMix64). `false` on a thread without a seed.
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(mut state) = STATE.get() else { return false };
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
    }
    STATE.set(Some(state));
    true
}

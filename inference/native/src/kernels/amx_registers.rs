//! Whether there are tile registers for integers, and their set-up.
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::LazyLock;

use super::{PANEL, avx512};

/// Asks the system once for the tile registers, which a process may not use unasked.
pub fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> =
        LazyLock::new(|| avx512::is_available() && has_tiles() && is_permitted());
    *AVAILABLE
}

fn has_tiles() -> bool {
    const AMX_INT8: u32 = 1 << 25;
    const AMX_TILE: u32 = 1 << 24;
    let wanted = AMX_TILE | AMX_INT8;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & wanted == wanted
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, for all threads of the process. Systems without it say no.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call reads and writes no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What `ldtilecfg` reads: bytes of a row and rows of each tile register.
#[repr(C, align(64))]
struct TileShapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Registers 0–5: sums [digit, row]. 6: weights. 7: activations. Two digits a token.
pub fn begin(num_tokens: usize) {
    let digits = 2 * num_tokens.clamp(1, PANEL) as u8;
    let mut shapes = TileShapes {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    for register in 0..8 {
        shapes.row_bytes[register] = 64;
        shapes.rows[register] = if register == 6 { 16 } else { digits };
    }
    // SAFETY: `is_available` saw the instructions and got the permission; the shapes are within palette 1's limits.
    unsafe { asm!("ldtilecfg [{0}]", in(reg) &raw const shapes, options(nostack, readonly)) };
}

/// Gives the registers back, so that the system need not save them when the thread sleeps.
pub fn end() {
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

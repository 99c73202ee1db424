// What this machine can do at most: bytes a second read by all threads, int8 operations a second in registers. One file
// for rustc, no crates. Usage: roofline THREADS MEGABYTES. Prints one JSON line.
use std::arch::asm;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes read in one turn of the loop.
const CHUNK: usize = 256;
const PASS: Duration = Duration::from_millis(600);

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|each| each.parse::<usize>().expect("a whole number"));
    let threads = arguments.next().expect("threads");
    let megabytes = arguments.next().expect("megabytes");
    let bytes = stream(threads, megabytes << 20);
    let far = stream(threads, 1 << 30);
    let (vector_name, vector) = vector_kernel();
    let vector_ops = on_all(threads, vector);
    let tile_ops = has_tiles().then(|| on_all(threads, tile_ops));
    println!(
        "{{\"threads\":{threads},\"weightsReadGBps\":{:.1},\"streamReadGBps\":{:.1},\"int8Kernel\":\"{vector_name}\",\"int8GOPS\":{:.0},\"amxGOPS\":{}}}",
        bytes / 1e9,
        far / 1e9,
        vector_ops / 1e9,
        tile_ops.map_or("null".to_owned(), |ops| format!("{:.0}", ops / 1e9)),
    );
}

/// Work of one thread until told to stop: returns units a second. The threads start together and their rates add up.
fn on_all(threads: usize, work: fn() -> f64) -> f64 {
    let handles: Vec<_> = (0..threads).map(|_| thread::spawn(work)).collect();
    handles
        .into_iter()
        .map(|each| each.join().expect("a thread"))
        .sum()
}

/// Bytes a second of reading `size` bytes again and again, a part for each thread: over `PASS`.
fn stream(threads: usize, size: usize) -> f64 {
    let share = size / threads / CHUNK * CHUNK;
    let read = reader();
    let handles: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || {
                let data: Vec<u64> = (0..share as u64 / 8).collect();
                repeat(|| {
                    // SAFETY: `reader` chose it for this processor.
                    unsafe { read(&data) };
                    share as f64
                })
            })
        })
        .collect();
    handles
        .into_iter()
        .map(|each| each.join().expect("a thread"))
        .sum()
}

/// Something that has to touch all of a slice, whose length is a multiple of `CHUNK` bytes. Wide loads and several sums that do
/// not wait for one another: an adder of 64-bit words would be slower than the memory.
fn reader() -> unsafe fn(&[u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return read_512;
    } else if is_x86_feature_detected!("avx2") {
        return read_256;
    }
    |data| {
        black_box(data.iter().fold(0, |sum, value| sum ^ value));
    }
}

/// # Safety
/// The CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn read_512(data: &[u64]) {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_setzero_si512(); 4];
    for chunk in data.as_chunks::<{ CHUNK / 8 }>().0 {
        for (index, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a chunk is four lines of 64 bytes.
            let line = unsafe { _mm512_loadu_si512(chunk.as_ptr().add(index * 8).cast()) };
            *sum = _mm512_xor_si512(*sum, line);
        }
    }
    black_box(sums);
}

/// # Safety
/// The CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn read_256(data: &[u64]) {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_si256(); 8];
    for chunk in data.as_chunks::<{ CHUNK / 8 }>().0 {
        for (index, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a chunk is eight halves of a line.
            let half = unsafe { _mm256_loadu_si256(chunk.as_ptr().add(index * 4).cast()) };
            *sum = _mm256_xor_si256(*sum, half);
        }
    }
    black_box(sums);
}

/// Units a second of a closure that returns how many it did, over `PASS`, after one call to warm up.
fn repeat(mut work: impl FnMut() -> f64) -> f64 {
    work();
    let start = Instant::now();
    let mut units = 0.0;
    while start.elapsed() < PASS {
        units += work();
    }
    units / start.elapsed().as_secs_f64()
}

#[cfg(target_arch = "x86_64")]
fn vector_kernel() -> (&'static str, fn() -> f64) {
    if is_x86_feature_detected!("avx512vnni") {
        ("avx512vnni", || repeat(|| unsafe { vnni_512() }))
    } else if is_x86_feature_detected!("avx2") {
        ("avx2", || repeat(|| unsafe { madd_256() }))
    } else {
        ("scalar", scalar_ops)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_kernel() -> (&'static str, fn() -> f64) {
    ("scalar", scalar_ops)
}

/// Multiply-adds as the compiler makes them from plain code.
fn scalar_ops() -> f64 {
    let (one, other) = (black_box([3i8; 4096]), black_box([5i8; 4096]));
    repeat(|| {
        let sum: i32 = one
            .iter()
            .zip(&other)
            .map(|(a, b)| i32::from(*a) * i32::from(*b))
            .sum();
        black_box(sum);
        8192.0
    })
}

const ROUNDS: usize = 20_000;

/// Twelve chains of the 512-bit dot product; 64 products and 64 sums each.
///
/// # Safety
/// The CPU has AVX-512 VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni_512() -> f64 {
    use std::arch::x86_64::*;
    let (one, other) = (
        black_box(_mm512_set1_epi8(3)),
        black_box(_mm512_set1_epi8(5)),
    );
    let mut sums = [_mm512_setzero_si512(); 12];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, one, other);
        }
    }
    black_box(sums);
    (ROUNDS * 12 * 128) as f64
}

/// The same with AVX2: multiply pairs, add pairs, add.
///
/// # Safety
/// The CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn madd_256() -> f64 {
    use std::arch::x86_64::*;
    let (mut one, other) = (
        black_box(_mm256_set1_epi8(3)),
        black_box(_mm256_set1_epi8(5)),
    );
    let pairs = black_box(_mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_si256(); 8];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_add_epi32(
                *sum,
                _mm256_madd_epi16(_mm256_maddubs_epi16(one, other), pairs),
            );
            // Hides from the compiler that every round multiplies the same.
            unsafe {
                asm!("/* {0} */", inout(ymm_reg) one, options(nomem, nostack, preserves_flags))
            };
        }
    }
    black_box(sums);
    (ROUNDS * 8 * 64) as f64
}

/// Whether the CPU has int8 tiles and the kernel lets this process use them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    if leaf.edx & (1 << 24) == 0 || leaf.edx & (1 << 25) == 0 {
        return false;
    }
    let refused: i64;
    // arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA): reads and writes no memory of ours.
    unsafe {
        asm!("syscall", inout("rax") 158i64 => refused, in("rdi") 0x1023, in("rsi") 18,
            out("rcx") _, out("r11") _, options(nostack));
    }
    refused == 0
}

/// Four chains of a 16 × 16 × 64 tile product.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tile_ops() -> f64 {
    #[repr(C, align(64))]
    struct Tiles([u8; 64]);
    let mut tiles = Tiles([0; 64]);
    tiles.0[0] = 1;
    for tile in 0..8 {
        tiles.0[16 + 2 * tile] = 64;
        tiles.0[48 + tile] = 16;
    }
    // `has_tiles` was true; all eight tiles are 16 rows of 64 bytes; tiles are no operands of any other code here.
    unsafe {
        asm!("ldtilecfg [{0}]", in(reg) &tiles, options(nostack));
        let rate = repeat(|| {
            for _ in 0..ROUNDS {
                asm!(
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm4, tmm7",
                    "tdpbusd tmm2, tmm5, tmm6",
                    "tdpbusd tmm3, tmm5, tmm7",
                    options(nomem, nostack)
                );
            }
            (ROUNDS * 4 * 2 * 16 * 16 * 64) as f64
        });
        asm!("tilerelease", options(nomem, nostack));
        rate
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn has_tiles() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn tile_ops() -> f64 {
    0.0
}

use super::*;

#[test]
fn buffers_are_zeroed_aligned_and_apart() {
    let mut arena = Arena::default();
    let mut buffers: Vec<Buffer<u16>> = Vec::new();
    for len in [
        1,
        31,
        32,
        33,
        100_000,
        CHUNK / 2,
        7,
        CHUNK,
        CHUNK / 2 - 64,
        5,
    ] {
        let buffer = arena.zeroed::<u16>(len).unwrap();
        assert_eq!((buffer.len(), buffer.as_ptr().align_offset(LINE)), (len, 0));
        buffers.push(buffer);
    }
    for index in 0..buffers.len() {
        assert!(buffers[index].iter().all(|value| *value == 0), "{index}");
        buffers[index].fill(u16::MAX);
    }
    assert!(
        buffers
            .iter()
            .flat_map(|buffer| buffer.iter())
            .all(|value| *value == u16::MAX)
    );
}

#[test]
fn a_buffer_outlives_its_arena_and_its_neighbours() {
    let mut arena = Arena::default();
    let first = arena.zeroed::<[f32; 16]>(3).unwrap();
    let mut second = arena.zeroed::<[f32; 16]>(3).unwrap();
    drop((arena, first));
    second[2][15] = 1.0;
    let held: Vec<f32> = second
        .iter()
        .flatten()
        .copied()
        .filter(|value| *value > 0.0)
        .collect();
    assert_eq!(held, [1.0]);
}

#[test]
fn a_buffer_of_its_own_begins_at_a_page_whatever_its_length() {
    for len in [1, 4096, CHUNK - 1, CHUNK, CHUNK + 1] {
        let buffer = zeroed::<u8>(len).unwrap();
        assert_eq!((buffer.len(), buffer.as_ptr().align_offset(PAGE)), (len, 0));
    }
    assert!(zeroed::<u8>(0).unwrap().is_empty());
}

#[test]
fn memory_that_no_system_has_is_an_error() {
    assert!(zeroed::<Pair>(usize::MAX / 2).is_err());
    assert!(zeroed::<u8>(usize::MAX).is_err());
    assert!(zeroed::<u8>(isize::MAX as usize).is_err());
    assert!(Arena::default().zeroed::<f32>(1 << 60).is_err());
}

type Pair = [u32; 2];

/// What the kernel says of the mapping that holds `address`: its flags, `hg` where huge pages were asked for.
#[cfg(target_os = "linux")]
fn flags_of(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_ours = false;
    for line in maps.lines() {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let bounds = range.map(|(from, to)| {
            (
                usize::from_str_radix(from, 16),
                usize::from_str_radix(to, 16),
            )
        });
        if let Some((Ok(from), Ok(to))) = bounds {
            is_ours = (from..to).contains(&address);
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_ours) {
            return flags.to_owned();
        }
    }
    panic!("no mapping holds {address:#x}");
}

#[cfg(target_os = "linux")]
#[test]
fn huge_pages_are_asked_for_where_the_kernel_has_them() {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        return;
    }
    let buffer = zeroed::<u8>(3 * PAGE).unwrap();
    for at in [0, buffer.len() - 1] {
        let flags = flags_of(buffer.as_ptr() as usize + at);
        assert!(flags.split_whitespace().any(|flag| flag == "hg"), "{flags}");
    }
}

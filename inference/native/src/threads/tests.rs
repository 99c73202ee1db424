use super::*;

fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}

#[test]
fn every_unit_of_every_phase_is_done_once_and_before_the_next_phase() {
    let team = Team::new(3);
    for chunk in [1, 2, 7] {
        for _ in 0..100 {
            let counts: Vec<Vec<AtomicUsize>> = (1..20)
                .map(|total| (0..total).map(|_| AtomicUsize::new(0)).collect())
                .collect();
            team.run(&|member| {
                for (phase, units) in counts.iter().enumerate() {
                    member.each(units.len(), chunk, |range| {
                        let before = counts[..phase].iter().flatten();
                        assert!(
                            before
                                .into_iter()
                                .all(|each| each.load(Ordering::Relaxed) == 1)
                        );
                        for unit in range {
                            units[unit].fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            let all = counts.iter().flatten();
            assert!(
                all.into_iter()
                    .all(|each| each.load(Ordering::Relaxed) == 1)
            );
        }
    }
}

#[test]
fn a_phase_without_units_is_no_phase() {
    Team::new(2).run(&|member| {
        member.each(0, 1, |_| unreachable!("there is nothing to do"));
        member.each(3, 1, |range| assert_eq!(range.len(), 1));
    });
}

/// The second thread is held in its first unit of the first job until the caller has done the rest.
#[test]
fn a_thread_that_is_put_aside_holds_up_its_own_unit_only() {
    let team = Team::new(2);
    let done = AtomicUsize::new(0);
    team.run(&|member| {
        member.each(50, 1, |_| {
            if member.index == 1 {
                wait_until(|| done.load(Ordering::Acquire) == 49);
            }
            done.fetch_add(1, Ordering::AcqRel);
        });
    });
    assert_eq!(done.load(Ordering::Acquire), 50);
}

#[test]
fn a_team_ends_its_threads_though_they_sleep() {
    for _ in 0..50 {
        drop(Team::new(4));
    }
}

/// Both units of a phase wait for each other, so that one thread alone cannot do them.
#[test]
fn every_thread_takes_part_in_every_phase() {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let team = Team::new(2);
    let started: [AtomicUsize; 3] = Default::default();
    team.run(&|member| {
        for started in &started {
            member.each(2, 1, |_| {
                started.fetch_add(1, Ordering::AcqRel);
                wait_until(|| {
                    started.load(Ordering::Acquire) == 2 || std::time::Instant::now() > deadline
                });
            });
        }
    });
    assert!(
        std::time::Instant::now() < deadline,
        "a thread waited alone"
    );
}

/// Fifty times over: the thread would spin for ever, or sleep for ever, if either side missed the other.
#[test]
fn a_thread_that_waits_for_long_sleeps_and_is_woken() {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    for _ in 0..50 {
        let waiting = Waiting::default();
        let is_done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| waiting.until(|| is_done.load(Ordering::Acquire) == 1));
            wait_until(|| waiting.num_asleep() == 1 || std::time::Instant::now() > deadline);
            is_done.store(1, Ordering::Release);
            waiting.wake();
        });
        assert_eq!(waiting.num_asleep(), 0);
    }
    assert!(std::time::Instant::now() < deadline, "it never slept");
}

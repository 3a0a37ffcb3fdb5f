use super::*;

const ALL: usize = 8;
const SHARE: usize = 4;

fn places() -> Arc<Places> {
    Arc::new(Places::new(ALL, SHARE))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn fill(places: &Arc<Places>, from: u8, count: usize) -> Vec<Arc<Place>> {
    (0..count).map(|_| Arc::new(places.enter(address(from)).expect("a place"))).collect()
}

fn ended(some: &[Arc<Place>]) -> Vec<usize> {
    (0..some.len()).filter(|index| some[*index].ended.is_cancelled()).collect()
}

#[test]
fn the_oldest_gives_way_and_what_has_ended_does_not_count() {
    let all = Arc::new(Places::new(2, 2));
    let mut some = fill(&all, 1, 3);
    assert_eq!(ended(&some), [0]);
    some.pop();
    some.extend(fill(&all, 1, 1));
    assert_eq!(ended(&some), [0]);
    drop(some);
    let held = all.held();
    assert!(held.all == 0 && held.by_source.is_empty() && held.by_greed.is_empty(), "nobody is remembered");
}

#[test]
fn a_newcomer_gets_the_place_of_the_greediest_that_idles_longest() {
    let all = places();
    let (greedy, modest) = (fill(&all, 1, 4), fill(&all, 2, 3));
    let alone = fill(&all, 3, 1);
    let first = greedy[0].work();
    let _newcomer = fill(&all, 4, 1);
    assert_eq!((ended(&greedy), ended(&modest), ended(&alone)), (vec![1], vec![], vec![]));
    drop((greedy[2].work(), first));
    let _again = fill(&all, 5, 1);
    assert_eq!(
        (ended(&greedy), ended(&modest)),
        (vec![1, 3], vec![]),
        "of equals the source with the one that idles longest: two of the greedy have worked since"
    );
    let _fill_up = fill(&all, 1, 1);
    assert_eq!((ended(&greedy), ended(&modest)), (vec![1, 3], vec![0]));
}

#[test]
fn who_is_at_work_gives_way_only_to_somebody_who_has_less() {
    let all = places();
    let (one, two) = (fill(&all, 1, 4), fill(&all, 2, 4));
    let work: Vec<_> = one.iter().chain(&two).map(Place::work).collect();
    assert_eq!(all.enter(address(2)).expect_err("its share, all at work"), Full::Source(SHARE));
    let newcomers: Vec<_> = [3, 4].iter().flat_map(|from| fill(&all, *from, 1)).collect();
    assert_eq!((ended(&one), ended(&two)), (vec![0], vec![0]));
    let new_work: Vec<_> = newcomers.iter().map(Place::work).collect();
    let third = fill(&all, 3, 1);
    assert_eq!((ended(&one), ended(&two)), (vec![0], vec![0, 1]), "three is more than two");
    let _third_work = third[0].work();
    let _fourth = fill(&all, 4, 1);
    assert_eq!((ended(&one), ended(&two)), (vec![0, 1], vec![0, 1]));
    let _fourth_work: Vec<_> = _fourth.iter().map(Place::work).collect();
    assert_eq!(all.enter(address(3)).expect_err("nobody has more"), Full::All(ALL));
    drop((work, new_work));
    assert!(all.enter(address(3)).is_ok());
}

#[test]
fn many_sources_with_one_each_do_not_keep_out_somebody_by_its_address() {
    let all = places();
    let many: Vec<_> = (1..=8).flat_map(|from| fill(&all, from, 1)).collect();
    let honest = fill(&all, 200, 1);
    for newcomer in 10..17 {
        fill(&all, newcomer, 1).into_iter().for_each(std::mem::forget);
        assert!(ended(&honest).is_empty(), "the newcomer {newcomer} takes the place of who idles longest");
    }
    assert_eq!(ended(&many), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn one_source_at_its_share_loses_its_own() {
    let all = places();
    let other = fill(&all, 2, 1);
    let greedy = fill(&all, 1, 20);
    assert_eq!((ended(&greedy).len(), ended(&other).len(), all.held().all), (16, 0, 5));
    let same = all.enter("::ffff:192.0.2.1".parse().expect("an address")).expect("a place");
    assert_eq!((ended(&greedy).len(), same.source), (17, address(1)));
}

#[test]
fn counts_hold_whatever_happens() {
    let (world, _) = world::World::simulated(11);
    let pick = |below: usize| usize::try_from(world.entropy.number() % below as u64).expect("small");
    let all = places();
    let (mut present, mut work) = (Vec::new(), Vec::new());
    for _ in 0..5000 {
        match pick(4) {
            0 | 1 => present.extend(all.enter(address(u8::try_from(pick(5)).expect("small"))).map(Arc::new)),
            2 if !present.is_empty() => {
                let one: &Arc<Place> = &present[pick(present.len())];
                work.push(one.work());
            }
            _ if !present.is_empty() && pick(2) == 0 => drop(present.swap_remove(pick(present.len()))),
            _ if !work.is_empty() => drop(work.swap_remove(pick(work.len()))),
            _ => {}
        }
        present.retain(|place| !place.ended.is_cancelled());
        let held = all.held();
        let count: usize = held.by_source.values().map(|own| own.holders.len()).sum();
        assert!(held.all == count && count <= ALL && held.by_greed.len() == held.by_source.len());
        for (source, own) in &held.by_source {
            let idle = own.holders.iter().filter(|(_, holder)| holder.at_work == 0);
            let idle: BTreeSet<_> = idle.map(|(number, holder)| (holder.idle_since, *number)).collect();
            assert!(own.idle == idle && own.holders.len() <= SHARE && held.by_greed.contains(&own.greed(*source)));
        }
    }
}

//! A server whose every process is stopped, and a store that is away as well: there is nobody left to ask.

use super::*;
use crate::support::bucket::Bucket;
use crate::support::s3_server::{Fault, What};

/// A document that isn't published.
const UNPUBLISHED: &str = "/places/united-states/topic-0/medium.json";

/// Asks for what has to be had from the store or the database, one after the other; each is asked for many times.
fn many(address: SocketAddr, path: impl Fn() -> String) -> Vec<Seen> {
    (0..100).map(|_| ask(address, &path())).collect()
}

#[test]
fn with_the_store_away_as_well_what_is_kept_is_answered_and_the_rest_refused_at_once() {
    let Some(mut world) = World::start() else { return };
    let bucket = Bucket::new();
    world.project.publish_to(&bucket, "timeout = \"1s\"\n");
    world.project.configure(world.url(), "[fallback]\nfollow = \"1s\"\n");
    let hot = template().replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 3\n", 1);
    world.project.template("places", &hot).publish();
    let server = Serving::of(command(&world.project));
    let address = server.address;
    assert_eq!(ask(address, WARM).source, "store");
    wait_until("the keys and the first answer", MINUTE, || ask(address, UNPUBLISHED).source == "live");
    let slow_down =
        || What::Answer { status: 503, code: "SlowDown", message: "as the test wants it", more: Vec::new() };
    for (how, what, level) in [("hangs", What::Wait(MINUTE * 60), "medium"), ("fails", slow_down(), "high")] {
        bucket.server.play(Fault::new(what, |_| true));
        world.servers.command("freeze primary");
        assert_eq!(ask(address, WARM).source, "memory", "the release vouches for it");
        wait_until("the old answer", MINUTE, || ask(address, UNPUBLISHED).source == "stale");
        let published = || format!("/places/united-states/malaria/{level}.json");
        wait_until("both to be known to be away", MINUTE, || {
            [published(), cold()].iter().all(|path| ask(address, path).took < AT_ONCE)
        });
        refused_at_once(&format!("published, in a store that {how}"), &many(address, published));
        refused_at_once(&format!("unpublished, with a store that {how}"), &many(address, cold));
        world.servers.command("thaw primary");
        bucket.server.heal();
        println!("recovered after {:?}", recovered(&server, world.url()));
        wait_until("the store to be read again", MINUTE, || {
            ask(address, &published()).status == 200 && server.metric("tintype_store_up") == 1
        });
    }
    server.end().expect(0);
}

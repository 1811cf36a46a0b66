//! Swaps of the row that are lost on their way, or their answers.

use std::time::Duration;

use super::{change, row, with_row, writes};
use crate::support::places::DOCUMENTS;
use crate::support::postgres;
use crate::support::tcp_front::{Loss, TcpFront};
use crate::support::wait::wait_until;

#[test]
fn a_swap_whose_answer_is_lost_counts() {
    let Some(database) = postgres::database() else { return };
    let front = TcpFront::before(&database.url());
    // The table is there, and has no row.
    with_row(&database.url(), "").1.publish();
    database.execute("DELETE FROM tintype_head");
    let (bucket, project) = with_row(&front.url(&database.url()), "");
    front.lose("INSERT INTO tintype_head", Loss::Answer, 1);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(
        (front.struck(), writes(&database)),
        (1, 2),
        "one commit, one end of activation, and nothing sent twice"
    );
    change(&project);
    front.lose("UPDATE tintype_head", Loss::Answer, 1);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!((front.struck(), writes(&database)), (1, 4));
    assert_eq!(row(&database)["active"], row(&database)["desired"]);
    assert_eq!(bucket.paths().len(), DOCUMENTS);
    wait_until("every connection to be given back", Duration::from_secs(5), || front.connections().0 == 0);
    assert_eq!(front.connections().1, 1, "one connection at a time");
}

#[test]
fn a_swap_that_is_lost_is_made_void_before_another() {
    let Some(database) = postgres::database() else { return };
    let front = TcpFront::before(&database.url());
    let (_bucket, project) = with_row(&front.url(&database.url()), "");
    front.lose("INSERT INTO tintype_head", Loss::Message, 1);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!((front.struck(), writes(&database)), (1, 3), "lost, made void, committed, finished");
    change(&project);
    front.lose("UPDATE tintype_head", Loss::Message, 1);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!((front.struck(), writes(&database)), (1, 6));
}

#[test]
fn a_swap_that_arrives_late_changes_nothing() {
    let Some(database) = postgres::database() else { return };
    let front = TcpFront::before(&database.url());
    let (_bucket, project) = with_row(&front.url(&database.url()), "timeout = \"1s\"\n");
    project.publish();
    change(&project);
    front.lose("UPDATE tintype_head", Loss::Late(Duration::from_secs(5)), 1);
    assert_eq!(project.publish()["outcome"], "published");
    let after = (row(&database), writes(&database));
    assert_eq!(after.1, 5, "two of the first publish; void, committed, finished");
    wait_until("the late copy", Duration::from_secs(20), || front.late() == 1);
    assert_eq!((row(&database), writes(&database)), after);
}

#[test]
fn what_nobody_can_know_is_said() {
    let Some(database) = postgres::database() else { return };
    let front = TcpFront::before(&database.url());
    let (bucket, project) = with_row(&front.url(&database.url()), "timeout = \"1s\"\n");
    front.lose("INSERT INTO tintype_head", Loss::Message, usize::MAX);
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["can't tell what became of the head", "it is unknown whether the release is committed"]);
    assert_eq!(bucket.paths(), Vec::<String>::new());
    front.lose("INSERT INTO tintype_head", Loss::Message, 0);
    assert_eq!(project.publish()["outcome"], "published");
}

use super::*;
use crate::notify::Event;

#[test]
fn a_webhook_is_a_secret_and_events_have_names() {
    let default = Case::new("").config().notify;
    assert!(default.webhook.is_none());
    assert_eq!(default.on, [Event::Failure, Event::Refused, Event::Recovery].into());
    let config = Case::new("[notify]\nwebhook = \"https://h/hunter2\"\non = [\"success\", \"failure\"]").config();
    assert_eq!(config.notify.webhook.as_ref().map(Secret::expose), Some("https://h/hunter2"));
    assert_eq!(config.notify.on, [Event::Failure, Event::Success].into());
    assert!(!format!("{config:?}").contains("hunter2"));
    let case = Case::new("[notify]\non = [\"success\"]").with("TINTYPE_NOTIFY_ON", "failure, refused");
    assert_eq!(case.config().notify.on, [Event::Failure, Event::Refused].into());
}

#[test]
fn what_is_wrong_is_told_without_the_address() {
    assert_finding("[notify]\non = [\"failur\"]", 2, &["can't be `failur`", "did you mean \"failure\"?"]);
    assert_finding("[notify]\non = \"failure\"", 2, &["on is a list"]);
    assert_finding("[notify]\nwebhook = \"hunter2\"", 2, &["isn't a URL"]);
    assert_finding("[notify]\nwebhook = \"ftp://h/hunter2\"", 2, &["http or https"]);
    assert_finding("[notify]\nwebhok = \"https://h/hunter2\"", 2, &["did you mean `webhook`?"]);
    assert_finding("[notify]\nwebhook = \"https://h/hunter2\"\nx = 1", 3, &["unknown key"]);
}

//! What a message says.

use serde_json::Value;

/// The most of a reason that is told; the rest is in the log.
const MAX_REASON: usize = 400;

/// A message about a schedule of a site.
pub fn text(site: &str, host: &str, schedule: &str, what: &str) -> String {
    format!("tintype on {host}, {site}: schedule {schedule} {what}")
}

/// Why a run didn't do what it was to, as its document says.
pub fn reason(document: Option<&Value>) -> Option<String> {
    let document = document?;
    if let Some(message) = document["error"]["message"].as_str() {
        return Some(shortened(message));
    }
    let is_trouble = |template: &&Value| matches!(template["outcome"].as_str(), Some("failed" | "refused"));
    let templates = document["templates"].as_array()?.iter().filter(is_trouble);
    let told = templates.map(|template| {
        let name = template["name"].as_str().unwrap_or_default();
        let reason = template["reason"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
        format!("{name}: {reason}")
    });
    let told = told.collect::<Vec<_>>().join("; ");
    match (told.is_empty(), document["unfinished"].as_str()) {
        (false, _) => Some(shortened(&told)),
        (true, unfinished) => unfinished.map(shortened),
    }
}

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The text as Slack wants it: these three characters begin its own marks.
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reason_is_in_the_document() {
        let error = json!({ "error": { "message": "can't connect:\n  refused" } });
        assert_eq!(reason(Some(&error)).as_deref(), Some("can't connect: refused"));
        let templates = json!({ "templates": [
            { "name": "a", "outcome": "published", "reason": null },
            { "name": "b", "outcome": "refused", "reason": "rows_drop: 90% fewer rows\nmore" },
            { "name": "c", "outcome": "failed", "reason": "no table" },
        ] });
        assert_eq!(reason(Some(&templates)).as_deref(), Some("b: rows_drop: 90% fewer rows; c: no table"));
        let behind = json!({ "templates": [], "unfinished": "the purge failed" });
        assert_eq!(reason(Some(&behind)).as_deref(), Some("the purge failed"));
        assert_eq!(reason(Some(&json!({}))), None);
        assert_eq!(reason(None), None);
        let long = json!({ "error": { "message": "ü".repeat(1000) } });
        assert_eq!(reason(Some(&long)).unwrap().chars().count(), MAX_REASON + 1);
    }

    #[test]
    fn slack_s_own_marks_are_escaped() {
        assert_eq!(escaped("a < b & c <!channel>"), "a &lt; b &amp; c &lt;!channel&gt;");
    }
}

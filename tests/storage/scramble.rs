//! No decision depends on the text of a message: every stored condition message is replaced after each pass, and the calls
//! and the results of all passes stay the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::CHOSEN;
use crate::site::Site;

/// What a test can see of a cluster, without the texts.
fn seen(site: &Site) -> (Vec<String>, Value, Vec<String>) {
    let mut config = site.config.clone();
    let conditions = config.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["message"] = json!("");
    }
    let events = site.events.iter().map(|event| event.reason.to_owned()).collect();
    (site.calls(), config, events)
}

/// A story of one cluster: each step changes something, then passes run.
type Story = &'static [fn(&mut Site)];

const STORIES: &[(&str, Story)] = &[
    (
        "bring-up, edit, removal",
        &[
            |_| {},
            |site| site.edit(json!({"storage": {"s3": {"encrypt": true}}})),
            |site| site.cloud().with_images(CHOSEN, 3),
            |site| site.edit(json!({"managementState": "Removed"})),
        ],
    ),
    (
        "settings that fail, recover, and become final",
        &[
            |site| site.cloud().settings_down.set(true),
            |site| site.cloud().settings_down.set(false),
            |site| "team=blue".clone_into(&mut site.cloud().tags.borrow_mut()),
            |site| {
                site.cloud().settings_unsupported.set(true);
                "team=green".clone_into(&mut site.cloud().tags.borrow_mut());
            },
            |site| site.cloud().settings_unsupported.set(false),
            |site| site.restart(),
        ],
    ),
    (
        "loss and re-creation",
        &[
            |_| {},
            |site| site.cloud().containers.borrow_mut().clear(),
            |site| site.serve(0),
        ],
    ),
    (
        "an outage, and a refused preflight",
        &[
            |_| {},
            |site| site.cloud().down.set(true),
            |site| site.edit(json!({"logLevel": "Debug"})),
            |site| site.cloud().down.set(false),
            |site| {
                *site.cloud().denied.borrow_mut() = Some(crate::fake::Refusal::Denied("s3:PutObject", true));
                "new".clone_into(&mut site.cloud().credentials.borrow_mut());
            },
            |site| site.restart(),
            |site| *site.cloud().denied.borrow_mut() = None,
        ],
    ),
    (
        "a removal that is taken back",
        &[
            |_| {},
            |site| site.cloud().with_images(CHOSEN, 30),
            |site| {
                site.edit(json!({"managementState": "Removed"}));
                site.0.tick = Duration::ZERO;
            },
            |site| site.edit(json!({"managementState": "Managed"})),
        ],
    ),
    (
        "stages",
        &[
            |site| site.cloud().staged.set(true),
            |site| site.restart(),
            |site| site.edit(json!({"managementState": "Removed"})),
        ],
    ),
    (
        "another bucket, and Unmanaged",
        &[
            |site| site.cloud().put("next", 2, None),
            |site| site.edit(json!({"storage": {"s3": {"bucket": "next"}}})),
            |site| site.edit(json!({"storage": {"managementState": "Managed"}})),
            |site| site.edit(json!({"storage": {"managementState": "Unmanaged"}})),
            |site| site.edit(json!({"managementState": "Removed"})),
        ],
    ),
];

async fn play(story: Story, scrambled: bool) -> Vec<(Vec<String>, Value, Vec<String>)> {
    let mut site = Site::new(json!({"s3": {}}));
    site.scramble_messages = scrambled;
    let mut all = Vec::new();
    for step in story {
        step(&mut site);
        for _ in 0..9 {
            site.pass().await;
            all.push(seen(&site));
        }
    }
    all
}

#[tokio::test]
async fn rewriting_every_stored_message_changes_no_decision() {
    for (name, story) in STORIES {
        let (plain, scrambled) = (play(story, false).await, play(story, true).await);
        for (pass, (plain, scrambled)) in plain.iter().zip(&scrambled).enumerate() {
            assert_eq!(plain, scrambled, "{name}, pass {pass}");
        }
    }
}

//! The commands of README, `docs/` and the runbooks that need real nodes; `documentation` runs all others.

use crate::Scenario;
use crate::support::pages::{self, Place};

impl Scenario {
    /// Runs every command with which a page tells an administrator to look at logs or into a container.
    // issue 16
    pub async fn runbooks_can_be_followed(&self) {
        let repository = pages::repository();
        let (mut number, mut failures) = (0, Vec::new());
        let blocks: Vec<_> = pages::pages().iter().flat_map(|page| pages::blocks(page)).collect();
        for block in blocks.iter().filter(|block| block.place == Place::EndToEnd) {
            let place = format!("{}:{}", block.page, block.line);
            let followed = pages::follow(&self.cluster, &repository, &place, &block.commands).await;
            failures.extend(followed.err());
            number += block.commands.lines().count();
        }
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
        assert!(number > 30, "{number}");
        self.say("the commands of the pages run");
    }
}

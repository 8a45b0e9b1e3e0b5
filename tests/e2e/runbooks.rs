//! The commands of README, `docs/` and the runbooks that need real nodes; `documentation` runs all others.

use crate::Scenario;
use crate::support::pages::{self, Place};

impl Scenario {
    /// Runs every command with which a page tells an administrator to look at logs or into a container.
    // issue 16
    pub async fn runbooks_can_be_followed(&self) {
        let repository = pages::repository();
        let mut number = 0;
        for page in pages::pages() {
            let blocks = pages::blocks(&page).into_iter();
            let blocks = blocks.map(|block| (format!("{page}:{}", block.line), block.commands, block.place));
            for (place, commands, _) in blocks
                .chain(pages::inline(&page))
                .filter(|(.., place)| *place == Place::EndToEnd)
            {
                pages::follow(&self.cluster, &repository, &place, &commands).await;
                number += commands.lines().count();
            }
        }
        assert!(number > 30, "{number}");
        self.say("the commands of the pages run");
    }
}

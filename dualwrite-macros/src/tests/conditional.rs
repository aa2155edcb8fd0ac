//! Our attributes under a condition: the trait comes out once for each answer.

use super::expand;

/// Without its blanks, which say how it was written.
fn close(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn a_condition_is_answered_both_ways() {
    let found = expand(
        "#[repository(crate = other::dualwrite, name = Both)]
        trait Things {
            #[cfg_attr(feature = \"new\", read(key = id), doc = \"x\")]
            #[cfg_attr(not(feature = \"new\"), read(scan))]
            async fn find(&self, id: i64) -> Result<(), E>;
            #[cfg_attr(feature = \"new\", write(key = id))]
            #[cfg_attr(feature = \"docs\", doc = \"y\")]
            async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;
        }",
    );
    let expected = close(
        "#[cfg(feature = \"new\")]
        #[other::dualwrite::repository(crate = other::dualwrite, name = Both)]
        trait Things {
            #[read(key = id)]
            #[doc = \"x\"]
            #[cfg_attr(not(feature = \"new\"), read(scan))]
            async fn find(&self, id: i64) -> Result<(), E>;
            #[write(key = id)]
            #[cfg_attr(feature = \"docs\", doc = \"y\")]
            async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;
        }
        #[cfg(not(feature = \"new\"))]
        #[other::dualwrite::repository(crate = other::dualwrite, name = Both)]
        trait Things {
            #[cfg_attr(not(feature = \"new\"), read(scan))]
            async fn find(&self, id: i64) -> Result<(), E>;
            #[cfg_attr(feature = \"docs\", doc = \"y\")]
            async fn save(&self, tx: &mut Tx<'_, Db>, id: i64) -> Result<(), E>;
        }",
    );
    assert_eq!(close(&found.to_string()), expected);
}

#[test]
fn conditions_of_other_attributes_are_left_alone() {
    let found = expand(
        "#[repository(crate = other)]
        trait Things {
            #[cfg_attr(feature = \"docs\", doc = \"y\")]
            #[read(scan)]
            async fn all(&self) -> Result<(), E>;
        }",
    );
    let found = found.to_string();
    assert!(!found.contains("cfg (not") && found.contains("DualThings"), "{found}");
}

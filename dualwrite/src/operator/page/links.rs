//! Links from one page to another, relative, so that they hold wherever the router is nested. Pure.

use crate::operator::page::list::Asked;
use crate::stages::stage::Stage;

/// The way back to the page that a browser came from. What a command would do is shown at the address of the command, which
/// takes commands alone: from there the way back is the page of the migration.
pub(super) fn back_to(came_from: &str) -> String {
    let of_command = || {
        let (under, rest) = came_from.split_once("/migrations/")?;
        let (name, _) = rest.split_once("/commands/")?;
        Some(format!("{under}/view/{name}"))
    };
    of_command().unwrap_or_else(|| came_from.to_owned())
}

/// The links of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// The first page.
    first: String,
    /// Before the paths of all others.
    under: String,
}

impl Links {
    /// Of the page with this path, as the server has it and as the router has it, without where it is nested.
    pub(super) fn new(original: &str, inner: &str) -> Self {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if inner == "/" {
            let name = last(original);
            let under = if name.is_empty() { "./".to_owned() } else { format!("./{name}/") };
            return Self { first: format!("./{name}"), under };
        }
        let up = "../".repeat(inner.matches('/').count().saturating_sub(1));
        let under = format!("./{up}");
        match last(original.strip_suffix(inner).unwrap_or_default()) {
            // A nested router has its first page without a slash at the end.
            name if !name.is_empty() => Self { first: format!("{under}../{name}"), under },
            _ => Self { first: under.clone(), under },
        }
    }

    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// The page of a migration.
    pub(super) fn view(&self, name: &str) -> String {
        format!("{}view/{}", self.under, encoded(name))
    }

    pub(super) fn script(&self) -> String {
        format!("{}live.js", self.under)
    }

    pub(super) fn icon(&self) -> String {
        format!("{}icon.svg", self.under)
    }

    /// A page of the overview.
    pub(super) fn page(&self, asked: &Asked, page: usize) -> String {
        format!("{}?{}&page={page}", self.first(), query(asked))
    }

    /// What renews the overview. It links from where the overview is, with a slash at the end or without.
    pub(super) fn live(&self, asked: &Asked) -> String {
        let slash = if self.first == "./" { "1" } else { "" };
        format!("{}live?{}&page={}&slash={slash}", self.under, query(asked), asked.page)
    }

    /// What renews the page of a migration.
    pub(super) fn live_of(&self, name: &str) -> String {
        format!("{}/live", self.view(name))
    }

    /// One of the pages of a migration.
    pub(super) fn tab(&self, name: &str, tab: &str) -> String {
        if tab.is_empty() { self.view(name) } else { format!("{}/{tab}", self.view(name)) }
    }

    /// Where a command is looked at before it is given.
    pub(super) fn confirm(&self, name: &str, command: &str) -> String {
        format!("{}/confirm/{command}", self.view(name))
    }

    /// The same of a move to a stage.
    pub(super) fn confirm_to(&self, name: &str, command: &str, to: Stage) -> String {
        format!("{}?to={to}", self.confirm(name, command))
    }

    pub(super) fn command(&self, name: &str, command: &str) -> String {
        format!("{}migrations/{}/commands/{command}", self.under, encoded(name))
    }

    pub(super) fn json(&self) -> String {
        format!("{}migrations", self.under)
    }

    pub(super) fn json_of(&self, name: &str) -> String {
        format!("{}migrations/{}", self.under, encoded(name))
    }

    /// Where something is said about a contract.
    pub(super) fn contract(&self, name: &str, what: &str) -> String {
        format!("{}contracts/{}/{what}", self.under, encoded(name))
    }

    pub(super) fn contract_json(&self, name: &str) -> String {
        format!("{}contracts/{}", self.under, encoded(name))
    }

    /// The page of all removals.
    pub(super) fn removals(&self) -> String {
        format!("{}view-removals", self.under)
    }

    /// The page of a removal.
    pub(super) fn removal(&self, name: &str) -> String {
        format!("{}view-removals/{}", self.under, encoded(name))
    }

    pub(super) fn removals_json(&self) -> String {
        format!("{}removals", self.under)
    }

    pub(super) fn removal_json(&self, name: &str) -> String {
        format!("{}removals/{}", self.under, encoded(name))
    }

    pub(super) fn removal_backup(&self, name: &str) -> String {
        format!("{}/backup", self.removal_json(name))
    }
}

fn query(asked: &Asked) -> String {
    let stage = asked.stage.map_or("", Stage::as_str);
    let needs = if asked.needs { "1" } else { "" };
    format!("search={}&stage={stage}&needs={needs}", encoded(&asked.search))
}

/// For the query of an address.
fn encoded(text: &str) -> String {
    let mut to = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                to.push(char::from(byte))
            }
            byte => to.push_str(&format!("%{byte:02X}")),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a link of the page with this path leads.
    fn led(from: &str, link: &str) -> String {
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        for part in link.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    #[test]
    fn the_way_back_leads_to_a_page_that_can_be_opened() {
        let command = "http://here/admin/migrations/notes/commands/ramp";
        assert_eq!(back_to(command), "http://here/admin/view/notes");
        for page in ["http://here/admin/view/notes", "http://here/", "http://here/view/migrations"]
        {
            assert_eq!(back_to(page), page);
        }
    }

    #[test]
    fn links_lead_to_the_pages_wherever_the_router_is() {
        let inner = ["/", "/view/notes", "/migrations/notes/commands/verify"];
        for prefix in ["", "/admin", "/admin/dualwrite"] {
            for inner in inner {
                let original = if inner == "/" && !prefix.is_empty() {
                    prefix.to_owned()
                } else {
                    format!("{prefix}{inner}")
                };
                let links = Links::new(&original, inner);
                let first = if prefix.is_empty() { "/" } else { prefix };
                assert_eq!(led(&original, links.first()), first, "{original}");
                assert_eq!(led(&original, &links.json()), format!("{prefix}/migrations"));
                assert_eq!(led(&original, &links.view("notes")), format!("{prefix}/view/notes"));
                let command = format!("{prefix}/migrations/notes/commands/verify");
                assert_eq!(
                    led(&original, &links.command("notes", "verify")),
                    command,
                    "{original}"
                );
                let json = format!("{prefix}/migrations/notes");
                assert_eq!(led(&original, &links.json_of("notes")), json);
            }
        }
        // Nested with a slash at the end.
        let links = Links::new("/admin/", "/");
        assert_eq!(led("/admin/", &links.json()), "/admin/migrations");
    }
}

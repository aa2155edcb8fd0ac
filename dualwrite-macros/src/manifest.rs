//! Under which name a package has the library as a dependency, as far as its `Cargo.toml` says so.

/// What a `Cargo.toml` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// It is called `dualwrite`, or nothing is known.
    AsPublished,
    /// It is called otherwise.
    Renamed(String),
    /// There is none: another crate hands it on, or the workspace renames it.
    Absent,
}

const NAME: &str = "dualwrite";

impl Dependency {
    /// Of the package that is compiled. Outside cargo nothing is known.
    pub(crate) fn of_this_package() -> Self {
        // The macros are called as functions by their own tests.
        if !proc_macro::is_available() || std::env::var("CARGO_PKG_NAME").is_ok_and(|n| n == NAME) {
            return Self::AsPublished;
        }
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").and_then(|folder| {
            std::fs::read_to_string(std::path::Path::new(&folder).join("Cargo.toml")).ok()
        });
        manifest.map_or(Self::AsPublished, |text| Self::of(&text))
    }

    /// Of a package with this manifest. Looks at its keys line by line, which is enough for what cargo writes.
    pub(crate) fn of(manifest: &str) -> Self {
        let (mut section, mut renamed) = (String::new(), None);
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') {
                section = line.trim_matches(|c| matches!(c, '[' | ']')).to_owned();
            }
            let keys = keys(line);
            let is_itself =
                keys.iter().any(|key| key == "name") && line.contains(&format!("\"{NAME}\""));
            if is_itself || keys.iter().any(|key| key == NAME) {
                return Self::AsPublished;
            }
            if keys.iter().any(|key| key == "package") && line.contains(&format!("\"{NAME}\"")) {
                let own = keys.first().filter(|key| *key != "package").cloned();
                renamed = own.or_else(|| section.rsplit('.').next().map(str::to_owned));
            }
        }
        match renamed {
            Some(name) => Self::Renamed(name.trim_matches('"').replace('-', "_")),
            None => Self::Absent,
        }
    }
}

/// The words of a line that are no values: those of a section's name, and those before `=` or `.`.
fn keys(line: &str) -> Vec<String> {
    let is_section = line.starts_with('[');
    let mut keys = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in line.chars().chain(is_section.then_some('=')) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => break,
            (None, '=' | '.' | ']') if is_section || c != ']' => {
                keys.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            (None, c) if c.is_alphanumeric() || matches!(c, '-' | '_') => word.push(c),
            (None, c) if c.is_whitespace() => {}
            (None, _) => word.clear(),
        }
    }
    keys
}

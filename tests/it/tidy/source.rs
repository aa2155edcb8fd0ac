//! The files of a crate, and what each imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Below the root of the workspace.
pub(crate) fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file below a folder, by its path.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !path.ends_with("target") && !hidden {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of every module of a crate by its path, as `guard/decide`.
pub(crate) struct Sources(pub(crate) BTreeMap<String, String>);

impl Sources {
    pub(crate) fn of(folder: &str) -> Self {
        let root = workspace(folder);
        let mut found = BTreeMap::new();
        for path in files(&root) {
            if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let name = name.display().to_string();
                let module = name.strip_suffix("/mod").map_or(name.clone(), str::to_owned);
                found.insert(module, code(&fs::read_to_string(&path).unwrap()));
            }
        }
        assert!(found.len() > 30, "the sources of {folder} were not found");
        Self(found)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(module, code)| (module.as_str(), code.as_str()))
    }

    /// The same without what a module only passes on, as a folder's head does for its files.
    pub(crate) fn without_exports(self) -> Self {
        let strip = |(module, mut code): (String, String)| {
            for export in ["pub use ", "pub(crate) use ", "pub(super) use "] {
                strip(&mut code, export);
            }
            (module, code)
        };
        Self(self.0.into_iter().map(strip).collect())
    }

    /// What every module imports.
    pub(crate) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(module, code)| (module, self.imports_of(module, code));
        self.iter().map(of).collect()
    }

    fn imports_of(&self, module: &str, code: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for path in paths(code) {
            let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
            let mut base: Vec<&str> = match module {
                "lib" => Vec::new(),
                module => module.split('/').collect(),
            };
            let child = |part: &str| self.0.contains_key(&format!("{module}/{part}"));
            match parts.first() {
                Some(&"crate") => base.clear(),
                Some(&"self") => {}
                Some(&"super") => {
                    let up = parts.iter().take_while(|part| **part == "super").count();
                    base.truncate(base.len().saturating_sub(up));
                    parts.drain(..up - 1);
                }
                Some(first) if child(first) => parts.insert(0, "self"),
                _ => continue,
            }
            base.extend(&parts[1..]);
            let longest = (1..=base.len()).rev().map(|length| base[..length].join("/"));
            let known = longest.filter_map(|path| self.0.get_key_value(&path)).next();
            let known = known.or_else(|| self.0.get_key_value("lib"));
            found.extend(known.map(|(path, _)| path.as_str()).filter(|path| *path != module));
        }
        found
    }
}

/// The text without comments and tests.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let line = |line: &str| line.split("//").next().unwrap_or(line).to_owned();
    body.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Every path that a text names: those of `use`, group by group, and those in between.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let is_word = rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        found.extend(plain_paths(before));
        let end = if is_word { 0 } else { after.find(';').unwrap_or(0) };
        expand(String::new(), &after[..end], &mut found);
        rest = &after[end..];
    }
    found.extend(plain_paths(rest));
    found
}

fn plain_paths(code: &str) -> Vec<String> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !in_path(c)).filter(|word| word.contains("::")).map(str::to_owned).collect()
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(before: String, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        return found.push(before + path);
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    expand(format!("{before}{}", head.trim()), &group[start..at], found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn strip(code: &mut String, export: &str) {
    while let Some(at) = code.find(export) {
        let end = code[at..].find(';').map_or(code.len(), |end| at + end + 1);
        code.replace_range(at..end, "");
    }
}

//! What the macros cost: the generated accessors in an optimised build, by their instructions, and the
//! time that `#[repository]` adds to a debug build.
//!
//! ```text
//! cargo bench --bench macros               prints the tables
//! cargo bench --bench macros -- --check    and exits with 1 where a target is missed
//! ```
//!
//! Both are measured on small crates, written into `target/macro-bench` and built there; the first run
//! builds their dependencies too, which takes minutes.

#[path = "harness/mod.rs"]
mod harness;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use harness::{Target, judge, median, targets::MACROS_SECONDS_MAX};

type Outcome<T> = Result<T, Box<dyn Error>>;

const METHODS: usize = 50;
const BUILDS: usize = 5;

fn main() -> ExitCode {
    harness::end(measure().expect("the small crates build"))
}

fn measure() -> Outcome<u32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/macro-bench");
    Ok(accessors(&Fixture::new(root, &folder, "accessors")?)?
        + expansion(
            &Fixture::new(root, &folder, "generated")?,
            &Fixture::new(root, &folder, "by_hand")?,
        )?)
}

/// A crate to build.
struct Fixture {
    name: &'static str,
    folder: PathBuf,
    target: PathBuf,
}

impl Fixture {
    fn new(root: &Path, folder: &Path, name: &'static str) -> Outcome<Self> {
        let (own, target) = (folder.join(name), folder.join("target"));
        fs::create_dir_all(own.join("src"))?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\ndualwrite = {{ path = \"{}\", features = [\"sqlite\"] }}\n\
             sqlx = {{ version = \"0.9\", default-features = false, features = [\"sqlite\"] }}\n\n[workspace]\n",
            root.join("dualwrite").display()
        );
        fs::write(own.join("Cargo.toml"), manifest)?;
        fs::copy(root.join("Cargo.lock"), own.join("Cargo.lock"))?;
        Ok(Self { name, folder: own, target })
    }

    fn write(&self, source: &str) -> Outcome<()> {
        Ok(fs::write(self.folder.join("src/lib.rs"), source)?)
    }

    fn cargo(&self, arguments: &[&str]) -> Outcome<()> {
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--quiet", "--offline"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "0")
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("cargo failed in {}", self.name).into()) }
    }

    /// Seconds that building this crate alone takes.
    fn build(&self) -> Outcome<f64> {
        let file = fs::File::options().append(true).open(self.folder.join("src/lib.rs"))?;
        file.set_modified(std::time::SystemTime::now())?;
        let start = Instant::now();
        self.cargo(&["build"])?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Pairs of functions that shall be the same to the instruction.
const ACCESSORS: &str = r#"
use dualwrite::{Dual, Side};

#[derive(Dual)]
pub struct Customer {
    #[dual(new = email_address)]
    pub email: String,
    pub email_address: Option<String>,
    #[dual(new = years)]
    pub age: i64,
    pub years: Option<i64>,
}

impl Customer {
    fn text(&self) -> &str {
        match &self.email_address { Some(new) => new, None => &self.email }
    }
    fn number(&self) -> i64 {
        match self.years { Some(new) => new, None => self.age }
    }
    fn write_text(&mut self, value: impl Into<String>) {
        let value = value.into();
        self.email = value.clone();
        self.email_address = Some(value);
    }
    fn write_number(&mut self, value: i64) {
        self.age = value;
        self.years = Some(value);
    }
    fn text_side(&self) -> Side {
        if self.email_address.is_some() { Side::New } else { Side::Old }
    }
    fn both_there(&self) -> bool {
        self.email_address.is_some() && self.years.is_some()
    }
}

macro_rules! pairs {
    ($($generated:ident $by_hand:ident ($($argument:ident: $of:ty),*) -> $answer:ty = $derived:ident $written:ident;)*) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub fn $generated($($argument: $of),*) -> $answer { Customer::$derived($($argument),*) }
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub fn $by_hand($($argument: $of),*) -> $answer { Customer::$written($($argument),*) }
    )*};
}
pairs! {
    generated_get_text by_hand_get_text(it: &Customer) -> &str = email_address text;
    generated_get_number by_hand_get_number(it: &Customer) -> i64 = years number;
    generated_set_text by_hand_set_text(it: &mut Customer, value: String) -> () = set_email_address write_text;
    generated_set_number by_hand_set_number(it: &mut Customer, value: i64) -> () = set_years write_number;
    generated_source by_hand_source(it: &Customer) -> Side = email_address_source text_side;
    generated_is_migrated by_hand_is_migrated(it: &Customer) -> bool = is_migrated both_there;
}
"#;

fn accessors(fixture: &Fixture) -> Outcome<u32> {
    fixture.write(ACCESSORS)?;
    let flags = ["--", "--emit", "asm", "-C", "codegen-units=1"];
    // Arguments of cargo must stand before those of rustc, so the shared ones are not added behind.
    let status = Command::new(env!("CARGO"))
        .args(["rustc", "--release", "--lib", "--quiet", "--offline"])
        .args(flags)
        .current_dir(&fixture.folder)
        .env("CARGO_TARGET_DIR", &fixture.target)
        .status()?;
    if !status.success() {
        return Err("the accessors do not build".into());
    }
    let assembly = newest_assembly(&fixture.target.join("release/deps"))?;
    println!("{:<34} {:>10} {:>10} {:>10}", "instructions", "generated", "by hand", "target");
    let mut missed = 0;
    for name in ["get_text", "get_number", "set_text", "set_number", "source", "is_migrated"] {
        let generated = instructions(&assembly, &format!("generated_{name}"))?;
        let by_hand = instructions(&assembly, &format!("by_hand_{name}"))?;
        let more = generated as f64 - by_hand as f64;
        let figure = format!("instructions more than by hand: {name}");
        let verdict = judge(&figure, more, "", Target::AtMost(0.0));
        missed += verdict.missed();
        println!("{name:<34} {generated:>10} {by_hand:>10} {:>10}  {verdict}", "the same");
    }
    Ok(missed)
}

fn newest_assembly(folder: &Path) -> Outcome<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "s"))
        .filter(|path| path.to_string_lossy().contains("accessors"))
        .collect();
    files.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    Ok(fs::read_to_string(files.last().ok_or("no assembly was written")?)?)
}

/// Counts the instructions of a function. Where the compiler found two to be the same, one name is set to
/// be the other.
fn instructions(assembly: &str, name: &str) -> Outcome<usize> {
    let alias = assembly.lines().find_map(|line| {
        let other = line.trim().strip_prefix(name)?.trim().strip_prefix('=')?;
        Some(other.trim().to_owned())
    });
    let label = format!("{}:", alias.as_deref().unwrap_or(name));
    let body = assembly.lines().skip_while(|line| **line != *label).skip(1);
    let body: Vec<&str> =
        body.take_while(|line| !line.trim().starts_with(".cfi_endproc")).collect();
    if body.is_empty() {
        return Err(format!("{name} is not in the assembly").into());
    }
    let is_instruction = |line: &&&str| line.starts_with('\t') && !line.trim().starts_with('.');
    Ok(body.iter().filter(is_instruction).count())
}

fn expansion(generated: &Fixture, by_hand: &Fixture) -> Outcome<u32> {
    generated.write(&repository(true))?;
    by_hand.write(&repository(false))?;
    generated.build()?; // and all that it needs
    by_hand.build()?;
    let (mut figures, mut baselines, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BUILDS {
        let (baseline, figure) = (by_hand.build()?, generated.build()?);
        figures.push(figure);
        baselines.push(baseline);
        differences.push(figure - baseline);
    }
    let difference = median(&mut differences);
    let target = Target::AtMost(MACROS_SECONDS_MAX);
    let verdict =
        judge("a debug build of fifty methods, more than by hand", difference, "s", target);
    println!(
        "\n{:<34} {:>10} {:>10} {:>10} {:>8} {:>10}",
        "seconds of a debug build", "generated", "by hand", "difference", "ratio", "target"
    );
    let (figure, baseline) = (median(&mut figures), median(&mut baselines));
    println!(
        "{:<34} {figure:>10.2} {baseline:>10.2} {difference:>+10.2} {:>8.2} {:>10}  {verdict}",
        format!("a trait of {METHODS} methods"),
        figure / baseline,
        target
    );
    Ok(verdict.missed())
}

/// A repository, wrapped by the macro or by hand. By hand means what one would write at the least: a flag
/// says which side is asked, and writes go to both.
fn repository(generated: bool) -> String {
    let mut methods = String::new();
    let mut bodies = String::new();
    for number in 0..METHODS {
        let (attribute, signature, call) = match number % 3 {
            0 => (
                "read(key = id)",
                format!("find_{number}(&self, id: i64) -> Result<Option<String>, sqlx::Error>"),
                format!("find_{number}(id)"),
            ),
            1 => (
                "read(scan)",
                format!("list_{number}(&self, from: &str) -> Result<Vec<String>, sqlx::Error>"),
                format!("list_{number}(from)"),
            ),
            _ => (
                "write(key = id)",
                format!(
                    "save_{number}(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>, id: i64, word: &str) -> Result<(), sqlx::Error>"
                ),
                format!("save_{number}(tx, id, word)"),
            ),
        };
        let (signature, answer) = signature.split_once(" -> ").unwrap_or((&signature, "()"));
        // What the macro makes of it, and what a service needs that spawns tasks.
        let _ = match generated {
            true => writeln!(methods, "    #[{attribute}]\n    async fn {signature} -> {answer};"),
            false => {
                writeln!(methods, "    fn {signature} -> impl Future<Output = {answer}> + Send;")
            }
        };
        let body = match number % 3 {
            2 => format!("self.old.{call}.await?; self.new.{call}.await"),
            _ => format!(
                "if self.new_answers {{ self.new.{call}.await }} else {{ self.old.{call}.await }}"
            ),
        };
        let _ = writeln!(bodies, "    async fn {signature} -> {answer} {{ {body} }}");
    }
    match generated {
        true => format!("#[dualwrite::repository]\npub trait Words {{\n{methods}}}\n"),
        false => format!(
            "pub trait Words {{\n{methods}}}\n\
             pub struct DualWords<O, N> {{ pub new_answers: bool, pub old: O, pub new: N }}\n\
             impl<O: Words + Send + Sync, N: Words + Send + Sync> Words for DualWords<O, N> {{\n{bodies}}}\n"
        ),
    }
}

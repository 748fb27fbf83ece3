//! The plugins' READMEs, taken apart: what the plugin is, its syntax, and what each option does.

/// The manuals of all plugins.
pub(crate) struct Manuals {
    all: Vec<Manual>,
}

impl Manuals {
    /// Reads them: names and READMEs.
    pub(crate) fn read(texts: &'static [(&'static str, &'static str)]) -> Self {
        let all = texts.iter().map(|(name, text)| Manual::read(name, text));
        Self { all: all.collect() }
    }

    /// That of one plugin.
    pub(crate) fn of(&self, name: &str) -> Option<&Manual> {
        self.all.iter().find(|manual| manual.name == name)
    }
}

/// The manual of one plugin.
pub(crate) struct Manual {
    /// The plugin.
    pub(crate) name: &'static str,
    /// What it does, in a few words.
    pub(crate) brief: &'static str,
    /// What it does, in some more.
    pub(crate) description: &'static str,
    /// The lines of its syntax.
    pub(crate) syntax: Vec<&'static str>,
    /// What stands in its block.
    pub(crate) options: Vec<Choice>,
}

/// An option of a plugin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its name.
    pub(crate) name: String,
    /// The line of the syntax.
    pub(crate) usage: String,
    /// What it does.
    pub(crate) text: String,
}

impl Manual {
    fn read(name: &'static str, text: &'static str) -> Self {
        let section = |title: &str| {
            let (_, rest) = text.split_once(&format!("\n## {title}\n"))?;
            rest.split("\n## ").next()
        };
        let brief = section("Name").unwrap_or_default().trim();
        let brief = brief.split_once(" - ").map_or(brief, |(_, brief)| brief);
        let description = section("Description").unwrap_or_default().trim();
        let syntax = section("Syntax").unwrap_or_default();
        // A block that begins with another word is an example of something else.
        let blocks = syntax.split("```").skip(1).step_by(2).filter(|block| {
            let mut words = block.split_whitespace().skip(1);
            words.next() == Some(name)
        });
        let blocks: Vec<&str> = blocks.collect();
        let lines: Vec<&str> = blocks
            .iter()
            .flat_map(|block| block.lines().skip(1))
            .filter(|line| !line.trim().is_empty())
            .collect();
        let bullets = bullets(syntax);
        let mut options = Vec::new();
        for block in &blocks {
            let inside = block
                .lines()
                .filter(|line| line.starts_with("    ") && !line.starts_with("     "));
            for usage in inside {
                add(&mut options, usage.trim(), &bullets);
            }
        }
        Self {
            name,
            brief,
            description,
            syntax: lines,
            options,
        }
    }

    /// The lines of the syntax of the directive itself, without those of its block.
    pub(crate) fn usages(&self) -> impl Iterator<Item = &'static str> {
        self.syntax
            .iter()
            .copied()
            .filter(|line| !line.starts_with([' ', '}']))
    }

    /// An option by its name.
    pub(crate) fn option(&self, name: &str) -> Option<&Choice> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// Adds the options of one line of the syntax. Where it begins with a placeholder, its words are those that the text lists.
fn add(options: &mut Vec<Choice>, usage: &str, bullets: &[Bullet]) {
    let Some(first) = usage.split([' ', '[']).find(|word| !word.is_empty()) else {
        return;
    };
    let mut push = |name: &str, text: &str| {
        if options.iter().all(|known| known.name != name) {
            options.push(Choice {
                name: name.to_owned(),
                usage: usage.replacen(first, name, 1),
                text: text.to_owned(),
            });
        }
    };
    if first.chars().any(char::is_lowercase) || first.starts_with(|c: char| c.is_ascii_digit()) {
        for name in first.split('|') {
            let own = bullets
                .iter()
                .find(|bullet| bullet.names.iter().any(|known| known == name));
            let mentions = || {
                let quoted = format!("`{name}`");
                bullets.iter().find(|bullet| bullet.text.contains(&quoted))
            };
            push(
                name,
                own.or_else(mentions).map_or("", |bullet| &bullet.text),
            );
        }
        return;
    }
    let placeholder = format!("**{first}**");
    let mut is_inside = false;
    for bullet in bullets {
        match bullet.depth {
            0 => is_inside = bullet.text.starts_with(&placeholder),
            _ if is_inside => bullet
                .names
                .iter()
                .for_each(|name| push(name, &bullet.text)),
            _ => {}
        }
    }
}

/// An item of a list.
struct Bullet {
    depth: usize,
    /// The words in code at its head.
    names: Vec<String>,
    text: String,
}

/// The items of the lists of a section.
fn bullets(section: &str) -> Vec<Bullet> {
    let mut found: Vec<Bullet> = Vec::new();
    let mut is_open = false;
    for line in section.lines() {
        let bare = line.trim_start();
        let depth = (line.len() - bare.len()) / 2;
        if let Some(text) = bare.strip_prefix("* ") {
            found.push(Bullet {
                depth,
                names: heads(text),
                text: text.to_owned(),
            });
            is_open = true;
        } else if let (true, true, Some(last)) =
            (is_open, depth > 0 && !bare.is_empty(), found.last_mut())
        {
            last.text.push(' ');
            last.text.push_str(bare);
        } else {
            is_open = false;
        }
    }
    found
}

/// The words in code that an item begins with: `` `a` and `b X` `` are `a` and `b`.
fn heads(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((code, behind)) = rest
        .strip_prefix('`')
        .and_then(|inside| inside.split_once('`'))
    {
        if let Some(name) = code.split_whitespace().next() {
            names.push(name.to_owned());
        }
        let joined = [", ", " and ", " or ", ", and "]
            .iter()
            .find_map(|word| behind.strip_prefix(word));
        match joined {
            Some(next) => rest = next,
            None => break,
        }
    }
    names
}

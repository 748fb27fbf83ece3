//! How one record is made: a template, or what it always writes, made ready at load.

use wire::{Class, NameBuf, Section, Type};
use zone::{LoneRecord, parse_record};

use super::data::{Data, Object};
use super::engine::{Mistake, Template, Uses};
use super::sample;

/// How one record is made.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Where it stands in the response.
    pub(super) section: Section,
    template: Template,
    /// The template as metrics and messages name it.
    pub(super) written: Box<str>,
}

/// Why no record was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failed {
    /// For people.
    pub(super) why: Box<str>,
    /// Whether the template wrote something, which was no record.
    pub(super) evaluated: bool,
}

impl Failed {
    /// Whether another text in the name may have made a record.
    pub(super) fn is_of_the_text(&self) -> bool {
        self.evaluated && !self.why.contains("<no value>") || self.why.contains("parseInt")
    }
}

/// A record whose owner may be QNAME.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) section: Section,
    /// The owner; `None` is QNAME.
    pub(super) owner: Option<NameBuf>,
    pub(super) fixed: (Type, Class, u32),
    pub(super) rdata: Box<[u8]>,
}

/// The name of a section's templates.
pub(super) const fn name_of(section: Section) -> &'static str {
    match section {
        Section::Answer => "answer",
        Section::Authority => "authority",
        Section::Additional => "additional",
    }
}

impl Recipe {
    /// Compiles a text.
    pub(super) fn new(section: Section, text: &str) -> Result<Self, Mistake> {
        let template = Template::parse(name_of(section), text)?;
        Ok(Self {
            section,
            written: template.written().into(),
            template,
        })
    }

    /// Makes the record for a query; nothing where the template writes nothing.
    pub(super) fn make(&self, data: &Data<'_>) -> Result<Option<Made>, Failed> {
        let text = self.template.execute(Object::Root(data));
        let text = text.map_err(|why| Failed {
            why,
            evaluated: false,
        })?;
        let record = parse_record(&text).map_err(|fault| {
            let shown = String::from_utf8_lossy(&text);
            let shown: String = shown.chars().take(200).collect();
            Failed {
                why: format!("{} is no record: {fault}: {shown:?}", name_of(self.section)).into(),
                evaluated: true,
            }
        })?;
        Ok(record.map(|record| self.made(record, false)))
    }

    /// Whether what it makes hangs on more of a query than its question and client.
    pub(super) fn is_unforeseeable(&self) -> bool {
        let uses = self.template.uses();
        ["Meta", "Var", "Message"]
            .iter()
            .any(|field| uses.has(field))
    }

    /// Whether it makes no record, whatever the query: its templates invoke each other without end.
    pub(super) fn is_endless(&self) -> bool {
        self.template.is_endless()
    }

    /// Whether it writes what the regular expression found.
    pub(super) fn uses_groups(&self) -> bool {
        let uses = self.template.uses();
        uses.has("Group") || uses.has("Match")
    }

    /// The metadata labels that it reads, as far as they are constant.
    pub(super) fn labels(&self) -> Vec<String> {
        self.template.uses().labels
    }

    fn made(&self, record: LoneRecord, at_qname: bool) -> Made {
        Made {
            section: self.section,
            owner: (!at_qname).then_some(record.owner),
            fixed: (record.rtype, record.class, record.ttl),
            rdata: record.rdata.into(),
        }
    }

    /// What it makes for every query of class IN in `zone`, where that is always the same; nothing is `Some(None)`.
    ///
    /// It is where it names neither the name nor anything else of the query, apart from the name as the record's owner.
    pub(super) fn constant(&self, zone: &str, rtype: Type) -> Option<Option<Made>> {
        let known = |uses: &Uses| {
            let of_the_rule = |field: &String| match field.as_str() {
                "Zone" | "Class" => true,
                "Type" => rtype != Type::ANY,
                _ => false,
            };
            !uses.whole && uses.fields.iter().all(of_the_rule)
        };
        let at_qname = !known(&self.template.uses());
        if at_qname && !known(&self.template.uses_behind("Name")?) {
            return None;
        }
        let data = sample::data(zone, "name.", rtype);
        let text = self.template.execute(Object::Root(&data)).ok()?;
        let record = parse_record(&text).ok()?;
        Some(record.map(|record| self.made(record, at_qname)))
    }
}
